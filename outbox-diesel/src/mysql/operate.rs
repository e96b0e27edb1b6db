//! What an operator asks: the state, the load, the schemas, and whether the outbox takes events.

use std::collections::BTreeMap;
use std::time::Duration;

use diesel::sql_types::{BigInt, Bool, Integer, Text};
use diesel::{QueryResult, QueryableByName};
use diesel_async::{RunQueryDsl, SimpleAsyncConnection};
use outbox_core::{Load, SchemaRecord, Status};

use super::NOW;
use super::connections::Step;
use super::error::unreadable;
use super::rows::StateRow;
use crate::rows::{Number, types};
use crate::status::{FailingRow, RouteRow};

/// One row per route, less what is unsealed: see [`unsealed`].
const ROUTES: &str = "SELECT c.route, CAST(0 AS SIGNED) AS unsealed, \
    CAST(COALESCE(SUM(IF(b.dead, 0, b.n)), 0) AS SIGNED) AS sealed, \
    CAST(COALESCE(SUM(IF(b.dead, 0, 1)), 0) AS SIGNED) AS open_batches, \
    CAST(COALESCE(SUM(IF(b.parked AND NOT b.dead, 1, 0)), 0) AS SIGNED) AS parked, \
    CAST(COALESCE(SUM(IF(b.dead, b.n, 0)), 0) AS SIGNED) AS dead, \
    CAST(({NOW} - MIN(IF(b.dead, NULL, b.oldest))) / 1000 AS SIGNED) AS oldest_ms \
    FROM outbox_cursor c LEFT JOIN outbox_batch b ON b.route = c.route AND b.settled = FALSE GROUP BY c.route ORDER BY c.route";

/// Counts, so it takes its time on a large backlog.
pub(super) async fn status(step: &mut Step<'_>) -> QueryResult<Status> {
    let states: Vec<StateRow> = step
        .query("SELECT route, CAST(ordered AS SIGNED) AS ordered, pos, gaps, old_gaps, types FROM outbox_cursor")
        .load(step.conn)
        .await?;
    let mut unsealed_of = BTreeMap::new();
    for state in states {
        let only = types(state.types.as_deref())?;
        let (waiting, oldest_ms) = unsealed(step, &state, only.as_deref()).await?;
        unsealed_of.insert(state.route, (state.ordered != 0, only, waiting, oldest_ms));
    }
    // After what waits: events that are sealed in between are counted twice. The other way round they would count as delivered.
    let rows: Vec<RouteRow> = step.query(&ROUTES.replace("{NOW}", NOW)).load(step.conn).await?;
    let stored: Number = step.query("SELECT COUNT(*) AS number FROM outbox_event").get_result(step.conn).await?;
    let mut routes = Vec::with_capacity(rows.len());
    for row in rows {
        let failing: Vec<FailingRow> = step
            .query(
                "SELECT no, attempt, CAST(n AS SIGNED) AS events, parked, error FROM outbox_batch \
                 WHERE route = ? AND settled = FALSE AND dead = FALSE AND error IS NOT NULL ORDER BY no DESC LIMIT 10",
            )
            .bind::<Text, _>(&row.route)
            .load(step.conn)
            .await?;
        let Some((ordered, only, waiting, oldest_ms)) = unsealed_of.remove(&row.route) else { continue };
        let row = row.with_unsealed(waiting, oldest_ms);
        routes.push(row.status(failing, ordered, only));
    }
    Ok(Status { routes, stored_events: stored.number.unwrap_or(0).unsigned_abs() })
}

#[derive(QueryableByName)]
struct Waiting {
    #[diesel(sql_type = BigInt)]
    waiting: i64,
    #[diesel(sql_type = diesel::sql_types::Nullable<BigInt>)]
    oldest_ms: Option<i64>,
}

/// What waits after the position and in the gaps. Strays, that only a sweep finds, are not counted.
async fn unsealed(step: &mut Step<'_>, state: &StateRow, only: Option<&[String]>) -> QueryResult<(i64, Option<i64>)> {
    let gaps = state.watched()?.condition("seq");
    let types = match only {
        None => String::new(),
        Some(only) => {
            let marks = vec!["?"; only.len().max(1)].join(", ");
            format!("AND event_type IN ({marks})")
        }
    };
    let sql = format!(
        "SELECT COUNT(*) AS waiting, CAST(({NOW} - MIN(created_at)) / 1000 AS SIGNED) AS oldest_ms FROM outbox_event \
         WHERE (seq > ? OR {gaps}) {types}"
    );
    let mut query = step.query(&sql).into_boxed().bind::<BigInt, _>(state.pos);
    for event_type in only.unwrap_or_default() {
        query = query.bind::<Text, _>(event_type.clone());
    }
    if only.is_some_and(<[String]>::is_empty) {
        query = query.bind::<Text, _>(String::new());
    }
    let row: Waiting = query.get_result(step.conn).await?;
    Ok((row.waiting, row.oldest_ms))
}

#[derive(QueryableByName)]
struct RouteLoad {
    #[diesel(sql_type = BigInt)]
    waiting: i64,
    #[diesel(sql_type = diesel::sql_types::Nullable<BigInt>)]
    oldest: Option<i64>,
    #[diesel(sql_type = BigInt)]
    now: i64,
}

/// What waits for the slowest route, by what is known anyway: looks at no event but the oldest and the newest.
pub(super) async fn load(step: &mut Step<'_>) -> QueryResult<Load> {
    let routes: Vec<RouteLoad> = step
        .query(&format!(
            "SELECT GREATEST((SELECT COALESCE(MAX(seq), 0) FROM outbox_event) - c.pos, 0) \
                    + CAST(COALESCE((SELECT SUM(b.n) FROM outbox_batch b WHERE b.route = c.route AND b.settled = FALSE AND b.dead = FALSE), 0) AS SIGNED) \
                    AS waiting, \
                LEAST(COALESCE((SELECT MIN(b.oldest) FROM outbox_batch b WHERE b.route = c.route AND b.settled = FALSE AND b.dead = FALSE), {NOW}), \
                      COALESCE((SELECT e.created_at FROM outbox_event e WHERE e.seq > c.pos ORDER BY e.seq LIMIT 1), {NOW})) AS oldest, \
                {NOW} AS now FROM outbox_cursor c"
        ))
        .load(step.conn)
        .await?;
    let held: Number = step
        .query("SELECT CAST(COALESCE(SUM(n), 0) AS SIGNED) AS number FROM outbox_batch WHERE held")
        .get_result(step.conn)
        .await?;
    // MySQL 8 would answer from a cache of a day; MariaDB does not read the comment.
    step.conn.batch_execute("SET @outbox_unused = 0 /*!80000 , SESSION information_schema_stats_expiry = 0 */").await?;
    let tables = step.tables();
    let bytes: Number = diesel::sql_query(
        "SELECT CAST(COALESCE(SUM(data_length + index_length), 0) AS SIGNED) AS number FROM information_schema.tables \
         WHERE table_schema = COALESCE(?, DATABASE()) AND table_name IN (?, ?)",
    )
    .bind::<diesel::sql_types::Nullable<Text>, _>(tables.schema())
    .bind::<Text, _>(format!("{}event", tables.prefix()))
    .bind::<Text, _>(format!("{}held", tables.prefix()))
    .get_result(step.conn)
    .await?;
    let age = |row: &RouteLoad| row.now.saturating_sub(row.oldest.unwrap_or(row.now));
    let oldest_age = routes.iter().map(age).max().unwrap_or(0);
    Ok(Load {
        rows: routes.iter().map(|row| row.waiting).max().unwrap_or(0).unsigned_abs(),
        bytes: bytes.number.unwrap_or(0).unsigned_abs(),
        // Below zero after the database's clock was set back.
        oldest_age: Duration::from_micros(u64::try_from(oldest_age).unwrap_or(0)),
        held: held.number.unwrap_or(0).unsigned_abs(),
    })
}

pub(super) async fn set_full(step: &mut Step<'_>, full: bool) -> QueryResult<()> {
    step.query("UPDATE outbox_limit SET is_full = ? WHERE is_full <> ?")
        .bind::<Bool, _>(full)
        .bind::<Bool, _>(full)
        .execute(step.conn)
        .await
        .map(drop)
}

pub(super) async fn register(step: &mut Step<'_>, schemas: &[SchemaRecord]) -> QueryResult<()> {
    for schema in schemas {
        let json =
            serde_json::to_string(schema).map_err(|error| diesel::result::Error::SerializationError(error.into()))?;
        step.query(
            "INSERT INTO outbox_schema (event_type, version, `schema`) VALUES (?, ?, ?) \
             ON DUPLICATE KEY UPDATE `schema` = VALUES(`schema`)",
        )
        .bind::<Text, _>(&schema.event_type)
        .bind::<Integer, _>(schema.version)
        .bind::<Text, _>(json)
        .execute(step.conn)
        .await?;
    }
    Ok(())
}

#[derive(QueryableByName)]
struct SchemaRow {
    #[diesel(sql_type = Text)]
    json: String,
}

pub(super) async fn schemas(step: &mut Step<'_>) -> QueryResult<Vec<SchemaRecord>> {
    let rows: Vec<SchemaRow> =
        step.query("SELECT `schema` AS json FROM outbox_schema ORDER BY event_type, version").load(step.conn).await?;
    let record =
        |row: SchemaRow| serde_json::from_str(&row.json).map_err(|_| unreadable("a stored schema is unreadable"));
    rows.into_iter().map(record).collect()
}
