//! What an operator asks: the state, the load, the schemas, and whether the outbox takes events.

use std::time::Duration;

use diesel::sql_types::{BigInt, Bool, Integer, Nullable, Text};
use diesel::{QueryResult, QueryableByName, RunQueryDsl};
use outbox_core::{Load, Route, SchemaRecord, Status};

use super::NOW_MS;
use super::connection::Step;
use super::plan::cursor;
use crate::rows::{Number, types};
use crate::status::{FailingRow, RouteRow};

/// One row per route.
const ROUTES: &str = "SELECT c.route, \
    (SELECT count(*) FROM outbox_event e WHERE e.seq > c.pos \
        AND (c.types IS NULL OR e.event_type IN (SELECT value FROM json_each(c.types)))) AS unsealed, \
    coalesce((SELECT sum(n) FROM outbox_batch b WHERE b.route = c.route AND NOT b.dead), 0) AS sealed, \
    (SELECT count(*) FROM outbox_batch b WHERE b.route = c.route AND NOT b.dead) AS open_batches, \
    (SELECT count(*) FROM outbox_batch b WHERE b.route = c.route AND b.parked AND NOT b.dead) AS parked, \
    coalesce((SELECT sum(n) FROM outbox_batch b WHERE b.route = c.route AND b.dead), 0) AS dead, \
    {NOW} - (SELECT min(since) FROM ( \
        SELECT min(oldest) AS since FROM outbox_batch b WHERE b.route = c.route AND NOT b.dead \
        UNION ALL SELECT (SELECT created_at FROM outbox_event e WHERE e.seq > c.pos \
            AND (c.types IS NULL OR e.event_type IN (SELECT value FROM json_each(c.types))) ORDER BY e.seq LIMIT 1))) AS oldest_ms \
    FROM outbox_cursor c ORDER BY c.route";

pub(super) fn status(step: &mut Step<'_>) -> QueryResult<Status> {
    let rows: Vec<RouteRow> = step.query(&ROUTES.replace("{NOW}", NOW_MS)).load(step.conn)?;
    let stored: Number = step.query("SELECT count(*) AS number FROM outbox_event").get_result(step.conn)?;
    let mut routes = Vec::with_capacity(rows.len());
    for row in rows {
        let failing: Vec<FailingRow> = step
            .query(
                "SELECT no, attempt, n AS events, parked, error FROM outbox_batch \
                 WHERE route = ? AND NOT dead AND error IS NOT NULL ORDER BY no DESC LIMIT 10",
            )
            .bind::<Text, _>(&row.route)
            .load(step.conn)?;
        let Some(route) = cursor(step, &Route::new(&row.route))? else { continue };
        routes.push(row.status(failing, route.ordered, types(route.types.as_deref())?));
    }
    Ok(Status { routes, stored_events: stored.number.unwrap_or(0).unsigned_abs() })
}

#[derive(QueryableByName)]
struct LoadRow {
    #[diesel(sql_type = BigInt)]
    waiting: i64,
    #[diesel(sql_type = BigInt)]
    bytes: i64,
    #[diesel(sql_type = BigInt)]
    oldest_ms: i64,
    #[diesel(sql_type = BigInt)]
    held: i64,
}

/// What waits for the slowest route, by what is known anyway. Numbers stand for events, and the newest thousand for the size of all:
/// the file's own size would count the service's tables, too.
const LOAD: &str = "SELECT \
    coalesce((SELECT max(max(s.last - c.pos, 0) \
        + coalesce((SELECT sum(n) FROM outbox_batch b WHERE b.route = c.route AND NOT b.dead), 0)) FROM outbox_cursor c), 0) AS waiting, \
    CAST(coalesce((s.last - s.first + 1) * (SELECT avg(bytes) FROM (SELECT bytes FROM outbox_event ORDER BY seq DESC LIMIT 1000)), 0) \
        + coalesce((SELECT sum(bytes) FROM outbox_batch WHERE held), 0) AS INTEGER) AS bytes, \
    coalesce({NOW} - (SELECT min(since) FROM ( \
        SELECT min(oldest) AS since FROM outbox_batch WHERE NOT dead \
        UNION ALL SELECT (SELECT created_at FROM outbox_event e WHERE e.seq > (SELECT min(pos) FROM outbox_cursor) \
            ORDER BY e.seq LIMIT 1))), 0) AS oldest_ms, \
    coalesce((SELECT sum(n) FROM outbox_batch WHERE held), 0) AS held \
    FROM (SELECT coalesce((SELECT max(seq) FROM outbox_event), 0) AS last, coalesce((SELECT min(seq) FROM outbox_event), 1) AS first) s";

pub(super) fn load(step: &mut Step<'_>) -> QueryResult<Load> {
    let row: LoadRow = step.query(&LOAD.replace("{NOW}", NOW_MS)).get_result(step.conn)?;
    Ok(Load {
        rows: row.waiting.unsigned_abs(),
        bytes: row.bytes.unsigned_abs(),
        // Below zero after the clock was set back.
        oldest_age: Duration::from_millis(u64::try_from(row.oldest_ms).unwrap_or(0)),
        held: row.held.unsigned_abs(),
    })
}

pub(super) fn set_full(step: &mut Step<'_>, full: bool) -> QueryResult<()> {
    step.query("UPDATE outbox_limit SET is_full = ? WHERE is_full <> ?")
        .bind::<Bool, _>(full)
        .bind::<Bool, _>(full)
        .execute(step.conn)
        .map(drop)
}

pub(super) fn register(step: &mut Step<'_>, schemas: &[SchemaRecord]) -> QueryResult<()> {
    step.write(|step| {
        for schema in schemas {
            let json =
                serde_json::to_string(schema).map_err(|e| diesel::result::Error::SerializationError(e.into()))?;
            step.query(
                "INSERT INTO outbox_schema (event_type, version, schema) VALUES (?, ?, ?) \
                 ON CONFLICT (event_type, version) DO UPDATE SET schema = excluded.schema",
            )
            .bind::<Text, _>(&schema.event_type)
            .bind::<Integer, _>(schema.version)
            .bind::<Text, _>(json)
            .execute(step.conn)?;
        }
        Ok(())
    })
}

#[derive(QueryableByName)]
struct SchemaRow {
    #[diesel(sql_type = Nullable<Text>)]
    json: Option<String>,
}

pub(super) fn schemas(step: &mut Step<'_>) -> QueryResult<Vec<SchemaRecord>> {
    let rows: Vec<SchemaRow> =
        step.query("SELECT schema AS json FROM outbox_schema ORDER BY event_type, version").load(step.conn)?;
    let unreadable = |_| diesel::result::Error::DeserializationError("a stored schema is unreadable".into());
    rows.into_iter().map(|row| serde_json::from_str(&row.json.unwrap_or_default()).map_err(unreadable)).collect()
}
