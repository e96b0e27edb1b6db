//! What the hand-written deliverers share: reading a row of their queue, and ClickHouse's typed insert.

use chrono::{DateTime, Utc};
use clickhouse::{Client, Row};
use serde::Serialize;
use tokio_postgres::Row as PgRow;
use uuid::Uuid;

use super::At;
use crate::Result;
use crate::data::TABLE;

/// What is read, in the order in which [`Delivery::insert`] expects it.
pub(super) const COLUMNS: &str =
    "q.seq, q.id, q.event_type, q.occurred_at, q.environment, q.payload, q.version, q.key, q.headers";

#[derive(Row, Serialize)]
struct LogRow<'a> {
    #[serde(with = "clickhouse::serde::uuid")]
    event_id: Uuid,
    event_type: &'a str,
    event_date_time: i64,
    environment: &'a str,
    event_context: &'a str,
    metadata_version: i32,
    seq: i64,
    key: &'a str,
    headers: &'a str,
}

/// Where rows are delivered: nowhere, or to ClickHouse.
pub(super) struct Delivery(Option<Client>);

impl Delivery {
    pub(super) fn to(at: Option<At>) -> Self {
        Self(at.map(|at| at.client()))
    }

    /// One typed INSERT, as the client's documentation shows it.
    pub(super) async fn insert(&self, rows: &[PgRow]) -> Result<()> {
        let Some(client) = &self.0 else { return Ok(()) };
        let mut insert = client.insert::<LogRow<'_>>(TABLE).await?;
        for row in rows {
            let occurred_at: DateTime<Utc> = row.try_get(3)?;
            let log = LogRow {
                seq: row.try_get(0)?,
                event_id: row.try_get(1)?,
                event_type: row.try_get(2)?,
                event_date_time: occurred_at.timestamp_micros(),
                environment: row.try_get(4)?,
                event_context: row.try_get(5)?,
                metadata_version: row.try_get(6)?,
                key: row.try_get::<_, Option<&str>>(7)?.unwrap_or_default(),
                headers: row.try_get::<_, Option<&str>>(8)?.unwrap_or_default(),
            };
            insert.write(&log).await?;
        }
        Ok(insert.end().await?)
    }
}
