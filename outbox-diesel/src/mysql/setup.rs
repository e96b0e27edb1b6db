//! Installing the tables, and whether the server is one that the store can work on.

use diesel::result::Error;
use diesel::sql_types::{BigInt, Nullable, Text};
use diesel::{QueryResult, QueryableByName};
use diesel_async::{RunQueryDsl, SimpleAsyncConnection};
use outbox_core::{StoreError, StoreErrorKind};

use super::connections::Step;
use crate::Tables;
use crate::rows::Number;

/// The SQL of every version, in order. [`MySqlStore::setup`](super::MySqlStore) runs what is missing; it can as well be copied
/// into the service's own migrations.
pub const MIGRATIONS: &[&str] = &[include_str!("../../migrations/mysql/0001_outbox.sql")];

/// [`MIGRATIONS`] for tables elsewhere: with their prefix, in their database.
#[must_use]
pub fn migrations(tables: &Tables) -> Vec<String> {
    MIGRATIONS.iter().map(|sql| tables.sql(sql).into_owned()).collect()
}

/// How long one setup waits for another, in seconds.
const LOCK_TIMEOUT_S: u32 = 60;

/// A lock of the server and not of a transaction, which CREATE TABLE would end.
const LOCK: &str = "LEFT(CONCAT('outbox_setup in ', DATABASE()), 64)";

/// What a server can do.
#[derive(Debug, PartialEq, Eq)]
enum Product {
    MySql,
    MariaDb,
}

#[derive(QueryableByName)]
pub(super) struct Server {
    #[diesel(sql_type = Text)]
    version: String,
    /// 1: a commit is on the disk when it returns.
    #[diesel(sql_type = BigInt)]
    flush: i64,
    #[diesel(sql_type = Nullable<Text>)]
    database: Option<String>,
}

pub(super) async fn server(step: &mut Step<'_>) -> QueryResult<Server> {
    step.query(
        "SELECT VERSION() AS version, CAST(@@GLOBAL.innodb_flush_log_at_trx_commit AS SIGNED) AS flush, \
         DATABASE() AS `database`",
    )
    .get_result(step.conn)
    .await
}

impl Server {
    /// Refuses a server that does not know what the statements need.
    pub(super) fn check(&self, operation: &'static str) -> Result<(), StoreError> {
        let schema = |message| Err(StoreError::new(StoreErrorKind::Schema, operation, message));
        if self.database.is_none() {
            return schema("the URL names no database: mysql://user:password@host/database".to_owned());
        }
        let (product, number) = product(&self.version);
        let (name, needed) = match product {
            Product::MySql => ("MySQL", (8, 0, 13)),
            Product::MariaDb => ("MariaDB", (10, 6, 0)),
        };
        if number < needed {
            let (major, minor, patch) = needed;
            return schema(format!(
                "the server is {name} {}: the outbox needs {name} {major}.{minor}.{patch} or later (SKIP LOCKED, defaults that are expressions)",
                self.version
            ));
        }
        if self.flush != 1 {
            tracing::warn!(
                innodb_flush_log_at_trx_commit = self.flush,
                "a commit of this server is not on the disk when it returns: a crash of its machine can lose events, and can \
                 undo the sealing of batches that were delivered, which delivers their events again under other tokens"
            );
        }
        Ok(())
    }
}

/// `10.11.19-MariaDB-0+deb12u1`, `8.0.36`.
fn product(version: &str) -> (Product, (u32, u32, u32)) {
    let product = if version.contains("MariaDB") { Product::MariaDb } else { Product::MySql };
    // What some MariaDB servers put in front for the sake of replication.
    let number = version.strip_prefix("5.5.5-").unwrap_or(version);
    let mut numbers = number.split(|c: char| !c.is_ascii_digit()).map(|part| part.parse().unwrap_or(0));
    let mut next = || numbers.next().unwrap_or(0);
    (product, (next(), next(), next()))
}

/// Installs what is missing, one process at a time. Returns the version found before.
pub(super) async fn setup(step: &mut Step<'_>) -> QueryResult<usize> {
    let got: Number = step
        .query(&format!("SELECT CAST(GET_LOCK({LOCK}, {LOCK_TIMEOUT_S}) AS SIGNED) AS number"))
        .get_result(step.conn)
        .await?;
    if got.number != Some(1) {
        return Err(Error::QueryBuilderError("another process has been setting up for a minute".into()));
    }
    let done = install(step).await;
    step.query(&format!("DO RELEASE_LOCK({LOCK})")).execute(step.conn).await?;
    done
}

async fn install(step: &mut Step<'_>) -> QueryResult<usize> {
    let from = version(step).await?;
    for migration in migrations(&step.tables()).iter().skip(from) {
        step.conn.batch_execute(migration).await?;
    }
    Ok(from)
}

/// Refuses a version that is not this program's.
pub(super) fn check(operation: &'static str, found: usize) -> Result<(), StoreError> {
    let message = match found {
        found if found == MIGRATIONS.len() => return Ok(()),
        0 => "the outbox tables are missing: run `outbox migrate`, or call `MySqlStore::setup()`".to_owned(),
        found if found > MIGRATIONS.len() => {
            format!("the outbox tables are of version {found}, newer than this program: upgrade the program")
        }
        found => {
            format!("the outbox tables are of version {found}: run `outbox migrate`, or call `MySqlStore::setup()`")
        }
    };
    Err(StoreError::new(StoreErrorKind::Schema, operation, message))
}

/// The installed version, 0 when there is none.
pub(super) async fn version(step: &mut Step<'_>) -> QueryResult<usize> {
    let tables = step.tables();
    let table: Number = diesel::sql_query(
        "SELECT COUNT(*) AS number FROM information_schema.tables \
         WHERE table_schema = COALESCE(?, DATABASE()) AND table_name = ?",
    )
    .bind::<Nullable<Text>, _>(tables.schema())
    .bind::<Text, _>(format!("{}migration", tables.prefix()))
    .get_result(step.conn)
    .await?;
    if table.number != Some(1) {
        return Ok(0);
    }
    let version: Number = step
        .query("SELECT CAST(COALESCE(MAX(version), 0) AS SIGNED) AS number FROM outbox_migration")
        .get_result(step.conn)
        .await?;
    Ok(version.number.and_then(|number| usize::try_from(number).ok()).unwrap_or(0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_server_that_is_too_old_is_refused_by_name() {
        for (version, good) in [
            ("8.0.13", true),
            ("9.1.0", true),
            ("8.0.36-28-log", true),
            ("10.6.0-MariaDB", true),
            ("5.5.5-10.11.19-MariaDB-0+deb12u1", true),
            ("11.4.2-MariaDB", true),
            ("8.0.12", false),
            ("5.7.44-log", false),
            ("10.5.29-MariaDB", false),
        ] {
            let server = Server { version: version.to_owned(), flush: 1, database: Some("d".to_owned()) };
            let checked = server.check("open");
            assert_eq!(checked.is_ok(), good, "{version}");
            if let Err(refused) = checked {
                assert!(refused.to_string().contains(version), "{refused}");
            }
        }
    }

    #[test]
    fn a_url_without_a_database_is_refused() {
        let server = Server { version: "8.0.36".to_owned(), flush: 1, database: None };
        assert!(server.check("open").expect_err("nowhere").to_string().contains("names no database"));
    }
}
