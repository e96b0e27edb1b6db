use crate::local::{Durability, MariaDb, MariaDbPrograms};
use crate::setting::{aside, required_path};

/// A MariaDB server of the test's own, with MariaDB's default durability.
#[derive(Debug)]
pub struct PrivateMariaDb {
    // `None` only while a restart is under way.
    server: Option<MariaDb>,
    url: String,
}

impl PrivateMariaDb {
    /// Makes a data directory, starts it and waits until it answers queries.
    ///
    /// # Panics
    /// When `OUTBOX_TEST_MARIADBD`, `OUTBOX_TEST_MARIADB_INSTALL_DB`, `OUTBOX_TEST_MARIADB` or `OUTBOX_TEST_SUP` is not
    /// set, or the server does not come up (with its log).
    pub async fn start() -> Self {
        let programs = MariaDbPrograms {
            server: required_path("OUTBOX_TEST_MARIADBD"),
            install: required_path("OUTBOX_TEST_MARIADB_INSTALL_DB"),
            client: required_path("OUTBOX_TEST_MARIADB"),
            sup: required_path("OUTBOX_TEST_SUP"),
        };
        let server = aside(move || MariaDb::start(programs, Durability::Durable)).await;
        let server = server.unwrap_or_else(|e| panic!("{e}"));
        Self { url: server.url(), server: Some(server) }
    }

    /// The URL of its database `mysql`, as root: the same for the server's whole life.
    #[must_use]
    pub fn url(&self) -> &str {
        &self.url
    }

    /// The process that the server and all its children descend from, for who counts what they use. None while it is stopped.
    #[must_use]
    pub fn process(&self) -> Option<u32> {
        self.server.as_ref().and_then(|server| server.process())
    }

    /// SIGKILL, and reaped: what it had not written to its files is gone.
    pub async fn kill(&mut self) {
        self.with(MariaDb::kill).await;
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
        self.with(MariaDb::restart).await.unwrap_or_else(|e| panic!("{e}"));
    }

    async fn with<T: Send + 'static>(&mut self, act: impl FnOnce(&mut MariaDb) -> T + Send + 'static) -> T {
        let Some(mut server) = self.server.take() else { panic!("a restart of this server was cancelled") };
        let (result, server) = aside(move || (act(&mut server), server)).await;
        self.server = Some(server);
        result
    }
}

#[cfg(test)]
mod tests {
    use mysql_async::prelude::Queryable;
    use mysql_async::{Conn, Opts};

    use super::*;

    #[tokio::test]
    async fn a_kill_keeps_what_was_committed() {
        let mut server = PrivateMariaDb::start().await;
        let opts = Opts::from_url(server.url()).expect("a URL");
        let mut conn = Conn::new(opts.clone()).await.expect("up");
        conn.query_drop("CREATE DATABASE d; CREATE TABLE d.t (a int); INSERT INTO d.t VALUES (1)")
            .await
            .expect("committed");
        server.kill().await;
        conn.query_drop("SELECT 1").await.expect_err("cut");
        Conn::new(opts.clone()).await.map(drop).expect_err("down");
        server.restart().await;
        let mut conn = Conn::new(opts).await.expect("up again");
        let rows: Option<u64> = conn.query_first("SELECT count(*) FROM d.t").await.expect("the table is there");
        assert_eq!(rows, Some(1));
        let durable: Option<u64> =
            conn.query_first("SELECT @@innodb_flush_log_at_trx_commit").await.expect("a setting");
        assert_eq!(durable, Some(1));
    }
}
