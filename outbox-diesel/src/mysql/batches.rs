//! The steps on a batch: claim, read, freeze, settle, renew, release. All but claiming and reading are fenced by owner and
//! attempt.

use std::time::Duration;

use diesel::QueryResult;
use diesel::sql_types::{BigInt, Bool, Integer, Nullable, Text};
use diesel_async::RunQueryDsl;
use outbox_core::{Claim, PartDraft, PartRecord, Release, Route, StoredEvent};
use uuid::Uuid;

use super::connections::Step;
use super::error::unreadable;
use super::ranges::Ranges;
use super::rows::{BatchRow, EVENT_COLUMNS};
use super::{NOW, micros};
use crate::rows::{self, EventRow, Number, PartRow, TableRow};

/// How many free batches a claim looks at: other relays may be quicker with the first ones.
const CANDIDATES: u32 = 8;
/// The most ranges in one statement that reads events.
const RANGES_MAX: usize = 1000;

/// Given as a fence: of a claim that still holds its batch.
const HELD_BY: &str = "no = ? AND owner = ? AND attempt = ? AND NOT settled";

/// What a claim is made of.
pub(super) struct Claimed {
    pub row: BatchRow,
    pub parts: Vec<PartRow>,
    pub parked_tables: Vec<String>,
}

pub(super) async fn claim(
    step: &mut Step<'_>,
    route: &Route,
    owner: Uuid,
    lease: Duration,
) -> QueryResult<Option<Claimed>> {
    let ordered: Vec<Number> = step
        .query("SELECT CAST(ordered AS SIGNED) AS number FROM outbox_cursor WHERE route = ?")
        .bind::<Text, _>(route.as_str())
        .load(step.conn)
        .await?;
    // A route that was removed has no batches either.
    let Some(ordered) = ordered.into_iter().next() else { return Ok(None) };
    let row = match ordered.number {
        Some(0) | None => claim_any(step, route, owner, lease).await?,
        Some(_) => claim_in_order(step, route, owner, lease).await?,
    };
    let Some(row) = row else { return Ok(None) };
    // However often it was claimed: an operator may set the count back.
    let parts = step
        .query("SELECT no, token, destination, ordinals, statement, mark, done FROM outbox_part WHERE batch = ? ORDER BY no")
        .bind::<BigInt, _>(row.no)
        .load(step.conn)
        .await?;
    let is_ordered = ordered.number.is_some_and(|ordered| ordered != 0);
    let parked_tables = if is_ordered && !row.held { parked_tables(step, route).await? } else { Vec::new() };
    Ok(Some(Claimed { row, parts, parked_tables }))
}

/// The first of the free batches that nobody else takes first.
async fn claim_any(step: &mut Step<'_>, route: &Route, owner: Uuid, lease: Duration) -> QueryResult<Option<BatchRow>> {
    for row in free(step, route, CANDIDATES).await? {
        if take(step, &row, owner, lease).await? {
            return Ok(Some(row));
        }
    }
    Ok(None)
}

/// The oldest batch, when no other is in anybody's hands. One relay looks at a time.
async fn claim_in_order(
    step: &mut Step<'_>,
    route: &Route,
    owner: Uuid,
    lease: Duration,
) -> QueryResult<Option<BatchRow>> {
    step.begin().await?;
    let lock: Vec<Number> = step
        .query("SELECT CAST(pos AS SIGNED) AS number FROM outbox_cursor WHERE route = ? FOR UPDATE SKIP LOCKED")
        .bind::<Text, _>(route.as_str())
        .load(step.conn)
        .await?;
    let in_hands: Number = step
        .query(&format!(
            "SELECT COUNT(*) AS number FROM outbox_batch \
             WHERE route = ? AND NOT settled AND NOT dead AND owner IS NOT NULL AND lease_until >= {NOW}"
        ))
        .bind::<Text, _>(route.as_str())
        .get_result(step.conn)
        .await?;
    let mut claimed = None;
    if !lock.is_empty() && in_hands.number == Some(0) {
        for row in free_in_order(step, route).await? {
            if take(step, &row, owner, lease).await? {
                claimed = Some(row);
                break;
            }
        }
    }
    match claimed {
        Some(row) => step.commit().await.map(|()| Some(row)),
        None => step.rollback().await.map(|()| None),
    }
}

/// Nobody else has taken it since it was looked at: the count of claims is still the same.
async fn take(step: &mut Step<'_>, row: &BatchRow, owner: Uuid, lease: Duration) -> QueryResult<bool> {
    let taken = step
        .query(&format!(
            "UPDATE outbox_batch SET owner = ?, attempt = attempt + 1, lease_until = {NOW} + ? \
             WHERE no = ? AND attempt = ? AND lease_until < {NOW} AND NOT settled AND NOT dead"
        ))
        .bind::<Text, _>(owner.to_string())
        .bind::<BigInt, _>(micros(lease))
        .bind::<BigInt, _>(row.no)
        .bind::<Integer, _>(row.attempt)
        .execute(step.conn)
        .await?;
    Ok(taken == 1)
}

/// Free batches, the first to be tried first: of each destination the oldest parked one whose time has come (one that goes
/// through frees the others behind it), then those that are not parked.
async fn free(step: &mut Step<'_>, route: &Route, limit: u32) -> QueryResult<Vec<BatchRow>> {
    let mut rows = free_parked(step, route).await?;
    if rows.is_empty() {
        let columns = BatchRow::COLUMNS;
        rows = step
            .query(&format!(
                "SELECT {columns} FROM outbox_batch WHERE route = ? \
                 AND settled = FALSE AND dead = FALSE AND parked = FALSE AND lease_until < {NOW} ORDER BY no LIMIT {limit}"
            ))
            .bind::<Text, _>(route.as_str())
            .load(step.conn)
            .await?;
    }
    Ok(rows)
}

async fn free_in_order(step: &mut Step<'_>, route: &Route) -> QueryResult<Vec<BatchRow>> {
    let mut rows = free_parked(step, route).await?;
    if rows.is_empty() {
        // The oldest or none: while it waits for its next try, so does what comes after it.
        rows = step
            .query(&format!(
                "SELECT {} FROM outbox_batch WHERE lease_until < {NOW} AND no = (SELECT MIN(b.no) FROM outbox_batch b \
                 WHERE b.route = ? AND b.settled = FALSE AND b.dead = FALSE AND b.parked = FALSE)",
                BatchRow::COLUMNS
            ))
            .bind::<Text, _>(route.as_str())
            .load(step.conn)
            .await?;
    }
    Ok(rows)
}

async fn free_parked(step: &mut Step<'_>, route: &Route) -> QueryResult<Vec<BatchRow>> {
    let columns = BatchRow::COLUMNS;
    step.query(&format!(
        "SELECT {columns} FROM outbox_batch WHERE lease_until < {NOW} AND no IN (SELECT o.no FROM (\
         SELECT MIN(b.no) AS no FROM outbox_batch b \
         WHERE b.route = ? AND b.settled = FALSE AND b.dead = FALSE AND b.parked = TRUE GROUP BY b.destination) o) ORDER BY no"
    ))
    .bind::<Text, _>(route.as_str())
    .load(step.conn)
    .await
}

async fn parked_tables(step: &mut Step<'_>, route: &Route) -> QueryResult<Vec<String>> {
    let rows: Vec<TableRow> = step
        .query(
            "SELECT DISTINCT destination FROM outbox_batch WHERE route = ? AND settled = FALSE AND dead = FALSE AND parked = TRUE \
             AND held AND destination IS NOT NULL",
        )
        .bind::<Text, _>(route.as_str())
        .load(step.conn)
        .await?;
    Ok(rows.into_iter().map(|row| row.destination).collect())
}

/// The batch's events, in the order of `seq`.
pub(super) async fn read(step: &mut Step<'_>, claim: &Claim) -> QueryResult<Vec<StoredEvent>> {
    if claim.held {
        return super::held::events(step, claim.batch).await;
    }
    let numbers = Ranges::decode(&claim.bounds).ok_or_else(|| unreadable("the batch's ranges are unreadable"))?;
    let mut events = Vec::with_capacity(claim.rows as usize);
    for piece in numbers.pieces(RANGES_MAX) {
        let sql = format!("SELECT {} FROM outbox_event WHERE {} ORDER BY seq", EVENT_COLUMNS, piece.condition("seq"));
        let rows: Vec<EventRow> = step.query(&sql).load(step.conn).await?;
        events.extend(rows::events(rows)?);
    }
    Ok(events)
}

/// Whether the claim still holds its batch. In a transaction, with a lock that keeps it so until the end.
pub(super) async fn is_held(step: &mut Step<'_>, claim: &Claim, lock: &str) -> QueryResult<bool> {
    let rows: Vec<Number> = step
        .query(&format!("SELECT no AS number FROM outbox_batch WHERE {HELD_BY} {lock}"))
        .bind::<BigInt, _>(claim.batch.0)
        .bind::<Text, _>(claim.owner.to_string())
        .bind::<Integer, _>(claim.attempt)
        .load(step.conn)
        .await?;
    Ok(!rows.is_empty())
}

/// Stores parts, and marks the one that they replace as done. None: the lease is lost.
pub(super) async fn freeze(
    step: &mut Step<'_>,
    claim: &Claim,
    replaces: Option<i32>,
    drafts: &[PartDraft],
) -> QueryResult<Option<Vec<PartRecord>>> {
    step.begin().await?;
    if !is_held(step, claim, "FOR UPDATE").await? {
        step.rollback().await?;
        return Ok(None);
    }
    if let Some(no) = replaces {
        finish_part(step, claim, no).await?;
    }
    let first = next_part(step, claim.batch.0).await?;
    let mut records = Vec::with_capacity(drafts.len());
    for (no, draft) in (first..).zip(drafts) {
        let record = PartRecord { no, token: Uuid::new_v4(), done: false, draft: draft.clone() };
        insert_part(step, claim.batch.0, &record).await?;
        records.push(record);
    }
    step.commit().await?;
    Ok(Some(records))
}

/// The number of a batch's next part.
pub(super) async fn next_part(step: &mut Step<'_>, batch: i64) -> QueryResult<i32> {
    let next: Number = step
        .query("SELECT CAST(COALESCE(MAX(no) + 1, 0) AS SIGNED) AS number FROM outbox_part WHERE batch = ?")
        .bind::<BigInt, _>(batch)
        .get_result(step.conn)
        .await?;
    Ok(i32::try_from(next.number.unwrap_or(0)).unwrap_or(i32::MAX))
}

pub(super) async fn insert_part(step: &mut Step<'_>, batch: i64, part: &PartRecord) -> QueryResult<()> {
    step.query(
        "INSERT INTO outbox_part (batch, no, token, destination, ordinals, statement, mark, done) VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
    )
    .bind::<BigInt, _>(batch)
    .bind::<Integer, _>(part.no)
    .bind::<Text, _>(part.token.to_string())
    .bind::<Text, _>(&part.draft.table)
    .bind::<Text, _>(crate::ordinals::encode(&part.draft.ordinals))
    .bind::<Text, _>(&part.draft.frozen.statement)
    .bind::<Text, _>(&part.draft.frozen.mark)
    .bind::<Bool, _>(part.done)
    .execute(step.conn)
    .await
    .map(drop)
}

async fn finish_part(step: &mut Step<'_>, claim: &Claim, no: i32) -> QueryResult<()> {
    step.query("UPDATE outbox_part SET done = TRUE WHERE batch = ? AND no = ?")
        .bind::<BigInt, _>(claim.batch.0)
        .bind::<Integer, _>(no)
        .execute(step.conn)
        .await
        .map(drop)
}

/// False: the lease is lost. So it is for all that follow.
pub(super) async fn settle_part(step: &mut Step<'_>, claim: &Claim, no: i32) -> QueryResult<bool> {
    step.begin().await?;
    if !is_held(step, claim, "FOR UPDATE").await? {
        return step.rollback().await.map(|()| false);
    }
    finish_part(step, claim, no).await?;
    step.commit().await.map(|()| true)
}

/// One statement: the row stays until its events are pruned, and its parts with it.
pub(super) async fn settle(step: &mut Step<'_>, claim: &Claim) -> QueryResult<bool> {
    if claim.held {
        return super::held::settle(step, claim).await;
    }
    if claim.attempt > 1 {
        // Before it may be taken for settled: only a batch that was tried before can be parked.
        super::held::free_next(step, claim).await?;
    }
    let settled = step
        .query(&format!("UPDATE outbox_batch SET settled = TRUE, owner = NULL, error = NULL WHERE {HELD_BY}"))
        .bind::<BigInt, _>(claim.batch.0)
        .bind::<Text, _>(claim.owner.to_string())
        .bind::<Integer, _>(claim.attempt)
        .execute(step.conn)
        .await?;
    Ok(settled == 1)
}

pub(super) async fn renew(step: &mut Step<'_>, claim: &Claim, lease: Duration) -> QueryResult<bool> {
    let renewed = step
        .query(&format!("UPDATE outbox_batch SET lease_until = {NOW} + ? WHERE {HELD_BY}"))
        .bind::<BigInt, _>(micros(lease))
        .bind::<BigInt, _>(claim.batch.0)
        .bind::<Text, _>(claim.owner.to_string())
        .bind::<Integer, _>(claim.attempt)
        .execute(step.conn)
        .await?;
    Ok(renewed == 1)
}

pub(super) async fn release(step: &mut Step<'_>, claim: &Claim, release: &Release) -> QueryResult<bool> {
    let released = step
        .query(&format!(
            "UPDATE outbox_batch SET owner = NULL, lease_until = {NOW} + ?, parked = ? OR (held AND parked), \
             error = COALESCE(?, error) WHERE {HELD_BY}"
        ))
        .bind::<BigInt, _>(micros(release.delay))
        .bind::<Bool, _>(release.parked)
        .bind::<Nullable<Text>, _>(release.error.as_deref().map(crate::reason::kept))
        .bind::<BigInt, _>(claim.batch.0)
        .bind::<Text, _>(claim.owner.to_string())
        .bind::<Integer, _>(claim.attempt)
        .execute(step.conn)
        .await?;
    Ok(released == 1)
}
