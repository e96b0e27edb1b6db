//! A blocking connection in an async function, the reverse, and something that is no connection.
use diesel::{QueryResult, SqliteConnection};
use diesel_async::AsyncPgConnection;
use outbox::prelude::*;

#[transactional_event]
async fn blocking_in_async(conn: &mut SqliteConnection) -> QueryResult<()> {
    Ok(())
}

#[transactional_event]
fn async_in_blocking(conn: &mut AsyncPgConnection) -> QueryResult<()> {
    Ok(())
}

#[transactional_event]
fn no_connection(conn: &mut String) -> QueryResult<()> {
    Ok(())
}

fn main() {}
