use url::Url;

use crate::local::{PgBouncer, PgBouncerPrograms};
use crate::setting::{aside, required_path};

/// A PgBouncer of the test's own, in transaction mode, in front of a PostgreSQL server. It takes its server connections in turn, so
/// that two transactions of a client are hardly ever on the same one.
#[derive(Debug)]
pub struct PrivatePgBouncer {
    pooler: PgBouncer,
}

impl PrivatePgBouncer {
    /// Starts one in front of the server of `url`, for all of its databases, with the login of `url` for everybody.
    ///
    /// # Panics
    /// When `OUTBOX_TEST_PGBOUNCER` or `OUTBOX_TEST_SUP` is not set, `url` is none, or it does not come up (with its log).
    pub async fn start(url: &str) -> Self {
        let url = Url::parse(url).unwrap_or_else(|e| panic!("the URL of a PostgreSQL server: {e}"));
        let host = url.host_str().unwrap_or("127.0.0.1");
        let mut server = format!("host={host} port={} user={}", url.port().unwrap_or(5432), url.username());
        if let Some(password) = url.password() {
            server = format!("{server} password='{}'", password.replace('\'', "''"));
        }
        let programs =
            PgBouncerPrograms { server: required_path("OUTBOX_TEST_PGBOUNCER"), sup: required_path("OUTBOX_TEST_SUP") };
        let pooler = aside(move || PgBouncer::start(&programs, &server)).await;
        Self { pooler: pooler.unwrap_or_else(|e| panic!("{e}")) }
    }

    /// The same database as at `url`, through the pooler.
    ///
    /// # Panics
    /// When `url` is none.
    #[must_use]
    pub fn url(&self, url: &str) -> String {
        let mut url = Url::parse(url).unwrap_or_else(|e| panic!("the URL of a PostgreSQL database: {e}"));
        let moved = url.set_host(Some("127.0.0.1")).is_ok() && url.set_port(Some(self.pooler.port())).is_ok();
        assert!(moved, "{url} has no host");
        url.into()
    }
}

#[cfg(test)]
mod tests {
    use tokio_postgres::NoTls;

    use super::*;
    use crate::databases::PostgresDatabase;

    #[tokio::test]
    async fn two_transactions_are_on_two_connections() {
        let database = PostgresDatabase::create().await;
        let pooler = PrivatePgBouncer::start(database.url()).await;
        let (client, connection) = tokio_postgres::connect(&pooler.url(database.url()), NoTls).await.expect("up");
        tokio::spawn(connection);
        let (other, connection) = tokio_postgres::connect(&pooler.url(database.url()), NoTls).await.expect("up");
        tokio::spawn(connection);
        // Both open at once, so that there are two server connections to take turns.
        client.batch_execute("BEGIN").await.expect("begins");
        other.batch_execute("BEGIN; COMMIT").await.expect("another one");
        client.batch_execute("COMMIT").await.expect("commits");
        client.batch_execute("PREPARE here AS SELECT 1").await.expect("prepares");
        client.batch_execute("EXECUTE here").await.expect_err("prepared on the other one");
    }
}
