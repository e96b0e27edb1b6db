//! Routes: opening one, and forgetting it.

use diesel::QueryResult;
use diesel::result::Error;
use diesel::sql_types::{BigInt, Bool, Nullable, Text};
use diesel_async::RunQueryDsl;
use outbox_core::{Route, RouteSpec, RouteStart};

use super::NOW;
use super::connections::Step;
use super::plan::{GAPS_MAX, cursor, pass_over, read_after};
use super::prune::lock_events;
use super::ranges::Ranges;

/// Registers a route, or changes what it asks for.
pub(super) async fn open(step: &mut Step<'_>, spec: &RouteSpec) -> QueryResult<()> {
    let (route, now) = (&spec.route, spec.start == RouteStart::Now);
    let json = |types: &Vec<String>| serde_json::to_string(types);
    let types = spec.event_types.as_ref().map(json).transpose().map_err(|e| Error::SerializationError(e.into()))?;
    step.begin().await?;
    // Nothing is pruned between the look at what is there and the promise to deliver the rest.
    lock_events(step, "").await?;
    let known = cursor(step, route, "FOR UPDATE").await?.is_some();
    step.query(
        "INSERT INTO outbox_cursor (route, gaps, old_gaps, types, ordered) VALUES (?, '', '', ?, ?) \
         ON DUPLICATE KEY UPDATE types = VALUES(types), ordered = VALUES(ordered)",
    )
    .bind::<Text, _>(route.as_str())
    .bind::<Nullable<Text>, _>(types)
    .bind::<Bool, _>(spec.ordered)
    .execute(step.conn)
    .await?;
    if now && !known {
        skip_what_is_there(step, route).await?;
    }
    step.commit().await
}

/// How many events one look takes when a route begins now.
const SKIP_ROWS: u32 = 100_000;

/// Passes over every event that is there: what commits later, under whatever number, is not there yet.
async fn skip_what_is_there(step: &mut Step<'_>, route: &Route) -> QueryResult<()> {
    let mut pos = 0;
    let mut there = Vec::new();
    loop {
        let rows = read_after(step, pos, SKIP_ROWS).await?;
        let Some(last) = rows.last() else { break };
        pos = last.seq;
        there.push(Ranges::of(rows.iter().map(|row| row.seq)));
        pass_over(step, route, &rows).await?;
    }
    let gaps = Ranges::span(1, pos).without(&Ranges::union(there)).last(GAPS_MAX);
    step.query(&format!("UPDATE outbox_cursor SET pos = ?, gaps = ?, turned_at = {NOW} WHERE route = ?"))
        .bind::<BigInt, _>(pos)
        .bind::<Text, _>(gaps.encode())
        .bind::<Text, _>(route.as_str())
        .execute(step.conn)
        .await
        .map(drop)
}

/// Forgets a route with all its batches. False: there is none.
pub(super) async fn remove(step: &mut Step<'_>, route: &Route) -> QueryResult<bool> {
    step.begin().await?;
    // Waits for its planner.
    if cursor(step, route, "FOR UPDATE").await?.is_none() {
        return step.rollback().await.map(|()| false);
    }
    for statement in [
        "DELETE FROM outbox_part WHERE batch IN (SELECT no FROM outbox_batch WHERE route = ?)",
        "DELETE FROM outbox_held WHERE batch IN (SELECT no FROM outbox_batch WHERE route = ?)",
        "DELETE FROM outbox_batch WHERE route = ?",
        "DELETE FROM outbox_cursor WHERE route = ?",
    ] {
        step.query(statement).bind::<Text, _>(route.as_str()).execute(step.conn).await?;
    }
    step.commit().await.map(|()| true)
}
