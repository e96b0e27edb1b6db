//! Pruning: deleting the events that every route has settled, a few at a time.

use std::time::Duration;

use diesel::sql_types::BigInt;
use diesel::{QueryResult, RunQueryDsl};

use super::connection::Step;
use super::{NOW_MS, millis};
use crate::rows::Number;

/// How many rows one step deletes: few, so that writers never wait long for the lock.
pub(super) const ROWS_MAX: i64 = 2_000;

/// Deletes up to [`ROWS_MAX`] events that come before the oldest open batch and before every route's position, and that are older
/// than `keep`.
pub(super) fn prune(step: &mut Step<'_>, keep: Duration) -> QueryResult<usize> {
    let settled = settled(step)?;
    let first: Number = step.query("SELECT min(seq) AS number FROM outbox_event").get_result(step.conn)?;
    match (settled, first.number) {
        // Without the write lock, for a relay with nothing to prune.
        (Some(settled), Some(first)) if first <= settled => {}
        _ => return Ok(0),
    }
    step.write(|step| {
        // Again: a replay may have sealed some of them since, and a new route may have been promised all that is there.
        let Some(settled) = self::settled(step)? else { return Ok(0) };
        step.query(&format!(
            "DELETE FROM outbox_event WHERE seq IN \
             (SELECT seq FROM outbox_event WHERE seq <= ? AND created_at <= {NOW_MS} - ? ORDER BY seq LIMIT ?)"
        ))
        .bind::<BigInt, _>(settled)
        .bind::<BigInt, _>(millis(keep))
        .bind::<BigInt, _>(ROWS_MAX)
        .execute(step.conn)
    })
}

/// Up to which number every route has settled everything. None: there is no route, so nothing has been delivered to anybody.
fn settled(step: &mut Step<'_>) -> QueryResult<Option<i64>> {
    let settled: Number = step
        .query(
            "SELECT min(min(c.pos, coalesce((SELECT min(lo) FROM outbox_batch b WHERE b.route = c.route AND NOT b.held), c.pos))) \
             AS number FROM outbox_cursor c",
        )
        .get_result(step.conn)?;
    Ok(settled.number)
}
