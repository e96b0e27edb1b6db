//! Options that contradict each other.
use diesel::{QueryResult, SqliteConnection};
use outbox::prelude::*;

#[derive(EventLog)]
struct Noted;

#[transactional_event(deferrable, isolation = "read committed")]
fn deferrable_otherwise(conn: &mut SqliteConnection) -> QueryResult<()> {
    let _ = conn;
    Ok(())
}

#[transactional_event(read_only, emit = |_| Noted)]
fn events_in_read_only(conn: &mut SqliteConnection) -> QueryResult<()> {
    let _ = conn;
    Ok(())
}

#[transactional_event(retry_delay = "10ms")]
fn delay_of_nothing(conn: &mut SqliteConnection) -> QueryResult<()> {
    let _ = conn;
    Ok(())
}

#[transactional_event(nested = "require", retries = 3, isolation = "serializable", read_only)]
fn never_outermost(conn: &mut SqliteConnection) -> QueryResult<()> {
    let _ = conn;
    Ok(())
}

fn main() {
    let _ = (deferrable_otherwise, events_in_read_only, delay_of_nothing, never_outermost);
}
