//! Replay: sealing delivered events once more, on purpose.

use diesel::QueryResult;
use diesel::sql_types::{BigInt, Bool, Text};
use diesel_async::RunQueryDsl;
use outbox_core::{ReplayRequest, Replayed, Route};

use super::connections::Step;
use super::error::no_route;
use super::plan::{LOOK, cursor, seal};
use super::prune::lock_events;
use super::ranges::Ranges;
use super::rows::{RangesRow, SeqRow};
use crate::rows::Number;

/// Seals settled events of a time once more.
pub(super) async fn replay(step: &mut Step<'_>, request: &ReplayRequest) -> QueryResult<Replayed> {
    step.begin().await?;
    lock_events(step, "").await?;
    let route = &request.route;
    let Some(cursor) = cursor(step, route, "FOR UPDATE").await? else { return Err(no_route(route.as_str())) };
    // Relays settle and put aside meanwhile, and each statement has a snapshot of its own. But an event is in a held batch
    // before the batch that it came from is settled: with what is settled read first, it is seen in the held one, or is not
    // settled yet.
    let settled = batches(step, route, true).await?;
    let busy = Ranges::union([batches(step, route, false).await?, held(step, route).await?]);
    let types = cursor.types()?;
    let rows: Vec<SeqRow> = step
        .query(&format!("{LOOK} WHERE created_at >= ? AND created_at < ? ORDER BY seq"))
        .bind::<BigInt, _>(request.from.timestamp_micros())
        .bind::<BigInt, _>(request.to.timestamp_micros())
        .load(step.conn)
        .await?;
    let wanted = rows.into_iter().filter(|row| types.as_ref().is_none_or(|types| types.contains(&row.event_type)));
    let (passed, rest): (Vec<SeqRow>, Vec<SeqRow>) = wanted.partition(|row| busy.contains(row.seq));
    let rows: Vec<SeqRow> = rest.into_iter().filter(|row| settled.contains(row.seq)).collect();
    let batches = seal(step, route, &rows, request.rows_max, request.bytes_max, !request.all).await?;
    step.commit().await?;
    Ok(Replayed { rows: rows.len() as u64, batches, passed_over: passed.len() as u64 })
}

/// What is in the route's batches that are settled, or in those that are not.
async fn batches(step: &mut Step<'_>, route: &Route, settled: bool) -> QueryResult<Ranges> {
    let rows: Vec<RangesRow> = step
        .query("SELECT no, ranges FROM outbox_batch WHERE route = ? AND settled = ? AND NOT held AND n > 0")
        .bind::<Text, _>(route.as_str())
        .bind::<Bool, _>(settled)
        .load(step.conn)
        .await?;
    Ok(Ranges::union(rows.iter().map(RangesRow::ranges).collect::<QueryResult<Vec<_>>>()?))
}

/// What the route has put aside.
async fn held(step: &mut Step<'_>, route: &Route) -> QueryResult<Ranges> {
    let rows: Vec<Number> = step
        .query("SELECT h.seq AS number FROM outbox_held h JOIN outbox_batch b ON b.no = h.batch WHERE b.route = ?")
        .bind::<Text, _>(route.as_str())
        .load(step.conn)
        .await?;
    Ok(Ranges::of(rows.into_iter().filter_map(|row| row.number)))
}
