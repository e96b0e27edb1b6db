//! The connection has the name that the attribute gives it, and no other.
use diesel::QueryResult;
use diesel_async::AsyncPgConnection;
use diesel_async::pooled_connection::bb8::Pool;
use outbox::prelude::*;

#[derive(EventLog)]
struct Noted;

struct Service {
    pool: Pool<AsyncPgConnection>,
}

impl Service {
    #[transactional_event(from = &self.pool, conn = db)]
    async fn note(&self) -> QueryResult<()> {
        conn.emit(&Noted).await.map(drop)
    }

    #[transactional_event(from = &self.poll)]
    async fn field(&self) -> QueryResult<()> {
        conn.emit(&Noted).await.map(drop)
    }
}

fn main() {}
