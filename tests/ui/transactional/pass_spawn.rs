//! Futures that a runtime of many threads may run.
#![deny(warnings)]
use diesel::QueryResult;
use diesel_async::pooled_connection::bb8::Pool;
use diesel_async::{AsyncConnection, AsyncPgConnection};
use outbox::prelude::*;
use outbox::{OutboxBackend, TxOptions};

#[derive(EventLog)]
struct Noted;

#[transactional_event(from = &pool, retries = 3, isolation = "serializable")]
pub async fn pooled(pool: Pool<AsyncPgConnection>, name: String) -> QueryResult<String> {
    conn.emit(&Noted).await?;
    Ok(name)
}

#[transactional_event(retries = 3)]
pub async fn generic<C>(conn: &mut C, names: &[String]) -> QueryResult<usize>
where
    C: AsyncConnection<Backend: OutboxBackend>,
{
    conn.emit(&Noted).await?;
    Ok(names.len())
}

pub fn all(mut conn: AsyncPgConnection, pool: Pool<AsyncPgConnection>) {
    tokio::spawn(pooled(pool.clone(), String::new()));
    tokio::spawn(async move {
        generic(&mut conn, &[]).await?;
        outbox::transaction_with(TxOptions::new(), &pool, async |conn| conn.emit(&Noted).await).await
    });
}

fn main() {}
