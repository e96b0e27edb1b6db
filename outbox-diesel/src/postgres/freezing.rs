//! Storing parts before their first send.

use diesel::sql_types::{Array, BigInt, Integer, Nullable, Text, Uuid as SqlUuid};
use diesel_async::RunQueryDsl;
use outbox_core::{Claim, PartDraft, PartRecord, StoreError};

use super::PostgresStore;
use super::prepared::Prepare;
use super::rows::FrozenRow;

impl PostgresStore {
    pub(super) async fn freeze_all(
        &self,
        operation: &'static str,
        claim: &Claim,
        replaces: Option<i32>,
        drafts: Vec<PartDraft>,
    ) -> Result<Vec<PartRecord>, StoreError> {
        let column = |of: fn(&PartDraft) -> String| drafts.iter().map(of).collect::<Vec<_>>();
        let frozen: Vec<FrozenRow> = self
            .step(operation, async |conn| {
                self.sql("SELECT part_no, part_token FROM outbox_freeze($1, $2, $3, $4, $5, $6, $7, $8) ORDER BY 1")
                    .bind::<BigInt, _>(claim.batch.0)
                    .bind::<SqlUuid, _>(claim.owner)
                    .bind::<Integer, _>(claim.attempt)
                    .bind::<Nullable<Integer>, _>(replaces)
                    .bind::<Array<Text>, _>(column(|draft| draft.table.clone()))
                    .bind::<Array<Text>, _>(column(|draft| crate::ordinals::encode(&draft.ordinals)))
                    .bind::<Array<Text>, _>(column(|draft| draft.frozen.statement.clone()))
                    .bind::<Array<Text>, _>(column(|draft| draft.frozen.mark.clone()))
                    .prepared()
                    .load(conn)
                    .await
            })
            .await?;
        if frozen.len() != drafts.len() {
            return Err(StoreError::lease_lost(operation));
        }
        let record = |(row, draft): (FrozenRow, PartDraft)| PartRecord {
            no: row.part_no,
            token: row.part_token,
            done: false,
            draft,
        };
        Ok(frozen.into_iter().zip(drafts).map(record).collect())
    }
}
