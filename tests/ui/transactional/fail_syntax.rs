//! What is not a list of options.
use diesel::{QueryResult, SqliteConnection};
use outbox::prelude::*;

#[transactional_event("serializable", retries 3, conn = )]
fn wrong(conn: &mut SqliteConnection) -> QueryResult<()> {
    let _ = conn;
    Ok(())
}

#[transactional_event(retries = 3; nested = "join")]
fn semicolon(conn: &mut SqliteConnection) -> QueryResult<()> {
    let _ = conn;
    Ok(())
}

fn main() {
    let _ = (wrong, semicolon);
}
