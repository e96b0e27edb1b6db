//! `conn.emit(..)` of something that is no event.
use diesel::{QueryResult, SqliteConnection};
use diesel_async::AsyncPgConnection;
use outbox::prelude::*;

struct Order;

#[transactional_event]
fn blocking(conn: &mut SqliteConnection) -> QueryResult<()> {
    conn.emit(&Order)?;
    Ok(())
}

#[transactional_event]
async fn with_await(conn: &mut AsyncPgConnection) -> QueryResult<()> {
    conn.emit_all(&[Order]).await?;
    Ok(())
}

fn main() {}
