//! Taking a batch, alone or together with settling the one before.

use std::time::Duration;

use diesel::sql_types::{BigInt, Integer, Text, Uuid as SqlUuid};
use diesel::{OptionalExtension, QueryResult};
use diesel_async::{AsyncPgConnection, RunQueryDsl};
use outbox_core::{BatchId, Claim, Route, StoreError};
use uuid::Uuid;

use super::PostgresStore;
use super::prepared::Prepare;
use super::read::BOUNDS;
use super::rows::{ClaimRow, PartRow, SettledRow};
use super::store::interval;
use crate::parts;

/// What is asked of a claimed batch `b`. Its parts are fetched only where it has any: a batch that is claimed for the first
/// time has none.
fn columns() -> String {
    format!(
        "b.no, b.attempt, b.n, b.bytes, b.held, b.replay, {BOUNDS} AS bounds, \
         EXISTS (SELECT FROM outbox_part p WHERE p.batch = b.no) AS has_parts, \
         CASE WHEN NOT b.held AND (SELECT c.ordered FROM outbox_cursor c WHERE c.route = b.route) \
              THEN ARRAY(SELECT DISTINCT o.destination FROM outbox_batch o \
                          WHERE o.route = b.route AND o.held AND o.parked AND NOT o.dead AND o.destination IS NOT NULL) \
              ELSE '{{}}' END AS parked_tables"
    )
}

/// What a claimed row and its parts are in the contract's words.
type Claimed = (ClaimRow, Vec<PartRow>);

impl PostgresStore {
    pub(super) async fn claim_batch(
        &self,
        route: &Route,
        owner: Uuid,
        lease: Duration,
    ) -> Result<Option<Claim>, StoreError> {
        let claimed = self.step("claim", async |conn| {
            let floor = self.floors.floor(route, &self.tables, conn).await?;
            let row: Option<ClaimRow> = self
                .sql(&format!("SELECT {} FROM outbox_claim($1, $2, $3::interval, $4) b", columns()))
                .bind::<Text, _>(route.as_str())
                .bind::<SqlUuid, _>(owner)
                .bind::<Text, _>(interval(lease))
                .bind::<BigInt, _>(floor)
                .prepared()
                .get_result(conn)
                .await
                .optional()?;
            self.with_parts(row, conn).await
        });
        claimed.await?.map(|row| claim(route, owner, row)).transpose()
    }

    /// Ok(None): the lease of the batch to settle is lost.
    pub(super) async fn settle_and_claim_batch(
        &self,
        settled: &Claim,
        lease: Duration,
    ) -> Result<Option<Claim>, StoreError> {
        let (route, owner) = (&settled.route, settled.owner);
        let claimed = self.step("settle", async |conn| {
            let floor = self.floors.floor(route, &self.tables, conn).await?;
            let row: SettledRow = self
                .sql(&format!(
                    "SELECT s.settled, c.* FROM outbox_settle_and_claim($1, $2, $3, $4, $5::interval, $6) s \
                     LEFT JOIN LATERAL (SELECT {} FROM (SELECT (s.claimed).*) b) c ON (s.claimed).no IS NOT NULL",
                    columns()
                ))
                .bind::<BigInt, _>(settled.batch.0)
                .bind::<SqlUuid, _>(owner)
                .bind::<Integer, _>(settled.attempt)
                .bind::<Text, _>(route.as_str())
                .bind::<Text, _>(interval(lease))
                .bind::<BigInt, _>(floor)
                .prepared()
                .get_result(conn)
                .await?;
            match row.settled {
                true => self.with_parts(row.claimed, conn).await.map(Some),
                false => Ok(None),
            }
        });
        match claimed.await? {
            Some(row) => row.map(|row| claim(route, owner, row)).transpose(),
            None => Err(StoreError::lease_lost("settle")),
        }
    }

    async fn with_parts(&self, row: Option<ClaimRow>, conn: &mut AsyncPgConnection) -> QueryResult<Option<Claimed>> {
        let Some(row) = row else { return Ok(None) };
        if !row.has_parts {
            return Ok(Some((row, Vec::new())));
        }
        let sql = "SELECT no, token, destination, ordinals, statement, mark, done FROM outbox_part WHERE batch = $1 ORDER BY no";
        let parts = self.sql(sql).bind::<BigInt, _>(row.no).prepared().load(conn).await?;
        Ok(Some((row, parts)))
    }
}

fn claim(route: &Route, owner: Uuid, (row, parts): Claimed) -> Result<Claim, StoreError> {
    let rows = row.n.unsigned_abs();
    let parts = parts.into_iter().map(|part| {
        let PartRow { no, token, destination, ordinals, statement, mark, done } = part;
        let ordinals = parts::ordinals(&ordinals, rows)?;
        Ok(parts::record(no, token, done, destination, ordinals, statement, mark))
    });
    Ok(Claim {
        batch: BatchId(row.no),
        route: route.clone(),
        owner,
        attempt: row.attempt,
        rows,
        bytes: row.bytes.unsigned_abs(),
        bounds: row.bounds,
        held: row.held,
        replay: row.replay,
        parked_tables: row.parked_tables,
        parts: parts.collect::<Result<_, StoreError>>()?,
    })
}
