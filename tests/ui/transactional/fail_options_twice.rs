//! Options that are given twice, without a value, or with one too many.
use diesel::{QueryResult, SqliteConnection};
use outbox::prelude::*;

#[transactional_event(retries = 2, retries = 3, read_only = true, commit_check, isolation, from, retry_delay)]
fn twice(conn: &mut SqliteConnection) -> QueryResult<()> {
    let _ = conn;
    Ok(())
}

#[transactional_event(commit_check = "no", nested = join, retries = "3", conn = &mut db)]
fn kinds(conn: &mut SqliteConnection) -> QueryResult<()> {
    let _ = conn;
    Ok(())
}

fn main() {
    let _ = (twice, kinds);
}
