//! Installing the tables.

use diesel::sql_types::{BigInt, Nullable, Text};
use diesel::{QueryResult, QueryableByName};
use diesel_async::{AsyncConnection, AsyncPgConnection, RunQueryDsl, SimpleAsyncConnection};
use outbox_core::{StoreError, StoreErrorKind};

use crate::Tables;

/// The SQL of every version, in order. [`PostgresStore::setup`](super::PostgresStore) runs what is missing; it can as
/// well be copied into the service's own migrations.
pub const MIGRATIONS: &[&str] = &[concat!(
    include_str!("../../migrations/postgres/0001/tables.sql"),
    include_str!("../../migrations/postgres/0001/plan.sql"),
    include_str!("../../migrations/postgres/0001/batches.sql"),
    include_str!("../../migrations/postgres/0001/held.sql"),
    include_str!("../../migrations/postgres/0001/prune.sql"),
    include_str!("../../migrations/postgres/0001/operate.sql"),
)];

/// How the size of a slot stands in the SQL.
const SLOT_BITS: &str = ">> 20)";

/// [`MIGRATIONS`] for tables elsewhere: with their prefix, in their schema, with their size of a slot.
#[must_use]
pub fn migrations(tables: &Tables) -> Vec<String> {
    let schema = tables
        .schema()
        .map(|schema| format!("CREATE SCHEMA IF NOT EXISTS {schema};\nSET LOCAL search_path TO {schema};\n\n"));
    let render = |sql: &&str| {
        let sql = tables.unqualified(sql).replace(SLOT_BITS, &format!(">> {})", tables.slot_bits()));
        format!("{}{sql}", schema.as_deref().unwrap_or_default())
    };
    MIGRATIONS.iter().map(render).collect()
}

/// An arbitrary number that no other program is likely to lock: "outbox" in ASCII.
const SETUP_LOCK: i64 = 0x6f75_7462_6f78;

#[derive(QueryableByName)]
struct Version {
    #[diesel(sql_type = BigInt)]
    version: i64,
}

#[derive(QueryableByName)]
struct Table {
    #[diesel(sql_type = Nullable<Text>)]
    name: Option<String>,
}

/// Installs what is missing under a lock. `Ok(Err(version))`: the tables are newer than this program.
pub(super) async fn setup(tables: &Tables, conn: &mut AsyncPgConnection) -> QueryResult<Result<usize, usize>> {
    conn.transaction(async |conn| -> QueryResult<Result<usize, usize>> {
        diesel::sql_query("SELECT pg_advisory_xact_lock($1)").bind::<BigInt, _>(SETUP_LOCK).execute(conn).await?;
        let from = version(tables, conn).await?;
        if from > MIGRATIONS.len() {
            return Ok(Err(from));
        }
        for migration in migrations(tables).iter().skip(from) {
            conn.batch_execute(migration).await?;
        }
        Ok(Ok(MIGRATIONS.len() - from))
    })
    .await
}

/// What [`setup`] did, told.
pub(super) fn installed(installed: Result<usize, usize>) -> Result<(), StoreError> {
    match installed {
        Ok(count) => {
            tracing::info!(migrations = count, version = MIGRATIONS.len(), "outbox tables are ready");
            Ok(())
        }
        Err(version) => Err(newer(version)),
    }
}

/// Refuses tables that are missing, old, or newer than this program.
pub(super) fn check(operation: &'static str, found: usize) -> Result<(), StoreError> {
    match found {
        found if found == MIGRATIONS.len() => Ok(()),
        found if found > MIGRATIONS.len() => Err(newer(found)),
        found => Err(StoreError::new(
            StoreErrorKind::Schema,
            operation,
            format!(
                "the outbox tables are {}: run `outbox migrate`, or call `PostgresStore::setup()`",
                if found == 0 { "missing".to_owned() } else { format!("of version {found}") }
            ),
        )),
    }
}

fn newer(version: usize) -> StoreError {
    let message = format!("the outbox tables are of version {version}, newer than this program: upgrade the program");
    StoreError::new(StoreErrorKind::Schema, "open", message)
}

/// The installed version, 0 when there is none.
pub(super) async fn version(tables: &Tables, conn: &mut AsyncPgConnection) -> QueryResult<usize> {
    let table: Table = diesel::sql_query("SELECT to_regclass($1)::text AS name")
        .bind::<Text, _>(tables.sql("outbox_migration"))
        .get_result(conn)
        .await?;
    if table.name.is_none() {
        return Ok(0);
    }
    let version: Version =
        diesel::sql_query(tables.sql("SELECT coalesce(max(version), 0)::bigint AS version FROM outbox_migration"))
            .get_result(conn)
            .await?;
    Ok(usize::try_from(version.version).unwrap_or(0))
}
