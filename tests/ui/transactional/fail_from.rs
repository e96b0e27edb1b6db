//! What is neither a pool nor a connection, and pools of the other kind.
use diesel::r2d2::{ConnectionManager, Pool};
use diesel::{QueryResult, SqliteConnection};
use diesel_async::AsyncPgConnection;
use diesel_async::pooled_connection::bb8;
use outbox::prelude::*;

#[transactional_event(from = url)]
fn text(url: &str) -> QueryResult<()> {
    Ok(())
}

#[transactional_event(from = pool)]
async fn blocking_pool(pool: &Pool<ConnectionManager<SqliteConnection>>) -> QueryResult<()> {
    Ok(())
}

#[transactional_event(from = pool)]
fn async_pool(pool: &bb8::Pool<AsyncPgConnection>) -> QueryResult<()> {
    Ok(())
}

fn main() {}
