use std::thread;
use std::time::{Duration, Instant};

use super::fresh_name;
use crate::local::Endpoint;
use crate::servers::PrivateClickHouse;
use crate::setting::{self, aside};

/// An empty ClickHouse database on the server at `OUTBOX_TEST_CLICKHOUSE_URL`, or on one of the test's own.
///
/// Dropping it drops the database; that this works is not promised, the server itself goes away after the tests.
#[derive(Debug)]
pub struct ClickHouseDatabase {
    endpoint: Endpoint,
    name: String,
}

impl ClickHouseDatabase {
    /// Makes one on the shared server.
    ///
    /// # Panics
    /// When the variable is not set or wrong, or the server does not make the database.
    pub async fn create() -> Self {
        let url = setting::required("OUTBOX_TEST_CLICKHOUSE_URL");
        Self::create_at(Endpoint::parse(&url).unwrap_or_else(|e| panic!("OUTBOX_TEST_CLICKHOUSE_URL: {e}"))).await
    }

    /// Makes one on a server of the test's own. It outlives the server's crashes.
    ///
    /// # Panics
    /// When the server does not make the database.
    pub async fn create_on(server: &PrivateClickHouse) -> Self {
        Self::create_at(server.endpoint().clone()).await
    }

    async fn create_at(endpoint: Endpoint) -> Self {
        let name = fresh_name();
        let database = Self { endpoint, name };
        run(database.endpoint.clone(), "default".to_owned(), create(&database.name)).await;
        database
    }

    /// Makes another one on the same server, once, for a server that may crash meanwhile.
    ///
    /// # Errors
    /// The server's text when it refuses, or that it cannot be reached.
    pub async fn try_create_beside(&self) -> Result<Self, String> {
        let database = Self { endpoint: self.endpoint.clone(), name: fresh_name() };
        let (endpoint, sql) = (database.endpoint.clone(), create(&database.name));
        aside(move || endpoint.query("default", &sql).map_err(|e| e.to_string())).await.map(|_| database)
    }

    /// `http://host:port`, without a login.
    #[must_use]
    pub fn url(&self) -> &str {
        self.endpoint.url()
    }

    /// `host:port`, for a proxy in between.
    #[must_use]
    pub fn address(&self) -> &str {
        self.url().trim_start_matches("http://")
    }

    /// The database's name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The user to log in as, where the server wants one.
    #[must_use]
    pub fn user(&self) -> Option<&str> {
        self.endpoint.user()
    }

    /// The user's password.
    #[must_use]
    pub fn password(&self) -> Option<&str> {
        self.endpoint.password()
    }

    /// Runs one statement in this database and returns the answer: a line per row, columns separated by tabs (unless
    /// the statement names a `FORMAT`), without the last line's end.
    ///
    /// # Panics
    /// With the server's text when it refuses, or when it cannot be reached.
    pub async fn query(&self, sql: impl Into<String>) -> String {
        run(self.endpoint.clone(), self.name.clone(), sql.into()).await
    }

    /// As [`query`](Self::query), once, for a server that may crash meanwhile.
    ///
    /// # Errors
    /// The server's text when it refuses, or that it cannot be reached.
    pub async fn try_query(&self, sql: impl Into<String>) -> Result<String, String> {
        let (endpoint, database, sql) = (self.endpoint.clone(), self.name.clone(), sql.into());
        aside(move || endpoint.query(&database, &sql).map_err(|e| e.to_string())).await
    }
}

fn create(name: &str) -> String {
    format!("CREATE DATABASE {name}")
}

async fn run(endpoint: Endpoint, database: String, sql: String) -> String {
    aside(move || {
        let started = Instant::now();
        loop {
            match endpoint.query(&database, &sql) {
                Ok(answer) => return answer,
                // It may be on its way up again after a crash.
                Err(error) if error.may_be_asked_again(&sql) && started.elapsed() < BACK_WITHIN => thread::sleep(AGAIN),
                Err(error) => panic!("{error}\nwhile running: {sql}"),
            }
        }
    })
    .await
}

/// How long a server may take to come back after a crash: one that aborts takes ten seconds to end.
const BACK_WITHIN: Duration = Duration::from_secs(60);
/// Between two tries.
const AGAIN: Duration = Duration::from_millis(50);

impl Drop for ClickHouseDatabase {
    fn drop(&mut self) {
        let (endpoint, sql) = (self.endpoint.clone(), format!("DROP DATABASE IF EXISTS {} SYNC", self.name));
        let drop = thread::spawn(move || endpoint.query("default", &sql));
        let _ = drop.join();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_database_is_fresh_and_goes_away() {
        let database = ClickHouseDatabase::create().await;
        let name = database.name().to_owned();
        database.query("CREATE TABLE t (a Int32) ENGINE = MergeTree ORDER BY a").await;
        database.query("INSERT INTO t VALUES (1), (2)").await;
        assert_eq!(database.query("SELECT a FROM t ORDER BY a").await, "1\n2");
        drop(database);
        let other = ClickHouseDatabase::create().await;
        assert_eq!(other.query(format!("EXISTS DATABASE {name}")).await, "0");
    }

    #[tokio::test]
    #[should_panic(expected = "UNKNOWN_TABLE")]
    async fn a_refused_query_shows_the_servers_text() {
        ClickHouseDatabase::create().await.query("SELECT * FROM nowhere").await;
    }
}
