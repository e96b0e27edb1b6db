//! Installing the tables.

use diesel::connection::SimpleConnection;
use diesel::sql_types::BigInt;
use diesel::{QueryResult, QueryableByName, RunQueryDsl};
use outbox_core::{StoreError, StoreErrorKind};

use super::connection::Step;
use crate::Tables;

/// The SQL of every version, in order. [`SqliteStore::setup`](super::SqliteStore) runs what is missing; it can as well
/// be copied into the service's own migrations.
pub const MIGRATIONS: &[&str] = &[include_str!("../../migrations/sqlite/0001_outbox.sql")];

/// [`MIGRATIONS`] for tables with another prefix.
#[must_use]
pub fn migrations(tables: &Tables) -> Vec<String> {
    MIGRATIONS.iter().map(|sql| tables.unqualified(sql).into_owned()).collect()
}

#[derive(QueryableByName)]
struct Number {
    #[diesel(sql_type = BigInt)]
    number: i64,
}

/// Installs what is missing under the write lock. Returns the version found before.
pub(super) fn setup(step: &mut Step<'_>) -> QueryResult<usize> {
    step.write(|step| {
        let from = version(step)?;
        for migration in migrations(step.tables).iter().skip(from) {
            step.conn.batch_execute(migration)?;
        }
        Ok(from)
    })
}

/// Refuses a version that is not this program's.
pub(super) fn check(operation: &'static str, found: usize) -> Result<(), StoreError> {
    let message = match found {
        found if found == MIGRATIONS.len() => return Ok(()),
        0 => "the outbox tables are missing: run `outbox migrate`, or call `SqliteStore::setup()`".to_owned(),
        found if found > MIGRATIONS.len() => {
            format!("the outbox tables are of version {found}, newer than this program: upgrade the program")
        }
        found => {
            format!("the outbox tables are of version {found}: run `outbox migrate`, or call `SqliteStore::setup()`")
        }
    };
    Err(StoreError::new(StoreErrorKind::Schema, operation, message))
}

/// The installed version, 0 when there is none.
pub(super) fn version(step: &mut Step<'_>) -> QueryResult<usize> {
    let number = |step: &mut Step<'_>, sql: &str| {
        step.query(sql).get_result::<Number>(step.conn).map(|row| usize::try_from(row.number).unwrap_or(0))
    };
    match number(step, "SELECT count(*) AS number FROM sqlite_schema WHERE name = 'outbox_migration'")? {
        0 => Ok(0),
        _ => number(step, "SELECT coalesce(max(version), 0) AS number FROM outbox_migration"),
    }
}
