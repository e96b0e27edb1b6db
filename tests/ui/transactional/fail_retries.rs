//! Numbers of retries, and delays, that cannot be meant.
use diesel::{QueryResult, SqliteConnection};
use outbox::prelude::*;

#[transactional_event(retries = 0)]
fn none(conn: &mut SqliteConnection) -> QueryResult<()> {
    let _ = conn;
    Ok(())
}

#[transactional_event(retries = 101)]
fn too_many(conn: &mut SqliteConnection) -> QueryResult<()> {
    let _ = conn;
    Ok(())
}

#[transactional_event(retries = 99999999999, retry_delay = "10")]
fn far_too_many(conn: &mut SqliteConnection) -> QueryResult<()> {
    let _ = conn;
    Ok(())
}

#[transactional_event(retries = 3, retry_delay = 10)]
fn no_unit(conn: &mut SqliteConnection) -> QueryResult<()> {
    let _ = conn;
    Ok(())
}

#[transactional_event(retries = 3, retry_delay = "1 hour")]
fn other_unit(conn: &mut SqliteConnection) -> QueryResult<()> {
    let _ = conn;
    Ok(())
}

fn main() {
    let _ = (none, too_many, far_too_many, no_unit, other_unit);
}
