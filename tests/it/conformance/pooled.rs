//! PostgreSQL through a PgBouncer in transaction mode.

use std::time::Duration;

use diesel_async::AsyncPgConnection;
use outbox::postgres::{PostgresStore, connect_behind_pooler};
use outbox_test::conformance::store::StoreHarness;
use outbox_test::databases::PostgresDatabase;
use outbox_test::servers::PrivatePgBouncer;

use super::harness::{AsyncTransaction, Postgres};

/// The database, what lies before it, and the URL there.
pub(super) struct Pooled {
    postgres: Postgres,
    // Held for its drop.
    _pooler: PrivatePgBouncer,
    url: String,
}

impl StoreHarness for Pooled {
    type Store = PostgresStore;
    type Tx = AsyncTransaction<AsyncPgConnection>;

    async fn create() -> Self {
        let database = PostgresDatabase::create().await;
        let pooler = PrivatePgBouncer::start(database.url()).await;
        Self { url: pooler.url(database.url()), _pooler: pooler, postgres: Postgres(database) }
    }

    fn store(&self) -> PostgresStore {
        PostgresStore::new(&self.url).behind_pooler()
    }

    async fn begin(&self) -> Self::Tx {
        AsyncTransaction::on(connect_behind_pooler(&self.url).await.expect("the pooler answers")).await
    }

    async fn elapse(&self, time: Duration) {
        self.postgres.elapse(time).await;
    }

    async fn lose(&self, key: &str) {
        self.postgres.lose(key).await;
    }
}
