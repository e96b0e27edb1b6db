use std::thread;

use tokio_postgres::{Error, NoTls};
use url::Url;

use super::fresh_name;
use crate::setting;

/// An empty PostgreSQL database on the server at `OUTBOX_TEST_POSTGRES_URL`.
///
/// Dropping it drops the database together with the connections that are still open to it; that this works is not
/// promised, the server itself goes away after the tests.
#[derive(Debug)]
pub struct PostgresDatabase {
    server: Url,
    url: Url,
    name: String,
}

impl PostgresDatabase {
    /// Makes one.
    ///
    /// # Panics
    /// When the variable is not set or the server does not make the database.
    pub async fn create() -> Self {
        let server = setting::required("OUTBOX_TEST_POSTGRES_URL");
        let server = Url::parse(&server).unwrap_or_else(|e| panic!("OUTBOX_TEST_POSTGRES_URL: {e}"));
        let name = fresh_name();
        let mut url = server.clone();
        url.set_path(&name);
        if let Err(e) = execute(&server, &format!("CREATE DATABASE {name}")).await {
            panic!("no PostgreSQL database could be made at OUTBOX_TEST_POSTGRES_URL: {e:?}");
        }
        Self { server, url, name }
    }

    /// `postgres://user@host:port/name`.
    #[must_use]
    pub fn url(&self) -> &str {
        self.url.as_str()
    }

    /// The database's name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }
}

impl Drop for PostgresDatabase {
    fn drop(&mut self) {
        let (server, sql) = (self.server.clone(), format!("DROP DATABASE IF EXISTS {} WITH (FORCE)", self.name));
        // A thread with a runtime of its own: this one's may be ending, or be the one that runs us.
        let drop = thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
            runtime.map(|runtime| runtime.block_on(execute(&server, &sql)))
        });
        let _ = drop.join();
    }
}

async fn execute(server: &Url, sql: &str) -> Result<(), Error> {
    let (client, connection) = tokio_postgres::connect(server.as_str(), NoTls).await?;
    let statement = async move {
        let result = client.batch_execute(sql).await;
        // The connection ends when its client is gone.
        drop(client);
        result
    };
    let (result, _) = tokio::join!(statement, connection);
    result
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_database_is_fresh_and_goes_away() {
        let (one, two) = (PostgresDatabase::create().await, PostgresDatabase::create().await);
        let (one_url, server) = (Url::parse(one.url()).expect("a URL"), one.server.clone());
        execute(&one_url, "CREATE TABLE t (a int)").await.expect("empty");
        execute(&Url::parse(two.url()).expect("a URL"), "CREATE TABLE t (a int)").await.expect("not the first one");
        drop(one);
        execute(&one_url, "SELECT 1").await.expect_err("dropped");
        execute(&server, "SELECT 1").await.expect("the server lives");
    }
}
