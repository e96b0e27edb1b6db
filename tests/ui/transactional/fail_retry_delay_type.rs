//! A delay that is an expression, but not of a duration.
use diesel::{QueryResult, SqliteConnection};
use outbox::prelude::*;

const MILLIS: u64 = 10;

#[transactional_event(retries = 3, retry_delay = MILLIS)]
fn number(conn: &mut SqliteConnection) -> QueryResult<()> {
    Ok(())
}

fn main() {}
