//! Every option, without a warning.
#![deny(warnings)]
use std::time::Duration;

use diesel::{QueryResult, SqliteConnection};
use diesel_async::AsyncPgConnection;
use outbox::prelude::*;

#[derive(EventLog)]
struct Noted;

const DELAY: Duration = Duration::from_millis(3);

#[transactional_event(
    conn = db,
    isolation = "repeatable read",
    retries = 100,
    retry_delay = DELAY,
    nested = "forbid",
    emit = |_| Noted,
    commit_check = true,
    crate = outbox,
)]
pub async fn most(db: &mut AsyncPgConnection, name: String, mut count: u8) -> QueryResult<u8> {
    db.emit(&Noted).await?;
    count += u8::from(name.is_empty());
    Ok(count)
}

#[transactional_event(read_only, deferrable, nested = "savepoint")]
pub async fn report(conn: &mut AsyncPgConnection) -> QueryResult<()> {
    Ok(())
}

#[transactional_event(deferrable, isolation = "serializable")]
pub async fn explicit(conn: &mut AsyncPgConnection) -> QueryResult<()> {
    Ok(())
}

#[transactional_event(isolation = "read committed", retries = 1, retry_delay = "2s", commit_check = false)]
pub fn blocking(conn: &mut SqliteConnection, _unused: String) -> QueryResult<()> {
    Ok(())
}

#[transactional_event(nested = "join", isolation = "serializable", read_only)]
pub fn joined(conn: &mut SqliteConnection) -> QueryResult<()> {
    Ok(())
}

#[transactional_event(nested = "require")]
pub fn required(conn: &mut SqliteConnection) -> QueryResult<()> {
    Ok(())
}

fn main() {}
