//! `#[async_trait]` rewrites its methods before the attribute sees them.
use async_trait::async_trait;
use diesel::QueryResult;
use diesel_async::AsyncPgConnection;
use outbox::prelude::*;

#[async_trait]
trait Orders {
    async fn place(&self, conn: &mut AsyncPgConnection) -> QueryResult<()>;
}

struct Service;

#[async_trait]
impl Orders for Service {
    #[transactional_event]
    async fn place(&self, conn: &mut AsyncPgConnection) -> QueryResult<()> {
        let _ = conn;
        Ok(())
    }
}

fn main() {}
