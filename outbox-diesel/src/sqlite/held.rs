//! Held batches: events that were put aside, and what an operator does with them.

use diesel::sql_types::{BigInt, Bool, Integer, Nullable, Text};
use diesel::sqlite::Sqlite;
use diesel::{OptionalExtension, QueryResult, RunQueryDsl};
use outbox_core::{BatchId, Claim, HeldBatch, Hold, PartDraft, PartRecord, StoredEvent};
use uuid::Uuid;

use super::batches::{fenced, insert_part, next_part};
use super::connection::Step;
use super::rows::{EVENT_COLUMNS, HeldRow};
use super::{NOW_MS, millis};
use crate::backend::InsertHeld;
use crate::rows::{self, EventRow, Number, PartRow};

const INSERT: &str = "INSERT INTO outbox_held \
    (batch, ordinal, seq, id, event_type, version, occurred_at, environment, destination, key, headers, payload, bytes) VALUES ";

/// Of a held batch that is in nobody's hands.
fn free_held() -> String {
    format!("no = ? AND held AND (owner IS NULL OR lease_until < {NOW_MS})")
}

/// Moves events into a held batch.
pub(super) fn hold(step: &mut Step<'_>, claim: &Claim, hold: &Hold) -> QueryResult<Option<BatchId>> {
    fenced(step, claim, |step| {
        let batch = insert_batch(step, claim, hold)?;
        let text = step.tables.unqualified(INSERT);
        for insert in InsertHeld::statements::<Sqlite>(&text, batch, &hold.events) {
            insert.execute(step.conn)?;
        }
        move_part(step, claim, hold, batch)?;
        Ok(BatchId(batch))
    })
}

fn insert_batch(step: &mut Step<'_>, claim: &Claim, hold: &Hold) -> QueryResult<i64> {
    let bytes: u64 = hold.events.iter().map(|stored| stored.event.bytes() as u64).sum();
    let made: Number = step
        .query(&format!(
            "INSERT INTO outbox_batch (route, lo, hi, n, bytes, oldest, replay, lease_until, parked, error, held, held_at, \
             destination, dead, code) SELECT route, 0, 0, ?, ?, oldest, replay, {NOW_MS} + ?, 1, ?, 1, {NOW_MS}, ?, ?, ? \
             FROM outbox_batch WHERE no = ? RETURNING no AS number"
        ))
        .bind::<BigInt, _>(i64::try_from(hold.events.len()).unwrap_or(i64::MAX))
        .bind::<BigInt, _>(i64::try_from(bytes).unwrap_or(i64::MAX))
        .bind::<BigInt, _>(millis(hold.delay))
        .bind::<Text, _>(crate::reason::kept(&hold.reason.error))
        .bind::<Text, _>(&hold.table)
        .bind::<Bool, _>(hold.reason.dead)
        .bind::<Nullable<Integer>, _>(hold.reason.code)
        .bind::<BigInt, _>(claim.batch.0)
        .get_result(step.conn)?;
    Ok(made.number.unwrap_or(0))
}

/// A token is one part's: it goes with the part, and what stays behind only says that nothing is left to do.
fn move_part(step: &mut Step<'_>, claim: &Claim, hold: &Hold, to: i64) -> QueryResult<()> {
    let moved: Option<PartRow> = step
        .query("SELECT no, token, destination, '' AS ordinals, statement, mark, done FROM outbox_part WHERE batch = ? AND no = ?")
        .bind::<BigInt, _>(claim.batch.0)
        .bind::<Nullable<Integer>, _>(hold.part)
        .get_result(step.conn)
        .optional()?;
    let Some(moved) = moved else {
        // Whoever claims the batch again must not freeze them.
        let no = next_part(step, claim.batch.0)?;
        let part = crate::parts::record(
            no,
            Uuid::new_v4(),
            true,
            hold.table.clone(),
            hold.ordinals.clone(),
            String::new(),
            String::new(),
        );
        return insert_part(step, claim.batch.0, &part);
    };
    step.query("UPDATE outbox_part SET token = ?, done = 1 WHERE batch = ? AND no = ?")
        .bind::<Text, _>(Uuid::new_v4().to_string())
        .bind::<BigInt, _>(claim.batch.0)
        .bind::<Nullable<Integer>, _>(hold.part)
        .execute(step.conn)?;
    if hold.reason.dead {
        return Ok(());
    }
    let record = moved.record(0).map_err(|error| diesel::result::Error::DeserializationError(error.into()))?;
    let ordinals = (0..).take(hold.events.len()).collect();
    let part = PartRecord { no: 0, done: false, draft: PartDraft { ordinals, ..record.draft }, ..record };
    insert_part(step, to, &part)
}

/// The events of a held batch, in their order.
pub(super) fn events(step: &mut Step<'_>, batch: BatchId) -> QueryResult<Vec<StoredEvent>> {
    let sql = format!("SELECT {} FROM outbox_held e WHERE e.batch = ? ORDER BY e.ordinal", EVENT_COLUMNS);
    let rows: Vec<EventRow> = step.query(&sql).bind::<BigInt, _>(batch.0).load(step.conn)?;
    rows::events(rows)
}

/// None: it is no held batch.
pub(super) fn events_of(step: &mut Step<'_>, batch: BatchId) -> QueryResult<Option<Vec<StoredEvent>>> {
    let held: Option<Number> = step
        .query("SELECT no AS number FROM outbox_batch WHERE no = ? AND held")
        .bind::<BigInt, _>(batch.0)
        .get_result(step.conn)
        .optional()?;
    held.map(|_| events(step, batch)).transpose()
}

pub(super) fn list(step: &mut Step<'_>, limit: u32) -> QueryResult<Vec<HeldBatch>> {
    let rows: Vec<HeldRow> = step
        .query(
            "SELECT no, route, destination, n, bytes, dead, code, error, attempt, held_at FROM outbox_batch WHERE held \
             ORDER BY no LIMIT ?",
        )
        .bind::<BigInt, _>(i64::from(limit))
        .load(step.conn)?;
    Ok(rows.into_iter().map(HeldBatch::from).collect())
}

/// Lets a held batch be tried now. A dead one gets new tokens, because its own were refused or replaced, so the sink looks first
/// whether its events have arrived since.
pub(super) fn retry(step: &mut Step<'_>, batch: BatchId) -> QueryResult<bool> {
    step.write(|step| {
        let sql = format!(
            "DELETE FROM outbox_part WHERE batch = (SELECT no FROM outbox_batch WHERE {} AND dead)",
            free_held()
        );
        step.query(&sql).bind::<BigInt, _>(batch.0).execute(step.conn)?;
        let sql = format!(
            "UPDATE outbox_batch SET replay = (replay OR dead), dead = 0, owner = NULL, lease_until = 0 WHERE {}",
            free_held()
        );
        Ok(step.query(&sql).bind::<BigInt, _>(batch.0).execute(step.conn)? == 1)
    })
}

pub(super) fn discard(step: &mut Step<'_>, batch: BatchId) -> QueryResult<bool> {
    step.write(|step| {
        let sql = format!("DELETE FROM outbox_batch WHERE {}", free_held());
        Ok(step.query(&sql).bind::<BigInt, _>(batch.0).execute(step.conn)? == 1)
    })
}
