//! Sealing: cutting what comes after a route's position into batches.

use diesel::sql_types::{BigInt, Bool, Nullable, Text};
use diesel::{OptionalExtension, QueryResult, RunQueryDsl};
use outbox_core::{PlanRequest, Planned, ReplayRequest, Replayed, Route};

use super::connection::Step;
use super::rows::{CursorRow, SeqRow, Waiting};
use super::{NOW_MS, millis};
use crate::rows::Number;

/// Whether an event `e` is one that a route with the filter `?3` wants.
const WANTED: &str = "(?3 IS NULL OR e.event_type IN (SELECT value FROM json_each(?3)))";

pub(super) fn cursor(step: &mut Step<'_>, route: &Route) -> QueryResult<Option<CursorRow>> {
    step.query("SELECT pos, ordered, types FROM outbox_cursor WHERE route = ?")
        .bind::<Text, _>(route.as_str())
        .get_result(step.conn)
        .optional()
}

/// None: there is no such route.
pub(super) fn plan(step: &mut Step<'_>, request: &PlanRequest) -> QueryResult<Option<Planned>> {
    // Looks first without the write lock: an idle call writes nothing and waits for nobody.
    let Some(seen) = cursor(step, &request.route)? else { return Ok(None) };
    let waiting = waiting(step, &seen, request.rows.max(1))?;
    // An event from the future is one from before the clock was set back: no reason to wait.
    let patient = waiting.wanted < i64::from(request.rows) && (0..millis(request.linger)).contains(&waiting.age_ms);
    if waiting.last <= seen.pos || patient {
        return Ok(Some(Planned::default()));
    }
    step.write(|step| {
        let Some(cursor) = cursor(step, &request.route)? else { return Ok(None) };
        let limit = i64::from(request.rows_max).saturating_mul(i64::from(request.batches_max)).max(1);
        let rows: Vec<SeqRow> = step
            .query(&format!(
                "SELECT e.seq, e.bytes, e.created_at FROM outbox_event e WHERE e.seq > ?1 AND {WANTED} ORDER BY e.seq LIMIT ?2"
            ))
            .bind::<BigInt, _>(cursor.pos)
            .bind::<BigInt, _>(limit)
            .bind::<Nullable<Text>, _>(&cursor.types)
            .load(step.conn)?;
        let full = i64::try_from(rows.len()).unwrap_or(i64::MAX) >= limit;
        let last: Number = step.query("SELECT max(seq) AS number FROM outbox_event").get_result(step.conn)?;
        let hi = match rows.last() {
            Some(row) if full => row.seq,
            // What the filter passed over after the last one is looked at, too.
            _ => last.number.unwrap_or(cursor.pos).max(cursor.pos),
        };
        let window = Window { lo: cursor.pos, types: cursor.types.as_deref(), time: None, replay: false };
        let batches = seal(step, &request.route, &window, &rows, request.rows_max, request.bytes_max)?;
        step.query("UPDATE outbox_cursor SET pos = ? WHERE route = ?")
            .bind::<BigInt, _>(hi)
            .bind::<Text, _>(request.route.as_str())
            .execute(step.conn)?;
        Ok(Some(Planned { rows: rows.len() as u64, batches, contended: false }))
    })
}

/// How many events that the route wants wait, up to `limit`. Where there are none but some that its filter passes over, their age.
fn waiting(step: &mut Step<'_>, cursor: &CursorRow, limit: u32) -> QueryResult<Waiting> {
    step.query(&format!(
        "SELECT w.n AS wanted, coalesce({NOW_MS} - coalesce(w.since, a.since), 0) AS age_ms, coalesce(a.last, 0) AS last \
         FROM (SELECT count(*) AS n, min(created_at) AS since FROM \
                (SELECT e.created_at FROM outbox_event e WHERE e.seq > ?1 AND {WANTED} ORDER BY e.seq LIMIT ?2)) w, \
              (SELECT (SELECT max(seq) FROM outbox_event) AS last, \
                      (SELECT created_at FROM outbox_event WHERE seq > ?1 ORDER BY seq LIMIT 1) AS since) a"
    ))
    .bind::<BigInt, _>(cursor.pos)
    .bind::<BigInt, _>(i64::from(limit))
    .bind::<Nullable<Text>, _>(&cursor.types)
    .get_result(step.conn)
}

/// What batches have in common.
struct Window<'w> {
    /// The number before the first.
    lo: i64,
    types: Option<&'w str>,
    time: Option<(i64, i64)>,
    replay: bool,
}

/// Writes `rows` down as batches. Returns how many.
fn seal(
    step: &mut Step<'_>,
    route: &Route,
    window: &Window<'_>,
    rows: &[SeqRow],
    rows_max: u32,
    bytes_max: u64,
) -> QueryResult<u32> {
    let (mut lo, mut rest, mut batches) = (window.lo, rows, 0);
    while !rest.is_empty() {
        let (batch, next) = rest.split_at(crate::cut::first(rest.iter().map(|row| row.bytes), rows_max, bytes_max));
        let hi = batch.last().map_or(lo, |row| row.seq);
        step.query(
            "INSERT INTO outbox_batch (route, lo, hi, types, since, until, n, bytes, oldest, replay) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
        )
        .bind::<Text, _>(route.as_str())
        .bind::<BigInt, _>(lo)
        .bind::<BigInt, _>(hi)
        .bind::<Nullable<Text>, _>(window.types)
        .bind::<Nullable<BigInt>, _>(window.time.map(|(since, _)| since))
        .bind::<Nullable<BigInt>, _>(window.time.map(|(_, until)| until))
        .bind::<BigInt, _>(i64::try_from(batch.len()).unwrap_or(i64::MAX))
        .bind::<BigInt, _>(batch.iter().map(|row| row.bytes).sum::<i64>())
        .bind::<BigInt, _>(batch.iter().map(|row| row.created_at).min().unwrap_or(0))
        .bind::<Bool, _>(window.replay)
        .execute(step.conn)?;
        batches += 1;
        lo = hi;
        rest = next;
    }
    Ok(batches)
}

/// Seals settled events of a time once more. None: there is no such route.
pub(super) fn replay(step: &mut Step<'_>, request: &ReplayRequest) -> QueryResult<Option<Replayed>> {
    step.write(|step| {
        let Some(cursor) = cursor(step, &request.route)? else { return Ok(None) };
        let time = (ceil_millis(request.from.timestamp_micros()), ceil_millis(request.to.timestamp_micros()));
        let rows: Vec<SeqRow> = step
            .query(&format!(
                "SELECT e.seq, e.bytes, e.created_at FROM outbox_event e WHERE e.seq <= ?1 AND e.created_at >= ?2 AND {WANTED} \
                 AND e.created_at < ?4 ORDER BY e.seq"
            ))
            .bind::<BigInt, _>(cursor.pos)
            .bind::<BigInt, _>(time.0)
            .bind::<Nullable<Text>, _>(&cursor.types)
            .bind::<BigInt, _>(time.1)
            .load(step.conn)?;
        // Under the write lock nobody puts events aside or settles a batch.
        let busy = busy(step, &request.route)?;
        let is_busy = |row: &SeqRow| busy.binary_search(&row.seq).is_ok();
        let mut replayed = Replayed::default();
        // A batch is a range: what is passed over is not to lie within it.
        for run in rows.chunk_by(|a, b| is_busy(a) == is_busy(b)) {
            let (Some(first), count) = (run.first(), run.len() as u64) else { continue };
            if is_busy(first) {
                replayed.passed_over += count;
                continue;
            }
            let (lo, types) = (first.seq - 1, cursor.types.as_deref());
            let window = Window { lo, types, time: Some(time), replay: !request.all };
            replayed.batches += seal(step, &request.route, &window, run, request.rows_max, request.bytes_max)?;
            replayed.rows += count;
        }
        Ok(Some(replayed))
    })
}

/// The first millisecond that is not before it.
fn ceil_millis(micros: i64) -> i64 {
    micros.div_euclid(1000) + i64::from(micros.rem_euclid(1000) > 0)
}

/// What batches of the route have, open or held, ascending.
fn busy(step: &mut Step<'_>, route: &Route) -> QueryResult<Vec<i64>> {
    let rows: Vec<Number> = step
        .query(
            "SELECT e.seq AS number FROM outbox_batch b CROSS JOIN outbox_event e \
             WHERE b.route = ?1 AND NOT b.held AND e.seq > b.lo AND e.seq <= b.hi \
               AND (b.types IS NULL OR e.event_type IN (SELECT value FROM json_each(b.types))) \
               AND (b.since IS NULL OR (e.created_at >= b.since AND e.created_at < b.until)) \
             UNION SELECT h.seq FROM outbox_batch b JOIN outbox_held h ON h.batch = b.no WHERE b.route = ?1 ORDER BY 1",
        )
        .bind::<Text, _>(route.as_str())
        .load(step.conn)?;
    Ok(rows.into_iter().filter_map(|row| row.number).collect())
}
