//! Nesting that does not exist.
use diesel::{QueryResult, SqliteConnection};
use outbox::prelude::*;

#[transactional_event(nested = "savepiont")]
fn typo(conn: &mut SqliteConnection) -> QueryResult<()> {
    let _ = conn;
    Ok(())
}

#[transactional_event(nested = "requires_new")]
fn other(conn: &mut SqliteConnection) -> QueryResult<()> {
    let _ = conn;
    Ok(())
}

fn main() {
    let _ = (typo, other);
}
