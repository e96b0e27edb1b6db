//! What is asked now and then: the state, the load, replaying, the schemas, and recovering a restored outbox.

use std::time::Duration;

use diesel::QueryResult;
use diesel::sql_types::{Array, BigInt, Bool, Integer, Text, Timestamptz};
use diesel_async::{AsyncPgConnection, RunQueryDsl};
use outbox_core::{Load, ReplayRequest, Replayed, SchemaRecord, Status, StoreError, StoreErrorKind};

use super::PostgresStore;
use super::rows::{Count, LoadRow, ReplayRow, RouteOptions, SchemaRow};
use super::store::LONG_STEP_TIMEOUT;
use crate::status::{FailingRow, RouteRow};

impl PostgresStore {
    /// Recovers an outbox whose database was restored into another cluster, where the transaction ids of its rows mean
    /// something else: a relay refuses it until then. Stop relays and producers first.
    ///
    /// Every event in the tables is offered to every route once more, and the sink looks which of them have arrived: nothing
    /// is lost, and nothing doubled where the sink can look (`ClickHouseSink` can). After `pg_upgrade`, which keeps
    /// transaction ids, `upgraded` spares that: only the cluster's new identity is noted. Returns how many events are offered.
    ///
    /// # Errors
    /// [`StoreError`]; nothing has changed then.
    pub async fn rebase(&self, upgraded: bool) -> Result<u64, StoreError> {
        let offered: Count = self
            .connections
            .run("rebase", LONG_STEP_TIMEOUT, async |conn| {
                self.sql("SELECT outbox_rebase($1) AS count").bind::<Bool, _>(upgraded).get_result(conn).await
            })
            .await?;
        self.floors.forget().await;
        Ok(offered.count.unsigned_abs())
    }

    pub(super) async fn count_everything(&self) -> Result<Status, StoreError> {
        self.connections.run("status", LONG_STEP_TIMEOUT, async |conn| self.status_on(conn).await).await
    }

    async fn status_on(&self, conn: &mut AsyncPgConnection) -> QueryResult<Status> {
        let rows: Vec<(RouteRow, RouteOptions)> = self.sql("SELECT * FROM outbox_status()").load(conn).await?;
        let stored: Count = self.sql("SELECT count(*) AS count FROM outbox_event").get_result(conn).await?;
        let mut routes = Vec::with_capacity(rows.len());
        for (row, options) in rows {
            let failing: Vec<FailingRow> = self
                .sql(
                    "SELECT no, attempt, n::bigint AS events, parked, error FROM outbox_batch \
                     WHERE route = $1 AND error IS NOT NULL AND NOT dead ORDER BY no DESC LIMIT 10",
                )
                .bind::<Text, _>(&row.route)
                .load(conn)
                .await?;
            routes.push(row.status(failing, options.ordered, options.types));
        }
        Ok(Status { routes, stored_events: stored.count.unsigned_abs() })
    }

    pub(super) async fn measure(&self) -> Result<Load, StoreError> {
        let row: LoadRow =
            self.step("load", async |conn| self.sql("SELECT * FROM outbox_load()").get_result(conn).await).await?;
        Ok(Load {
            rows: row.waiting.unsigned_abs(),
            bytes: row.stored_bytes.unsigned_abs(),
            // Below zero after the database's clock was set back.
            oldest_age: Duration::from_millis(u64::try_from(row.oldest_ms).unwrap_or(0)),
            held: row.held_rows.unsigned_abs(),
        })
    }

    pub(super) async fn seal_again(&self, request: &ReplayRequest) -> Result<Replayed, StoreError> {
        let replay = self.connections.run("replay", LONG_STEP_TIMEOUT, async |conn| {
            self.sql("SELECT * FROM outbox_replay($1, $2, $3, $4, $5, $6)")
                .bind::<Text, _>(request.route.as_str())
                .bind::<Timestamptz, _>(request.from)
                .bind::<Timestamptz, _>(request.to)
                .bind::<Bool, _>(!request.all)
                .bind::<Integer, _>(i32::try_from(request.rows_max).unwrap_or(i32::MAX))
                .bind::<BigInt, _>(i64::try_from(request.bytes_max).unwrap_or(i64::MAX))
                .get_result::<ReplayRow>(conn)
                .await
        });
        let row = replay.await?;
        Ok(Replayed {
            rows: row.sealed_rows.unsigned_abs(),
            batches: row.sealed_batches.unsigned_abs(),
            passed_over: row.passed_rows.unsigned_abs(),
        })
    }

    pub(super) async fn keep_schemas(&self, schemas: &[SchemaRecord]) -> Result<(), StoreError> {
        let texts: Result<Vec<String>, _> = schemas.iter().map(serde_json::to_string).collect();
        let texts = texts.map_err(|error| {
            StoreError::new(StoreErrorKind::Schema, "register", "a schema cannot be written as JSON").with_source(error)
        })?;
        self.step("register", async |conn| {
            // Only what is new is written: services register at every start.
            self.sql(
                "INSERT INTO outbox_schema AS known (event_type, version, schema) \
                 SELECT DISTINCT ON (t, v) t, v, s FROM unnest($1, $2, $3) AS u (t, v, s) ORDER BY t, v \
                 ON CONFLICT (event_type, version) DO UPDATE SET schema = excluded.schema \
                 WHERE known.schema <> excluded.schema",
            )
            .bind::<Array<Text>, _>(schemas.iter().map(|schema| &schema.event_type).collect::<Vec<_>>())
            .bind::<Array<Integer>, _>(schemas.iter().map(|schema| schema.version).collect::<Vec<_>>())
            .bind::<Array<Text>, _>(texts)
            .execute(conn)
            .await
        })
        .await?;
        Ok(())
    }

    pub(super) async fn known_schemas(&self) -> Result<Vec<SchemaRecord>, StoreError> {
        let rows: Vec<SchemaRow> = self
            .step("schemas", async |conn| {
                self.sql("SELECT schema FROM outbox_schema ORDER BY event_type, version").load(conn).await
            })
            .await?;
        let read = |row: SchemaRow| {
            serde_json::from_str(&row.schema).map_err(|error| {
                let message = "a registered schema is unreadable: was it written by a newer version? run that version";
                StoreError::new(StoreErrorKind::Schema, "schemas", message).with_source(error)
            })
        };
        rows.into_iter().map(read).collect()
    }
}
