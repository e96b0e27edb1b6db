//! Sealing: finding the committed events that are in no batch of a route, and writing down which batch holds them.
//!
//! One planner per route at a time, under the lock of its cursor row. It looks at what comes after the route's position, at the
//! gaps before it, and now and then (a sweep) at every number that is in no batch.

use std::time::{Duration, Instant};

use diesel::QueryResult;
use diesel::sql_types::{BigInt, Bool, Text};
use diesel_async::RunQueryDsl;
use outbox_core::{PlanRequest, Planned, Route};

use super::connections::Step;
use super::error::no_route;
use super::ranges::Ranges;
use super::rows::{CursorRow, RangesRow, SeqRow};
use super::{NOW, micros};

/// How long a gap is young: between one and two times this long it is looked at by every plan.
const GAP_AGE: i64 = 30_000_000;
/// The most gaps that are young; a rolled back statement of any size leaves one.
pub(super) const GAPS_MAX: usize = 1000;
/// The most ranges in one statement.
const RANGES_MAX: usize = 500;
/// The most late events that one plan takes.
const LATE_MAX: u32 = 10_000;

/// A sweep takes at most this share of a planner's time.
const SWEEP_SHARE: u32 = 50;
const SWEEP_EVERY_MIN: Duration = Duration::from_secs(5);

/// When a route was swept last, and how long that took.
#[derive(Clone, Copy)]
pub(super) struct Swept {
    at: Instant,
    took: Duration,
}

impl Swept {
    pub(super) fn is_due(last: Option<Self>) -> bool {
        last.is_none_or(|last| last.at.elapsed() >= SWEEP_EVERY_MIN.max(last.took * SWEEP_SHARE))
    }
}

/// Events that wait, in the order of `seq`.
struct Found {
    rows: Vec<SeqRow>,
    /// How far the route's position moves.
    pos: i64,
}

/// Seals what is waiting, and says whether it swept.
pub(super) async fn plan(
    step: &mut Step<'_>,
    request: &PlanRequest,
    sweep: bool,
) -> QueryResult<(Planned, Option<Swept>)> {
    let route = &request.route;
    let Some(seen) = cursor(step, route, "").await? else { return Err(no_route(route.as_str())) };
    // Without a lock: an idle plan writes nothing and waits for nobody.
    let mut swept = None;
    let mut strayed = false;
    if sweep {
        let started = Instant::now();
        strayed = !strays(step, route, &seen).await?.is_empty();
        swept = Some(Swept { at: Instant::now(), took: started.elapsed() });
    }
    if !strayed && !is_worth_it(step, request, &seen).await? {
        return Ok((Planned::default(), swept));
    }
    step.begin().await?;
    // Whoever is planning for the route holds its row. One that was removed in between is nobody's.
    let Some(cursor) = cursor(step, route, "FOR UPDATE SKIP LOCKED").await? else {
        step.rollback().await?;
        return Ok((Planned { contended: true, ..Planned::default() }, swept));
    };
    let (gaps, old_gaps) = cursor.gaps()?;
    let mut late = read_numbers(step, &Ranges::union([gaps.clone(), old_gaps.clone()]), LATE_MAX).await?;
    if strayed {
        // Again: another planner may have taken them.
        late.extend(strays(step, route, &cursor).await?);
    }
    let found = after(step, &cursor, request, late).await?;
    if found.rows.is_empty() && found.pos == cursor.pos {
        step.rollback().await?;
        return Ok((Planned::default(), swept));
    }
    let types = cursor.types()?;
    let (wanted, passed): (Vec<SeqRow>, Vec<SeqRow>) =
        found.rows.into_iter().partition(|row| types.as_ref().is_none_or(|types| types.contains(&row.event_type)));
    let seen = Ranges::of(wanted.iter().chain(&passed).map(|row| row.seq));
    let planned = Planned {
        rows: wanted.len() as u64,
        batches: seal(step, route, &wanted, request.rows_max, request.bytes_max, false).await?,
        contended: false,
    };
    pass_over(step, route, &passed).await?;
    let new_gaps = Ranges::span(cursor.pos + 1, found.pos).without(&seen);
    let turn = cursor.now - cursor.turned_at >= GAP_AGE;
    let left = gaps.without(&seen);
    let (young, old) = if turn { (new_gaps, left) } else { (Ranges::union([left, new_gaps]), old_gaps.without(&seen)) };
    step.query("UPDATE outbox_cursor SET pos = ?, gaps = ?, old_gaps = ?, turned_at = ? WHERE route = ?")
        .bind::<BigInt, _>(found.pos)
        .bind::<Text, _>(young.last(GAPS_MAX).encode())
        .bind::<Text, _>(old.encode())
        .bind::<BigInt, _>(if turn { cursor.now } else { cursor.turned_at })
        .bind::<Text, _>(route.as_str())
        .execute(step.conn)
        .await?;
    step.commit().await?;
    Ok((planned, swept))
}

pub(super) async fn cursor(step: &mut Step<'_>, route: &Route, lock: &str) -> QueryResult<Option<CursorRow>> {
    let rows: Vec<CursorRow> = step
        .query(&format!("SELECT {}, {NOW} AS now FROM outbox_cursor WHERE route = ? {lock}", CursorRow::COLUMNS))
        .bind::<Text, _>(route.as_str())
        .load(step.conn)
        .await?;
    Ok(rows.into_iter().next())
}

/// Whether enough waits, or waits long enough.
async fn is_worth_it(step: &mut Step<'_>, request: &PlanRequest, cursor: &CursorRow) -> QueryResult<bool> {
    let limit = request.rows.max(1);
    let (gaps, old_gaps) = cursor.gaps()?;
    let mut rows = read_numbers(step, &Ranges::union([gaps, old_gaps]), limit).await?;
    rows.extend(read_after(step, cursor.pos, limit).await?);
    // Those that a filter passes over count too: the position has to get past them.
    let types = cursor.types()?;
    let wanted = rows.iter().filter(|row| types.as_ref().is_none_or(|types| types.contains(&row.event_type)));
    let oldest = wanted.map(|row| row.created_at).min().or_else(|| rows.iter().map(|row| row.created_at).min());
    let Some(oldest) = oldest else { return Ok(false) };
    // An event from the future is one from before the clock was set back: no reason to wait.
    let patient = (0..micros(request.linger)).contains(&(cursor.now - oldest));
    Ok(rows.len() >= limit as usize || !patient)
}

/// The events of `late` together with those after the position: enough for the batches that were asked for, not counting those
/// that the route's filter passes over.
async fn after(
    step: &mut Step<'_>,
    cursor: &CursorRow,
    request: &PlanRequest,
    late: Vec<SeqRow>,
) -> QueryResult<Found> {
    let wanted_max = request.rows_max.saturating_mul(request.batches_max).max(1);
    let types = cursor.types()?;
    let is_wanted = |row: &&SeqRow| types.as_ref().is_none_or(|types| types.contains(&row.event_type));
    let mut found = Found { rows: late, pos: cursor.pos };
    found.rows.sort_by_key(|row| row.seq);
    found.rows.dedup_by_key(|row| row.seq);
    let mut looked = 0;
    // A filter that passes over nearly everything must not hold the lock for long.
    while looked < wanted_max.saturating_mul(4) {
        let have = u32::try_from(found.rows.iter().filter(is_wanted).count()).unwrap_or(u32::MAX);
        let limit = wanted_max.saturating_sub(have);
        if limit == 0 {
            break;
        }
        let rows = read_after(step, found.pos, limit).await?;
        let count = u32::try_from(rows.len()).unwrap_or(u32::MAX);
        looked = looked.saturating_add(count);
        found.pos = rows.last().map_or(found.pos, |row| row.seq);
        found.rows.extend(rows);
        if count < limit {
            break;
        }
    }
    Ok(found)
}

pub(super) const LOOK: &str = "SELECT seq, bytes, created_at, event_type FROM outbox_event";

pub(super) async fn read_after(step: &mut Step<'_>, pos: i64, limit: u32) -> QueryResult<Vec<SeqRow>> {
    step.query(&format!("{LOOK} WHERE seq > ? ORDER BY seq LIMIT {limit}")).bind::<BigInt, _>(pos).load(step.conn).await
}

/// The events that are there of these numbers, up to `limit` and a bit.
async fn read_numbers(step: &mut Step<'_>, numbers: &Ranges, limit: u32) -> QueryResult<Vec<SeqRow>> {
    let mut found: Vec<SeqRow> = Vec::new();
    for piece in numbers.pieces(RANGES_MAX) {
        let sql = format!("{LOOK} WHERE {} ORDER BY seq LIMIT {limit}", piece.condition("seq"));
        found.extend(step.query(&sql).load::<SeqRow>(step.conn).await?);
        if found.len() >= limit as usize {
            break;
        }
    }
    Ok(found)
}

/// Events before the position that are in no batch and in no watched gap: their transaction took longer than a gap is watched.
async fn strays(step: &mut Step<'_>, route: &Route, cursor: &CursorRow) -> QueryResult<Vec<SeqRow>> {
    let (gaps, old_gaps) = cursor.gaps()?;
    let known = Ranges::union([known(step, route).await?, gaps, old_gaps]);
    read_numbers(step, &Ranges::span(0, cursor.pos).without(&known), LATE_MAX).await
}

/// What is in a batch of the route, delivered or not.
async fn known(step: &mut Step<'_>, route: &Route) -> QueryResult<Ranges> {
    let rows: Vec<RangesRow> = step
        .query("SELECT no, ranges FROM outbox_batch WHERE route = ? AND NOT held")
        .bind::<Text, _>(route.as_str())
        .load(step.conn)
        .await?;
    let sets: Vec<Ranges> = rows.iter().map(RangesRow::ranges).collect::<QueryResult<_>>()?;
    Ok(Ranges::union(sets))
}

/// Cuts `rows` into batches and writes them down. Returns how many.
pub(super) async fn seal(
    step: &mut Step<'_>,
    route: &Route,
    rows: &[SeqRow],
    rows_max: u32,
    bytes_max: u64,
    replay: bool,
) -> QueryResult<u32> {
    let mut batches = 0;
    let mut rest = rows;
    while !rest.is_empty() {
        let (batch, next) = rest.split_at(crate::cut::first(rest.iter().map(|row| row.bytes), rows_max, bytes_max));
        write_batch(step, route, batch, false, replay).await?;
        batches += 1;
        rest = next;
    }
    Ok(batches)
}

/// Writes down what a route's filter passed over, as a batch without events that is settled.
pub(super) async fn pass_over(step: &mut Step<'_>, route: &Route, rows: &[SeqRow]) -> QueryResult<()> {
    match rows.is_empty() {
        true => Ok(()),
        false => write_batch(step, route, rows, true, false).await,
    }
}

async fn write_batch(
    step: &mut Step<'_>,
    route: &Route,
    rows: &[SeqRow],
    passed: bool,
    replay: bool,
) -> QueryResult<()> {
    let bounds = |of: fn(&SeqRow) -> i64| rows.iter().map(of);
    let (n, bytes) = if passed { (0, 0) } else { (rows.len(), bounds(|row| row.bytes).sum()) };
    step.query(
        "INSERT INTO outbox_batch (route, ranges, n, bytes, oldest, newest, replay, settled) VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
    )
    .bind::<Text, _>(route.as_str())
    .bind::<Text, _>(Ranges::of(bounds(|row| row.seq)).encode())
    .bind::<BigInt, _>(i64::try_from(n).unwrap_or(i64::MAX))
    .bind::<BigInt, _>(bytes)
    .bind::<BigInt, _>(bounds(|row| row.created_at).min().unwrap_or(0))
    .bind::<BigInt, _>(bounds(|row| row.created_at).max().unwrap_or(0))
    .bind::<Bool, _>(replay)
    .bind::<Bool, _>(passed)
    .execute(step.conn)
    .await
    .map(drop)
}
