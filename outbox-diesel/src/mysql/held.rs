//! Held batches: events that were put aside, and what an operator does with them.

use diesel::QueryResult;
use diesel::mysql::Mysql;
use diesel::sql_types::{BigInt, Bool, Integer, Nullable, Text};
use diesel_async::RunQueryDsl;
use outbox_core::{BatchId, Claim, HeldBatch, Hold, PartDraft, PartRecord, StoredEvent};
use uuid::Uuid;

use super::batches::{insert_part, is_held, next_part};
use super::connections::Step;
use super::rows::{EVENT_COLUMNS, HeldRow};
use super::{NOW, micros};
use crate::backend::InsertHeld;
use crate::rows::{self, EventRow, Number, PartRow};

const INSERT: &str = "INSERT INTO outbox_held \
    (batch, ordinal, seq, id, event_type, version, occurred_at, environment, destination, `key`, headers, payload, bytes) VALUES ";

/// Of a held batch that is in nobody's hands.
fn free_held() -> String {
    format!("no = ? AND held AND (owner IS NULL OR lease_until < {NOW})")
}

/// Moves events into a held batch. None: the lease is lost.
pub(super) async fn hold(step: &mut Step<'_>, claim: &Claim, hold: &Hold) -> QueryResult<Option<BatchId>> {
    step.begin().await?;
    if !is_held(step, claim, "FOR UPDATE").await? {
        return step.rollback().await.map(|()| None);
    }
    let batch = insert_batch(step, claim, hold).await?;
    let text = step.tables().sql(INSERT).into_owned();
    for insert in InsertHeld::statements::<Mysql>(&text, batch, &hold.events) {
        insert.execute(step.conn).await?;
    }
    move_part(step, claim, hold, batch).await?;
    step.commit().await?;
    Ok(Some(BatchId(batch)))
}

async fn insert_batch(step: &mut Step<'_>, claim: &Claim, hold: &Hold) -> QueryResult<i64> {
    let bytes: u64 = hold.events.iter().map(|stored| stored.event.bytes() as u64).sum();
    step.query(&format!(
        "INSERT INTO outbox_batch (route, ranges, n, bytes, oldest, newest, replay, lease_until, parked, error, held, held_at, \
         destination, dead, code) SELECT route, '', ?, ?, oldest, newest, replay, {NOW} + ?, TRUE, ?, TRUE, {NOW}, ?, ?, ? \
         FROM outbox_batch WHERE no = ?"
    ))
    .bind::<BigInt, _>(i64::try_from(hold.events.len()).unwrap_or(i64::MAX))
    .bind::<BigInt, _>(i64::try_from(bytes).unwrap_or(i64::MAX))
    .bind::<BigInt, _>(micros(hold.delay))
    .bind::<Text, _>(crate::reason::kept(&hold.reason.error))
    .bind::<Text, _>(&hold.table)
    .bind::<Bool, _>(hold.reason.dead)
    .bind::<Nullable<Integer>, _>(hold.reason.code)
    .bind::<BigInt, _>(claim.batch.0)
    .execute(step.conn)
    .await?;
    let made: Number = step.query("SELECT CAST(LAST_INSERT_ID() AS SIGNED) AS number").get_result(step.conn).await?;
    Ok(made.number.unwrap_or(0))
}

/// A token is one part's: it goes with the part, and what stays behind only says that nothing is left to do.
async fn move_part(step: &mut Step<'_>, claim: &Claim, hold: &Hold, to: i64) -> QueryResult<()> {
    let moved: Vec<PartRow> = step
        .query("SELECT no, token, destination, '' AS ordinals, statement, mark, done FROM outbox_part WHERE batch = ? AND no = ?")
        .bind::<BigInt, _>(claim.batch.0)
        .bind::<Nullable<Integer>, _>(hold.part)
        .load(step.conn)
        .await?;
    let Some(moved) = moved.into_iter().next() else {
        // Whoever claims the batch again must not freeze them.
        let no = next_part(step, claim.batch.0).await?;
        let part = crate::parts::record(
            no,
            Uuid::new_v4(),
            true,
            hold.table.clone(),
            hold.ordinals.clone(),
            String::new(),
            String::new(),
        );
        return insert_part(step, claim.batch.0, &part).await;
    };
    step.query("UPDATE outbox_part SET token = ?, done = TRUE WHERE batch = ? AND no = ?")
        .bind::<Text, _>(Uuid::new_v4().to_string())
        .bind::<BigInt, _>(claim.batch.0)
        .bind::<Nullable<Integer>, _>(hold.part)
        .execute(step.conn)
        .await?;
    if hold.reason.dead {
        return Ok(());
    }
    let record = moved.record(0).map_err(|error| diesel::result::Error::DeserializationError(error.into()))?;
    let ordinals = (0..).take(hold.events.len()).collect();
    let part = PartRecord { no: 0, done: false, draft: PartDraft { ordinals, ..record.draft }, ..record };
    insert_part(step, to, &part).await
}

/// A held batch that was delivered is gone. False: the lease is lost.
pub(super) async fn settle(step: &mut Step<'_>, claim: &Claim) -> QueryResult<bool> {
    step.begin().await?;
    if !is_held(step, claim, "FOR UPDATE").await? {
        return step.rollback().await.map(|()| false);
    }
    free_next(step, claim).await?;
    delete(step, claim.batch).await?;
    step.commit().await.map(|()| true)
}

/// Lets the parked batch behind this one, of the same destination, be tried at once: what stood in the way is gone.
pub(super) async fn free_next(step: &mut Step<'_>, claim: &Claim) -> QueryResult<()> {
    step.query(
        "UPDATE outbox_batch SET lease_until = 0 WHERE owner IS NULL AND no = (SELECT o.no FROM (\
         SELECT MIN(n.no) AS no FROM outbox_batch n JOIN outbox_batch b ON b.no = ? AND b.owner = ? AND b.attempt = ? AND b.parked \
         WHERE n.route = b.route AND n.settled = FALSE AND n.dead = FALSE AND n.parked = TRUE AND n.no <> b.no \
         AND n.destination <=> b.destination) o)",
    )
    .bind::<BigInt, _>(claim.batch.0)
    .bind::<Text, _>(claim.owner.to_string())
    .bind::<Integer, _>(claim.attempt)
    .execute(step.conn)
    .await
    .map(drop)
}

/// A batch with all that hangs on it.
async fn delete(step: &mut Step<'_>, batch: BatchId) -> QueryResult<()> {
    for statement in [
        "DELETE FROM outbox_part WHERE batch = ?",
        "DELETE FROM outbox_held WHERE batch = ?",
        "DELETE FROM outbox_batch WHERE no = ?",
    ] {
        step.query(statement).bind::<BigInt, _>(batch.0).execute(step.conn).await?;
    }
    Ok(())
}

/// The events of a held batch, in their order.
pub(super) async fn events(step: &mut Step<'_>, batch: BatchId) -> QueryResult<Vec<StoredEvent>> {
    let sql = format!("SELECT {} FROM outbox_held WHERE batch = ? ORDER BY ordinal", EVENT_COLUMNS);
    let rows: Vec<EventRow> = step.query(&sql).bind::<BigInt, _>(batch.0).load(step.conn).await?;
    rows::events(rows)
}

/// None: it is no held batch.
pub(super) async fn events_of(step: &mut Step<'_>, batch: BatchId) -> QueryResult<Option<Vec<StoredEvent>>> {
    let held: Vec<Number> = step
        .query("SELECT no AS number FROM outbox_batch WHERE no = ? AND held")
        .bind::<BigInt, _>(batch.0)
        .load(step.conn)
        .await?;
    if held.is_empty() { Ok(None) } else { events(step, batch).await.map(Some) }
}

pub(super) async fn list(step: &mut Step<'_>, limit: u32) -> QueryResult<Vec<HeldBatch>> {
    let rows: Vec<HeldRow> = step
        .query(&format!(
            "SELECT no, route, destination, n, bytes, dead, code, error, attempt, held_at FROM outbox_batch WHERE held \
             ORDER BY no LIMIT {limit}"
        ))
        .load(step.conn)
        .await?;
    Ok(rows.into_iter().map(HeldBatch::from).collect())
}

/// Lets a held batch be tried now. A dead one gets new tokens, because its own were refused or replaced, so the sink looks first
/// whether its events have arrived since.
pub(super) async fn retry(step: &mut Step<'_>, batch: BatchId) -> QueryResult<bool> {
    step.begin().await?;
    let dead: Vec<Number> = step
        .query(&format!("SELECT CAST(dead AS SIGNED) AS number FROM outbox_batch WHERE {} FOR UPDATE", free_held()))
        .bind::<BigInt, _>(batch.0)
        .load(step.conn)
        .await?;
    let Some(dead) = dead.into_iter().next() else { return step.rollback().await.map(|()| false) };
    if dead.number != Some(0) {
        let parts = step.query("DELETE FROM outbox_part WHERE batch = ?");
        parts.bind::<BigInt, _>(batch.0).execute(step.conn).await?;
    }
    // From left to right: `replay` looks at what `dead` was.
    step.query(
        "UPDATE outbox_batch SET replay = replay OR dead, dead = FALSE, owner = NULL, lease_until = 0 WHERE no = ?",
    )
    .bind::<BigInt, _>(batch.0)
    .execute(step.conn)
    .await?;
    step.commit().await.map(|()| true)
}

pub(super) async fn discard(step: &mut Step<'_>, batch: BatchId) -> QueryResult<bool> {
    step.begin().await?;
    let there: Vec<Number> = step
        .query(&format!("SELECT no AS number FROM outbox_batch WHERE {} FOR UPDATE", free_held()))
        .bind::<BigInt, _>(batch.0)
        .load(step.conn)
        .await?;
    if there.is_empty() {
        return step.rollback().await.map(|()| false);
    }
    delete(step, batch).await?;
    step.commit().await.map(|()| true)
}
