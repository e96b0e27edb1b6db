//! `#[tracing::instrument]` above and below, and other attributes on the function.
#![deny(warnings)]
use diesel::{QueryResult, SqliteConnection};
use diesel_async::AsyncPgConnection;
use outbox::prelude::*;

#[derive(EventLog)]
struct Noted;

#[tracing::instrument(skip_all, fields(name))]
#[transactional_event]
pub async fn above(conn: &mut AsyncPgConnection, name: &str) -> QueryResult<()> {
    let _ = name;
    conn.emit(&Noted).await.map(drop)
}

#[transactional_event(retries = 2)]
#[tracing::instrument(skip(conn), err)]
pub async fn below(conn: &mut AsyncPgConnection, name: String) -> QueryResult<String> {
    conn.emit(&Noted).await?;
    Ok(name)
}

#[tracing::instrument(skip_all, ret)]
#[transactional_event]
#[must_use]
#[inline]
pub fn blocking(conn: &mut SqliteConnection) -> QueryResult<u8> {
    Ok(1)
}

fn main() {}
