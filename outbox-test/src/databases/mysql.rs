use std::thread;

use mysql_async::prelude::Queryable;
use mysql_async::{Conn, Error, Opts};
use url::Url;

use super::fresh_name;
use crate::setting;

/// An empty MySQL or MariaDB database on the server at `OUTBOX_TEST_MYSQL_URL`.
///
/// Dropping it drops the database; a connection that is in a transaction there still can make that wait. That it works is
/// not promised, the server itself goes away after the tests.
#[derive(Debug)]
pub struct MySqlDatabase {
    server: Url,
    url: Url,
    name: String,
}

impl MySqlDatabase {
    /// Makes one.
    ///
    /// # Panics
    /// When the variable is not set or the server does not make the database.
    pub async fn create() -> Self {
        Self::create_at(&setting::required("OUTBOX_TEST_MYSQL_URL")).await
    }

    /// Makes one on the server at `url`: a [`PrivateMariaDb`](crate::servers::PrivateMariaDb), say.
    ///
    /// # Panics
    /// When the server does not make the database.
    pub async fn create_at(url: &str) -> Self {
        let server = Url::parse(url).unwrap_or_else(|e| panic!("the URL of a MySQL server: {e}"));
        let name = fresh_name();
        let mut url = server.clone();
        url.set_path(&name);
        // Not the store's character set: its tables must name theirs.
        if let Err(e) = execute(&server, &format!("CREATE DATABASE {name} CHARACTER SET latin1")).await {
            panic!("no MySQL database could be made at OUTBOX_TEST_MYSQL_URL: {e:?}");
        }
        Self { server, url, name }
    }

    /// `mysql://user@host:port/name`.
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

impl Drop for MySqlDatabase {
    fn drop(&mut self) {
        let sql = format!("SET SESSION lock_wait_timeout = 2; DROP DATABASE IF EXISTS {}", self.name);
        let server = self.server.clone();
        // A thread with a runtime of its own: this one's may be ending, or be the one that runs us.
        let drop = thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
            runtime.map(|runtime| runtime.block_on(execute(&server, &sql)))
        });
        let _ = drop.join();
    }
}

async fn execute(server: &Url, sql: &str) -> Result<(), Error> {
    let mut conn = Conn::new(Opts::from_url(server.as_str())?).await?;
    conn.query_drop(sql).await?;
    conn.disconnect().await
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_database_is_fresh_and_goes_away() {
        let (one, two) = (MySqlDatabase::create().await, MySqlDatabase::create().await);
        let (one_url, server) = (Url::parse(one.url()).expect("a URL"), one.server.clone());
        execute(&one_url, "CREATE TABLE t (a int)").await.expect("empty");
        execute(&Url::parse(two.url()).expect("a URL"), "CREATE TABLE t (a int)").await.expect("not the first one");
        drop(one);
        execute(&one_url, "SELECT 1").await.expect_err("dropped");
        execute(&server, "SELECT 1").await.expect("the server lives");
    }
}
