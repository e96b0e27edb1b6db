//! A broken body gives the compiler's own messages, at their places.
use diesel::{QueryResult, SqliteConnection};
use outbox::prelude::*;

#[transactional_event]
fn broken(conn: &mut SqliteConnection, n: u8) -> QueryResult<u8> {
    let text: String = n;
    conn.no_such_method();
    Ok(text)
}

#[transactional_event]
async fn hygienic(conn: &mut diesel_async::AsyncPgConnection) -> QueryResult<()> {
    tx.finish(out);
    Ok(())
}

fn main() {}
