//! The steps on a batch: claim, read, freeze, settle, renew, release. All but claiming and reading are fenced by owner and
//! attempt.

use std::time::Duration;

use diesel::sql_types::{BigInt, Bool, Integer, Nullable, Text};
use diesel::{OptionalExtension, QueryResult, RunQueryDsl};
use outbox_core::{Claim, PartDraft, PartRecord, Release, Route, StoredEvent};
use uuid::Uuid;

use super::connection::Step;
use super::plan::cursor;
use super::rows::{BatchRow, EVENT_COLUMNS};
use super::{NOW_MS, millis};
use crate::rows::{self, EventRow, Number, PartRow, TableRow};

/// What a claim is made of.
pub(super) struct Claimed {
    pub row: BatchRow,
    pub parts: Vec<PartRow>,
    pub parked_tables: Vec<String>,
}

pub(super) fn claim(step: &mut Step<'_>, route: &Route, owner: Uuid, lease: Duration) -> QueryResult<Option<Claimed>> {
    // Looks first without the write lock: who finds nothing waits for nobody.
    if next(step, route)?.is_none() {
        return Ok(None);
    }
    step.write(|step| {
        let Some(no) = next(step, route)? else { return Ok(None) };
        let row: BatchRow = step
            .query(&format!(
                "UPDATE outbox_batch SET owner = ?, attempt = attempt + 1, lease_until = {NOW_MS} + ? WHERE no = ? RETURNING {}",
                BatchRow::COLUMNS
            ))
            .bind::<Text, _>(owner.to_string())
            .bind::<BigInt, _>(millis(lease))
            .bind::<BigInt, _>(no)
            .get_result(step.conn)?;
        let parts = step
            .query("SELECT no, token, destination, ordinals, statement, mark, done FROM outbox_part WHERE batch = ? ORDER BY no")
            .bind::<BigInt, _>(no)
            .load(step.conn)?;
        let ordered = cursor(step, route)?.is_some_and(|cursor| cursor.ordered);
        let parked_tables = if ordered && !row.held { parked_tables(step, route)? } else { Vec::new() };
        Ok(Some(Claimed { row, parts, parked_tables }))
    })
}

/// The batch to be tried next: of each destination the oldest parked one when its time has come (one that goes through frees the
/// others behind it), then the oldest that is not parked. On an ordered route the oldest or none, and none while another is in
/// anybody's hands.
fn next(step: &mut Step<'_>, route: &Route) -> QueryResult<Option<i64>> {
    let ordered = cursor(step, route)?.is_some_and(|cursor| cursor.ordered);
    let number = |step: &mut Step<'_>, sql: &str| -> QueryResult<Option<i64>> {
        let row: Number = step.query(sql).bind::<Text, _>(route.as_str()).get_result(step.conn)?;
        Ok(row.number)
    };
    if ordered {
        let in_hands = format!(
            "SELECT min(no) AS number FROM outbox_batch \
             WHERE route = ? AND NOT dead AND owner IS NOT NULL AND lease_until >= {NOW_MS}"
        );
        if number(step, &in_hands)?.is_some() {
            return Ok(None);
        }
    }
    let parked = format!(
        "SELECT min(b.no) AS number FROM outbox_batch b WHERE b.lease_until < {NOW_MS} AND b.no IN \
         (SELECT min(no) FROM outbox_batch WHERE route = ? AND dead = 0 AND parked = 1 GROUP BY destination)"
    );
    if let Some(no) = number(step, &parked)? {
        return Ok(Some(no));
    }
    let open = "FROM outbox_batch WHERE route = ? AND dead = 0 AND parked = 0";
    let oldest = match ordered {
        // While the oldest waits for its next try, so does what comes after it.
        true => format!(
            "SELECT min(b.no) AS number FROM outbox_batch b WHERE b.lease_until < {NOW_MS} AND b.no = (SELECT min(no) {open})"
        ),
        false => format!("SELECT (SELECT no {open} AND lease_until < {NOW_MS} ORDER BY no LIMIT 1) AS number"),
    };
    number(step, &oldest)
}

fn parked_tables(step: &mut Step<'_>, route: &Route) -> QueryResult<Vec<String>> {
    let rows: Vec<TableRow> = step
        .query(
            "SELECT DISTINCT destination FROM outbox_batch WHERE route = ? AND dead = 0 AND parked = 1 AND held \
             AND destination IS NOT NULL ORDER BY destination",
        )
        .bind::<Text, _>(route.as_str())
        .load(step.conn)?;
    Ok(rows.into_iter().map(|row| row.destination).collect())
}

/// The batch's events. None: its bounds are unreadable.
pub(super) fn read(step: &mut Step<'_>, claim: &Claim) -> QueryResult<Option<Vec<StoredEvent>>> {
    if claim.held {
        return super::held::events(step, claim.batch).map(Some);
    }
    let bounds = claim.bounds.split_once(' ').and_then(|(lo, hi)| Some((lo.parse().ok()?, hi.parse().ok()?)));
    let Some((lo, hi)): Option<(i64, i64)> = bounds else { return Ok(None) };
    // The bounds come from the claim and not from the batch's row, so that a row that an operator changed is seen by the count.
    let rows: Vec<EventRow> = step
        .query(&format!(
            "SELECT {} FROM outbox_batch b CROSS JOIN outbox_event e WHERE b.no = ? AND e.seq > ? AND e.seq <= ? \
             AND (b.types IS NULL OR e.event_type IN (SELECT value FROM json_each(b.types))) \
             AND (b.since IS NULL OR (e.created_at >= b.since AND e.created_at < b.until)) ORDER BY e.seq",
            EVENT_COLUMNS
        ))
        .bind::<BigInt, _>(claim.batch.0)
        .bind::<BigInt, _>(lo)
        .bind::<BigInt, _>(hi)
        .load(step.conn)?;
    rows::events(rows).map(Some)
}

/// Whether the claim still holds its batch. Under the write lock it stays so.
pub(super) fn is_held(step: &mut Step<'_>, claim: &Claim) -> QueryResult<bool> {
    let held: Option<Number> = step
        .query("SELECT no AS number FROM outbox_batch WHERE no = ? AND owner = ? AND attempt = ?")
        .bind::<BigInt, _>(claim.batch.0)
        .bind::<Text, _>(claim.owner.to_string())
        .bind::<Integer, _>(claim.attempt)
        .get_result(step.conn)
        .optional()?;
    Ok(held.is_some())
}

/// Runs `write` under the write lock, when `claim` still holds its batch. None: it does not.
pub(super) fn fenced<T>(
    step: &mut Step<'_>,
    claim: &Claim,
    write: impl FnOnce(&mut Step<'_>) -> QueryResult<T>,
) -> QueryResult<Option<T>> {
    step.write(|step| if is_held(step, claim)? { write(step).map(Some) } else { Ok(None) })
}

/// Stores parts, and marks the one that they replace as done.
pub(super) fn freeze(
    step: &mut Step<'_>,
    claim: &Claim,
    replaces: Option<i32>,
    drafts: Vec<PartDraft>,
) -> QueryResult<Option<Vec<PartRecord>>> {
    let batch = claim.batch.0;
    fenced(step, claim, |step| {
        if let Some(no) = replaces {
            finish_part(step, batch, no)?;
        }
        let first = next_part(step, batch)?;
        let record = |(no, draft)| PartRecord { no, token: Uuid::new_v4(), done: false, draft };
        let records: Vec<PartRecord> = (first..).zip(drafts).map(record).collect();
        records.iter().try_for_each(|record| insert_part(step, batch, record))?;
        Ok(records)
    })
}

/// The number of a batch's next part.
pub(super) fn next_part(step: &mut Step<'_>, batch: i64) -> QueryResult<i32> {
    let next: Number = step
        .query("SELECT coalesce(max(no) + 1, 0) AS number FROM outbox_part WHERE batch = ?")
        .bind::<BigInt, _>(batch)
        .get_result(step.conn)?;
    Ok(i32::try_from(next.number.unwrap_or(0)).unwrap_or(i32::MAX))
}

pub(super) fn insert_part(step: &mut Step<'_>, batch: i64, part: &PartRecord) -> QueryResult<()> {
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
    .map(drop)
}

fn finish_part(step: &mut Step<'_>, batch: i64, no: i32) -> QueryResult<()> {
    step.query("UPDATE outbox_part SET done = 1 WHERE batch = ? AND no = ?")
        .bind::<BigInt, _>(batch)
        .bind::<Integer, _>(no)
        .execute(step.conn)
        .map(drop)
}

pub(super) fn settle_part(step: &mut Step<'_>, claim: &Claim, no: i32) -> QueryResult<Option<()>> {
    fenced(step, claim, |step| finish_part(step, claim.batch.0, no))
}

/// Its parts and held events go with the batch.
pub(super) fn settle(step: &mut Step<'_>, claim: &Claim) -> QueryResult<Option<()>> {
    fenced(step, claim, |step| {
        // What stood in the way is gone: the next parked one behind it may go at once.
        step.query(
            "UPDATE outbox_batch SET lease_until = 0 WHERE owner IS NULL AND no = \
             (SELECT min(n.no) FROM outbox_batch b JOIN outbox_batch n ON n.route = b.route AND n.dead = 0 AND n.parked = 1 \
               AND n.no <> b.no AND n.destination IS b.destination WHERE b.no = ? AND b.parked)",
        )
        .bind::<BigInt, _>(claim.batch.0)
        .execute(step.conn)?;
        step.query("DELETE FROM outbox_batch WHERE no = ?")
            .bind::<BigInt, _>(claim.batch.0)
            .execute(step.conn)
            .map(drop)
    })
}

pub(super) fn renew(step: &mut Step<'_>, claim: &Claim, lease: Duration) -> QueryResult<Option<()>> {
    fenced(step, claim, |step| {
        step.query(&format!("UPDATE outbox_batch SET lease_until = {NOW_MS} + ? WHERE no = ?"))
            .bind::<BigInt, _>(millis(lease))
            .bind::<BigInt, _>(claim.batch.0)
            .execute(step.conn)
            .map(drop)
    })
}

/// A held batch that is parked stays so, that its order and its turn stay what they are.
pub(super) fn release(step: &mut Step<'_>, claim: &Claim, release: &Release) -> QueryResult<Option<()>> {
    fenced(step, claim, |step| {
        step.query(&format!(
            "UPDATE outbox_batch SET owner = NULL, lease_until = {NOW_MS} + ?, parked = (? OR (held AND parked)), \
             error = coalesce(?, error) WHERE no = ?"
        ))
        .bind::<BigInt, _>(millis(release.delay))
        .bind::<Bool, _>(release.parked)
        .bind::<Nullable<Text>, _>(release.error.as_deref().map(crate::reason::kept))
        .bind::<BigInt, _>(claim.batch.0)
        .execute(step.conn)
        .map(drop)
    })
}
