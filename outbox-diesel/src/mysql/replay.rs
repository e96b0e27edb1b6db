//! Replay: sealing delivered events once more, on purpose.

use diesel::QueryResult;
use diesel::sql_types::{BigInt, Bool, Text};
use diesel_async::RunQueryDsl;
use outbox_core::{Planned, ReplayRequest, Route};

use super::connections::Step;
use super::error::no_route;
use super::plan::{LOOK, cursor, seal};
use super::prune::lock_events;
use super::ranges::Ranges;
use super::rows::{RangesRow, SeqRow};

/// Seals settled events of a time once more.
pub(super) async fn replay(step: &mut Step<'_>, request: &ReplayRequest) -> QueryResult<Planned> {
    step.begin().await?;
    lock_events(step, "").await?;
    let route = &request.route;
    let Some(cursor) = cursor(step, route, "FOR UPDATE").await? else { return Err(no_route(route.as_str())) };
    let settled = settled(step, route).await?;
    let types = cursor.types()?;
    let rows: Vec<SeqRow> = step
        .query(&format!("{LOOK} WHERE created_at >= ? AND created_at < ? ORDER BY seq"))
        .bind::<BigInt, _>(request.from.timestamp_micros())
        .bind::<BigInt, _>(request.to.timestamp_micros())
        .load(step.conn)
        .await?;
    let again =
        |row: &SeqRow| settled.contains(row.seq) && types.as_ref().is_none_or(|types| types.contains(&row.event_type));
    let rows: Vec<SeqRow> = rows.into_iter().filter(again).collect();
    let batches = seal(step, route, &rows, request.rows_max, request.bytes_max, !request.all).await?;
    step.commit().await?;
    Ok(Planned { rows: rows.len() as u64, batches, contended: false })
}

/// What the route has delivered, and is not about to deliver again.
async fn settled(step: &mut Step<'_>, route: &Route) -> QueryResult<Ranges> {
    let of = async |step: &mut Step<'_>, settled: bool| -> QueryResult<Ranges> {
        let rows: Vec<RangesRow> = step
            .query("SELECT no, ranges FROM outbox_batch WHERE route = ? AND settled = ? AND NOT held AND n > 0")
            .bind::<Text, _>(route.as_str())
            .bind::<Bool, _>(settled)
            .load(step.conn)
            .await?;
        Ok(Ranges::union(rows.iter().map(RangesRow::ranges).collect::<QueryResult<Vec<_>>>()?))
    };
    let (done, open) = (of(step, true).await?, of(step, false).await?);
    Ok(done.without(&open))
}
