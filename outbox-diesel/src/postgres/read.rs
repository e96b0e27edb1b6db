//! Reading a batch: the same statement at every attempt, so the same events in the same order.

use diesel::QueryResult;
use diesel::sql_types::{BigInt, Text};
use diesel_async::{AsyncPgConnection, SimpleAsyncConnection};
use outbox_core::{Claim, StoredEvent};

use super::event::events;
use super::prepared::Prepare;
use crate::Tables;

/// With planner settings for reading a batch: the index order is the batch's order, so anything else would only sort again.
const BEGIN: &str = "BEGIN ISOLATION LEVEL READ COMMITTED READ ONLY; SET LOCAL enable_seqscan = off; SET LOCAL enable_bitmapscan = off; SET LOCAL jit = off; \
    SET LOCAL plan_cache_mode = force_generic_plan";

/// What else a batch's events are bounded by, besides its window and its place in it.
const FILTER: &str = "(b.types IS NULL OR e.event_type = ANY (b.types)) \
    AND (b.since IS NULL OR (e.created_at >= b.since AND e.created_at < b.until))";

/// The events between a batch's bounds: those in flight at base and finished by tick, then those started after base. The
/// bounds come from the claim and not from the batch's row, so that a row that an operator changed is seen by the count.
const READ: &str = "SELECT e.seq, e.id, e.event_type, e.version, e.occurred_at, e.environment, e.destination, e.key, \
    e.headers, e.payload FROM outbox_batch b CROSS JOIN LATERAL ( \
    (SELECT e.* FROM (SELECT x FROM pg_snapshot_xip($1::pg_snapshot) x \
        WHERE x >= $3::xid8 AND x <= $5::xid8 AND pg_visible_in_snapshot(x, $2::pg_snapshot) ORDER BY x) l \
      CROSS JOIN LATERAL (SELECT * FROM outbox_event e WHERE e.xid = l.x \
        AND e.seq > CASE WHEN l.x = $3::xid8 THEN $4::int8 ELSE -1 END \
        AND e.seq <= CASE WHEN l.x = $5::xid8 THEN $6::int8 ELSE 9223372036854775807 END ORDER BY e.seq) e \
      ORDER BY l.x, e.seq) \
    UNION ALL \
    (SELECT e.* FROM outbox_event e \
      WHERE (e.xid, e.seq) > ( \
            CASE WHEN $3::xid8 < pg_snapshot_xmax($1::pg_snapshot) THEN pg_snapshot_xmax($1::pg_snapshot) ELSE $3::xid8 END, \
            CASE WHEN $3::xid8 < pg_snapshot_xmax($1::pg_snapshot) THEN -1 ELSE $4::int8 END) \
        AND (e.xid, e.seq) <= ($5::xid8, $6::int8) AND pg_visible_in_snapshot(e.xid, $2::pg_snapshot) \
      ORDER BY e.xid, e.seq) \
    ) e WHERE b.no = $7 AND {FILTER} ORDER BY e.xid, e.seq";

/// The same where no filter counts, and where the snapshots say of every transaction between the bounds that it is in the batch:
/// most batches of a backlog. It costs the server half.
const READ_PLAIN: &str = "SELECT e.seq, e.id, e.event_type, e.version, e.occurred_at, e.environment, e.destination, e.key, \
    e.headers, e.payload FROM outbox_event e \
    WHERE (e.xid, e.seq) > ($1::xid8, $2::int8) AND (e.xid, e.seq) <= ($3::xid8, $4::int8) ORDER BY e.xid, e.seq";

/// The same of a batch that was cut in the order of seq. The bounds by xid only say where in the index to look.
const READ_ORDERED: &str = "SELECT e.seq, e.id, e.event_type, e.version, e.occurred_at, e.environment, e.destination, e.key, \
    e.headers, e.payload FROM outbox_batch b CROSS JOIN outbox_event e \
    WHERE b.no = $7 AND e.xid >= $3::xid8 AND e.xid <= $5::xid8 AND e.seq > $4::int8 AND e.seq <= $6::int8 \
      AND pg_visible_in_snapshot(e.xid, $2::pg_snapshot) AND NOT pg_visible_in_snapshot(e.xid, $1::pg_snapshot) \
      AND {FILTER} ORDER BY e.seq";

const READ_HELD: &str = "SELECT seq, id, event_type, version, occurred_at, environment, destination, key, headers, payload \
    FROM outbox_held WHERE batch = $1 ORDER BY ordinal";

/// How a claim's bounds are written down: base, tick, lo_xid, lo_seq, hi_xid, hi_seq and how it was cut ([`SEQ`], [`ALL`], or only
/// some of the events), joined by spaces. Diesel has no types for them. Empty for a held batch.
pub(super) const BOUNDS: &str = "concat_ws(' ', base, tick, lo_xid, lo_seq, hi_xid, hi_seq, \
    CASE WHEN held THEN NULL WHEN ordered THEN 'seq' WHEN types IS NULL AND since IS NULL THEN 'all' ELSE 'some' END)";

/// In the order of seq.
const SEQ: &str = "seq";
/// In the order of (xid, seq), without a filter.
const ALL: &str = "all";

/// Where a batch begins when everything from there to `hi_xid` is in it, if that is so: transactions that were in flight at base are in
/// another place, and those that were in flight at tick are not in it.
fn begins(base: &str, tick: &str, (lo_xid, lo_seq): (&str, &str), hi_xid: &str) -> Option<(String, String)> {
    let (base, tick) = (Snapshot::parse(base)?, Snapshot::parse(tick)?);
    let (lo, hi): (u64, u64) = (lo_xid.parse().ok()?, hi_xid.parse().ok()?);
    let between = |xid: &u64| (lo..=hi).contains(xid);
    if base.in_flight.iter().any(between) || tick.in_flight.iter().any(between) || hi >= tick.xmax {
        return None;
    }
    Some(match lo < base.xmax {
        true => (base.xmax.to_string(), "-1".to_owned()),
        false => (lo_xid.to_owned(), lo_seq.to_owned()),
    })
}

/// A `pg_snapshot`, as PostgreSQL writes it: `xmin:xmax:xid,xid`.
struct Snapshot {
    xmax: u64,
    in_flight: Vec<u64>,
}

impl Snapshot {
    fn parse(text: &str) -> Option<Self> {
        let mut pieces = text.split(':').skip(1);
        let (xmax, xids) = (pieces.next()?.parse().ok()?, pieces.next()?);
        let in_flight = xids.split(',').filter(|xid| !xid.is_empty()).map(|xid| xid.parse().ok());
        Some(Self { xmax, in_flight: in_flight.collect::<Option<_>>()? })
    }
}

/// The statements, for these tables.
#[derive(Clone)]
pub(super) struct Reading {
    by_xid: String,
    plain: String,
    by_seq: String,
    held: String,
}

impl Reading {
    pub(super) fn of(tables: &Tables) -> Self {
        let render = |sql: &str| tables.sql(&sql.replace("{FILTER}", FILTER)).into_owned();
        Self { by_xid: render(READ), plain: render(READ_PLAIN), by_seq: render(READ_ORDERED), held: render(READ_HELD) }
    }

    /// The events of a held batch.
    pub(super) async fn held(&self, batch: i64, conn: &mut AsyncPgConnection) -> QueryResult<Vec<StoredEvent>> {
        events(conn, diesel::sql_query(&self.held).bind::<BigInt, _>(batch), 0).await
    }

    /// The events of the claimed batch. None: its bounds are unreadable.
    pub(super) async fn read(
        &self,
        claim: &Claim,
        conn: &mut AsyncPgConnection,
    ) -> QueryResult<Option<Vec<StoredEvent>>> {
        if claim.held {
            return self.held(claim.batch.0, conn).await.map(Some);
        }
        let bounds: Vec<&str> = claim.bounds.split(' ').collect();
        let &[base, tick, lo_xid, lo_seq, hi_xid, hi_seq, cut] = bounds.as_slice() else { return Ok(None) };
        // Its own BEGIN, to spare two round trips: a connection whose step has failed or was dropped is closed, so nothing that
        // is left open here outlives it.
        conn.batch_execute(BEGIN).await?;
        let begins = if cut == ALL { begins(base, tick, (lo_xid, lo_seq), hi_xid) } else { None };
        let rows = claim.rows as usize;
        let events = match begins {
            Some((xid, seq)) => {
                let plain = diesel::sql_query(&self.plain)
                    .bind::<Text, _>(xid)
                    .bind::<Text, _>(seq)
                    .bind::<Text, _>(hi_xid)
                    .bind::<Text, _>(hi_seq);
                events(conn, plain.prepared(), rows).await?
            }
            None => {
                let read = diesel::sql_query(if cut == SEQ { &self.by_seq } else { &self.by_xid })
                    .bind::<Text, _>(base)
                    .bind::<Text, _>(tick)
                    .bind::<Text, _>(lo_xid)
                    .bind::<Text, _>(lo_seq)
                    .bind::<Text, _>(hi_xid)
                    .bind::<Text, _>(hi_seq)
                    .bind::<BigInt, _>(claim.batch.0);
                events(conn, read.prepared(), rows).await?
            }
        };
        conn.batch_execute("COMMIT").await?;
        Ok(Some(events))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn everything_between_the_bounds_is_in_a_batch_unless_a_transaction_was_in_flight() {
        let at = |xid: &str, seq: &str| Some((xid.to_owned(), seq.to_owned()));
        assert_eq!(begins("1:1:", "90:90:", ("0", "0"), "50"), at("1", "-1"), "the first batch of a window");
        assert_eq!(begins("10:20:", "90:90:", ("15", "7"), "50"), at("20", "-1"), "what base saw is not in it");
        assert_eq!(begins("10:20:", "90:90:", ("30", "7"), "50"), at("30", "7"), "a later one");
        assert_eq!(begins("10:20:10,12", "90:90:", ("13", "7"), "50"), at("20", "-1"), "they are before it");
        assert_eq!(begins("10:20:10,12", "80:90:80", ("12", "7"), "50"), None, "in flight at base, on the lower bound");
        assert_eq!(begins("10:20:", "50:90:50", ("30", "7"), "50"), None, "in flight at tick, on the upper bound");
        assert_eq!(begins("10:20:", "51:90:51,60", ("30", "7"), "50"), at("30", "7"), "it is behind it");
        assert_eq!(begins("10:20:", "30:50:", ("30", "7"), "50"), None, "no plan cuts beyond its tick");
        for unreadable in ["", "1", "1:x:", "1:2", "1:2:x"] {
            assert_eq!(begins(unreadable, "90:90:", ("0", "0"), "50"), None, "{unreadable}");
            assert_eq!(begins("1:1:", unreadable, ("0", "0"), "50"), None, "{unreadable}");
        }
    }
}
