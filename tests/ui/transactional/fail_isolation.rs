//! Isolation that does not exist.
use diesel::{QueryResult, SqliteConnection};
use outbox::prelude::*;

#[transactional_event(isolation = "serialisable")]
fn typo(conn: &mut SqliteConnection) -> QueryResult<()> {
    let _ = conn;
    Ok(())
}

#[transactional_event(isolation = "REPEATABLE READ")]
fn capitals(conn: &mut SqliteConnection) -> QueryResult<()> {
    let _ = conn;
    Ok(())
}

#[transactional_event(isolation = "snapshot")]
fn other(conn: &mut SqliteConnection) -> QueryResult<()> {
    let _ = conn;
    Ok(())
}

#[transactional_event(isolation = Serializable)]
fn no_text(conn: &mut SqliteConnection) -> QueryResult<()> {
    let _ = conn;
    Ok(())
}

fn main() {
    let _ = (typo, capitals, other, no_text);
}
