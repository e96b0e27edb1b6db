use crate::local::{Durability, Postgres, PostgresPrograms};
use crate::setting::{aside, required_path};

/// A PostgreSQL server of the test's own, with PostgreSQL's default durability.
#[derive(Debug)]
pub struct PrivatePostgres {
    // `None` only while a restart is under way.
    server: Option<Postgres>,
    url: String,
}

impl PrivatePostgres {
    /// Makes a cluster, starts it and waits until it answers queries.
    ///
    /// # Panics
    /// When `OUTBOX_TEST_POSTGRES_BIN` or `OUTBOX_TEST_SUP` is not set, or the server does not come up (with its log).
    pub async fn start() -> Self {
        let (bin, sup) = (required_path("OUTBOX_TEST_POSTGRES_BIN"), required_path("OUTBOX_TEST_SUP"));
        let server = aside(move || Postgres::start(PostgresPrograms { bin, sup }, Durability::Durable)).await;
        let server = server.unwrap_or_else(|e| panic!("{e}"));
        Self { url: server.url(), server: Some(server) }
    }

    /// The URL of its database `postgres`, as the superuser: the same for the server's whole life.
    #[must_use]
    pub fn url(&self) -> &str {
        &self.url
    }

    /// The process that the server and all its children descend from, for who counts what they use. None while it is stopped.
    #[must_use]
    pub fn process(&self) -> Option<u32> {
        self.server.as_ref().and_then(|server| server.process())
    }

    /// What `pg_ctl stop -m immediate` does: no checkpoint, every connection cut, recovery at the next start.
    pub async fn stop_immediate(&mut self) {
        self.with(Postgres::stop_immediate).await;
    }

    /// Starts it again with the same data on the same port, and waits until it answers queries. One that still runs
    /// gets an orderly stop first.
    ///
    /// # Panics
    /// When it does not come up (with its log).
    ///
    /// # Cancel safety
    /// Not cancel safe: a test that drops this future has no server any more.
    pub async fn restart(&mut self) {
        self.with(Postgres::restart).await.unwrap_or_else(|e| panic!("{e}"));
    }

    async fn with<T: Send + 'static>(&mut self, act: impl FnOnce(&mut Postgres) -> T + Send + 'static) -> T {
        let Some(mut server) = self.server.take() else { panic!("a restart of this server was cancelled") };
        let (result, server) = aside(move || (act(&mut server), server)).await;
        self.server = Some(server);
        result
    }
}

#[cfg(test)]
mod tests {
    use tokio_postgres::NoTls;

    use super::*;

    #[tokio::test]
    async fn a_crash_keeps_what_was_committed() {
        let mut server = PrivatePostgres::start().await;
        let (client, connection) = tokio_postgres::connect(server.url(), NoTls).await.expect("up");
        let connection = tokio::spawn(connection);
        client.batch_execute("CREATE TABLE t (a int); INSERT INTO t VALUES (1)").await.expect("committed");
        server.stop_immediate().await;
        connection.await.expect("no panic").expect_err("cut");
        tokio_postgres::connect(server.url(), NoTls).await.map(drop).expect_err("down");
        server.restart().await;
        let (client, connection) = tokio_postgres::connect(server.url(), NoTls).await.expect("up again");
        tokio::spawn(connection);
        let row = client.query_one("SELECT count(*) FROM t", &[]).await.expect("the table is there");
        assert_eq!(row.get::<_, i64>(0), 1);
        assert_eq!(client.query_one("SHOW fsync", &[]).await.expect("a setting").get::<_, &str>(0), "on");
    }
}
