//! Pruning: deleting the events that every route has settled, a few at a time, and then the batches that say so.

use std::time::Duration;

use diesel::QueryResult;
use diesel::sql_types::{BigInt, Bool, Text};
use diesel_async::RunQueryDsl;
use outbox_core::Route;

use super::connections::Step;
use super::ranges::Ranges;
use super::rows::{RangesRow, RouteName};
use super::{NOW, micros};
use crate::rows::Number;

/// The most events that one transaction deletes. Nobody waits for it, for nobody else touches settled events; the fewer, the
/// less is lost with a crash and the sooner a replica has caught up.
const ROWS_MAX: usize = 5_000;
/// The most settled batches of a route that one transaction looks at.
const BATCHES_MAX: u32 = 500;
/// The most ranges in one statement.
const RANGES_MAX: usize = 500;

/// What takes events away, and what promises events that are there to a route, holds this lock. `how` it waits for it. False: it
/// did not get it.
pub(super) async fn lock_events(step: &mut Step<'_>, how: &str) -> QueryResult<bool> {
    let rows: Vec<Number> = step
        .query(&format!(
            "SELECT CAST(version AS SIGNED) AS number FROM outbox_migration ORDER BY version LIMIT 1 FOR UPDATE {how}"
        ))
        .load(step.conn)
        .await?;
    Ok(!rows.is_empty())
}

/// What one step has done.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Pruned {
    pub rows: u64,
    /// Whether there may be more.
    pub more: bool,
}

/// The settled batches of a route that are old enough, and what they hold that no open batch has too.
struct Settled {
    batches: Vec<RangesRow>,
    numbers: Ranges,
}

/// Deletes some of what every route has settled and what is older than `keep`.
pub(super) async fn prune(step: &mut Step<'_>, keep: Duration) -> QueryResult<Pruned> {
    let routes: Vec<RouteName> = step.query("SELECT route FROM outbox_cursor ORDER BY route").load(step.conn).await?;
    if routes.is_empty() {
        return Ok(Pruned::default()); // Nothing has been delivered to anybody.
    }
    step.begin().await?;
    if !lock_events(step, "SKIP LOCKED").await? {
        return step.rollback().await.map(|()| Pruned::default());
    }
    // Again, under the lock: a route that was opened meanwhile has been promised what is there.
    let routes: Vec<RouteName> = step.query("SELECT route FROM outbox_cursor ORDER BY route").load(step.conn).await?;
    let now: Number = step.query(&format!("SELECT {NOW} AS number")).get_result(step.conn).await?;
    let until = now.number.unwrap_or(0).saturating_sub(micros(keep));
    let mut settled = Vec::with_capacity(routes.len());
    for route in &routes {
        settled.push(settled_by(step, &Route::new(&route.route), until).await?);
    }
    let all = settled.iter().map(|settled| settled.numbers.clone()).reduce(|all, route| all.common(&route));
    let all = all.unwrap_or_default();
    if all.is_empty() {
        return step.rollback().await.map(|()| Pruned::default());
    }
    let mut rows: Vec<i64> = Vec::new();
    for piece in all.pieces(RANGES_MAX) {
        let left = ROWS_MAX - rows.len();
        let sql = format!(
            "SELECT seq AS number FROM outbox_event WHERE {} ORDER BY seq LIMIT {left}",
            piece.condition("seq")
        );
        let found: Vec<Number> = step.query(&sql).load(step.conn).await?;
        rows.extend(found.into_iter().filter_map(|row| row.number));
        if rows.len() >= ROWS_MAX {
            break;
        }
    }
    delete(step, &rows).await?;
    let deleted = rows.len() as u64;
    if rows.len() >= ROWS_MAX {
        step.commit().await?;
        return Ok(Pruned { rows: deleted, more: true });
    }
    let (mut full, mut forgotten) = (false, false);
    for settled in settled {
        full |= settled.batches.len() >= BATCHES_MAX as usize;
        for batch in settled.batches {
            let numbers = batch.ranges()?;
            // In several routes a batch may go in several steps.
            let touched = !numbers.common(&all).is_empty();
            if touched && (numbers.is_within(&all) || !is_any_left(step, &numbers).await?) {
                // Its numbers are gone for good: a late event has one that was in no batch.
                forget(step, batch.no).await?;
                forgotten = true;
            }
        }
    }
    step.commit().await?;
    Ok(Pruned { rows: deleted, more: full && forgotten })
}

/// Deletes exactly these rows, by looking each of them up: a DELETE that walks a range also locks the row after it, or walks the
/// whole table where that is small, and then waits for every transaction that is writing there.
async fn delete(step: &mut Step<'_>, rows: &[i64]) -> QueryResult<()> {
    if rows.is_empty() {
        return Ok(());
    }
    let list = rows.iter().map(i64::to_string).collect::<Vec<_>>().join(",");
    step.query(
        "DELETE e FROM JSON_TABLE(?, '$[*]' COLUMNS (seq BIGINT PATH '$')) AS l STRAIGHT_JOIN outbox_event AS e ON e.seq = l.seq",
    )
    .bind::<Text, _>(format!("[{list}]"))
    .execute(step.conn)
    .await
    .map(drop)
}

async fn is_any_left(step: &mut Step<'_>, numbers: &Ranges) -> QueryResult<bool> {
    for piece in numbers.pieces(RANGES_MAX) {
        let sql = format!("SELECT seq AS number FROM outbox_event WHERE {} LIMIT 1", piece.condition("seq"));
        if !step.query(&sql).load::<Number>(step.conn).await?.is_empty() {
            return Ok(true);
        }
    }
    Ok(false)
}

async fn settled_by(step: &mut Step<'_>, route: &Route, until: i64) -> QueryResult<Settled> {
    let load = async |step: &mut Step<'_>, settled: bool, until: i64, limit: u32| -> QueryResult<Vec<RangesRow>> {
        step.query(&format!(
            "SELECT no, ranges FROM outbox_batch WHERE route = ? AND settled = ? AND newest <= ? AND NOT held ORDER BY no LIMIT {limit}"
        ))
        .bind::<Text, _>(route.as_str())
        .bind::<Bool, _>(settled)
        .bind::<BigInt, _>(until)
        .load(step.conn)
        .await
    };
    let batches = load(step, true, until, BATCHES_MAX).await?;
    let open = load(step, false, i64::MAX, u32::MAX).await?;
    let union =
        |rows: &[RangesRow]| rows.iter().map(RangesRow::ranges).collect::<QueryResult<Vec<_>>>().map(Ranges::union);
    let numbers = union(&batches)?.without(&union(&open)?);
    Ok(Settled { batches, numbers })
}

async fn forget(step: &mut Step<'_>, batch: i64) -> QueryResult<()> {
    for statement in ["DELETE FROM outbox_part WHERE batch = ?", "DELETE FROM outbox_batch WHERE no = ?"] {
        step.query(statement).bind::<BigInt, _>(batch).execute(step.conn).await?;
    }
    Ok(())
}
