//! Putting events aside, and what an operator does with them.

use chrono::{DateTime, Utc};
use diesel::sql_types::{Array, BigInt, Bool, Integer, Nullable, Text, Timestamptz, Uuid as SqlUuid};
use diesel_async::RunQueryDsl;
use outbox_core::{BatchId, Claim, HeldBatch, Hold, StoreError, StoredEvent};

use super::PostgresStore;
use super::rows::{Flag, HeldRow, MaybeNumber};
use super::store::interval;

impl PostgresStore {
    pub(super) async fn hold_events(&self, claim: &Claim, hold: &Hold) -> Result<BatchId, StoreError> {
        let events = || hold.events.iter();
        let all: Vec<u32> = (0..).take(hold.events.len()).collect();
        let held: MaybeNumber = self
            .step("hold", async |conn| {
                self.sql(
                    "SELECT outbox_hold($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11::interval, \
                     $12, $13, $14, $15, $16, $17, $18, $19, $20, $21) AS number",
                )
                .bind::<BigInt, _>(claim.batch.0)
                .bind::<SqlUuid, _>(claim.owner)
                .bind::<Integer, _>(claim.attempt)
                .bind::<Nullable<Integer>, _>(hold.part)
                .bind::<Text, _>(&hold.table)
                .bind::<Text, _>(crate::ordinals::encode(&hold.ordinals))
                .bind::<Text, _>(crate::ordinals::encode(&all))
                .bind::<Bool, _>(hold.reason.dead)
                .bind::<Nullable<Integer>, _>(hold.reason.code)
                .bind::<Text, _>(crate::reason::kept(&hold.reason.error))
                .bind::<Text, _>(interval(hold.delay))
                .bind::<Array<BigInt>, _>(events().map(|stored| stored.seq).collect::<Vec<_>>())
                .bind::<Array<SqlUuid>, _>(events().map(|stored| stored.event.id).collect::<Vec<_>>())
                .bind::<Array<Text>, _>(events().map(|stored| &*stored.event.event_type).collect::<Vec<_>>())
                .bind::<Array<Integer>, _>(events().map(|stored| stored.event.version).collect::<Vec<_>>())
                .bind::<Array<Timestamptz>, _>(
                    events().map(|stored| stored.event.occurred_at).collect::<Vec<DateTime<Utc>>>(),
                )
                .bind::<Array<Text>, _>(events().map(|stored| &*stored.event.environment).collect::<Vec<_>>())
                .bind::<Array<Nullable<Text>>, _>(
                    events().map(|stored| stored.event.key.as_deref()).collect::<Vec<_>>(),
                )
                .bind::<Array<Nullable<Text>>, _>(
                    events().map(|stored| stored.event.headers.as_deref()).collect::<Vec<_>>(),
                )
                .bind::<Array<Text>, _>(events().map(|stored| &stored.event.payload).collect::<Vec<_>>())
                .bind::<Array<Integer>, _>(
                    events().map(|stored| i32::try_from(stored.event.bytes()).unwrap_or(i32::MAX)).collect::<Vec<_>>(),
                )
                .get_result(conn)
                .await
            })
            .await?;
        held.number.map(BatchId).ok_or_else(|| StoreError::lease_lost("hold"))
    }

    pub(super) async fn held_batches(&self, limit: u32) -> Result<Vec<HeldBatch>, StoreError> {
        let rows: Vec<HeldRow> = self
            .step("held", async |conn| {
                self.sql(
                    "SELECT no, route, coalesce(destination, '') AS destination, n::bigint AS events, bytes, dead, code, \
                     coalesce(error, '') AS error, attempt, held_at FROM outbox_batch WHERE held ORDER BY no LIMIT $1",
                )
                .bind::<BigInt, _>(i64::from(limit))
                .load(conn)
                .await
            })
            .await?;
        Ok(rows.into_iter().map(HeldBatch::from).collect())
    }

    pub(super) async fn events_of_held(&self, batch: BatchId) -> Result<Option<Vec<StoredEvent>>, StoreError> {
        self.step("held", async |conn| {
            let found: Flag = self
                .sql("SELECT EXISTS (SELECT FROM outbox_batch WHERE no = $1 AND held) AS flag")
                .bind::<BigInt, _>(batch.0)
                .get_result(conn)
                .await?;
            match found.flag {
                true => self.reading.held(batch.0, conn).await.map(Some),
                false => Ok(None),
            }
        })
        .await
    }

    /// Calls one of the functions that take a held batch and say whether there was one.
    pub(super) async fn on_held(&self, operation: &'static str, sql: &str, batch: BatchId) -> Result<bool, StoreError> {
        let answer: Flag =
            self.step(operation, async |conn| self.sql(sql).bind::<BigInt, _>(batch.0).get_result(conn).await).await?;
        Ok(answer.flag)
    }
}
