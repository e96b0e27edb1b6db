//! The relay of this project, until nothing is left.

use std::time::Duration;

use outbox::mysql::MySqlStore;
use outbox::postgres::PostgresStore;
use outbox::sqlite::SqliteStore;
use outbox::{Grace, Part, Relay, Sink, SinkError, Store, Tables};
use serde::{Deserialize, Serialize};

use super::{At, go};
use crate::Result;

/// Where the events are.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) enum Database {
    Postgres(String),
    MySql(String),
    Sqlite(String),
}

/// Where they go.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) enum To {
    /// A sink that does nothing.
    Nothing,
    ClickHouse(At),
}

struct Nothing;

impl Sink for Nothing {
    async fn deliver(&self, _: &Part) -> std::result::Result<(), SinkError> {
        Ok(())
    }
}

pub(super) async fn play(
    database: Database,
    prefix: &str,
    route: &str,
    rows: u32,
    workers: Option<u32>,
    to: To,
) -> Result<u64> {
    let tables = Tables::new().with_prefix(prefix)?;
    match database {
        Database::Postgres(url) => {
            drain(PostgresStore::connect(&url).await?.with_tables(tables), route, rows, workers, to).await
        }
        Database::MySql(url) => {
            drain(MySqlStore::connect(&url).await?.with_tables(tables), route, rows, workers, to).await
        }
        Database::Sqlite(url) => drain(SqliteStore::new(&url).with_tables(tables), route, rows, workers, to).await,
    }
}

async fn drain(store: impl Store, route: &str, rows: u32, workers: Option<u32>, to: To) -> Result<u64> {
    let relay = Relay::builder(store)
        .route(route)
        .batch_rows(rows.min(100))
        .batch_rows_max(rows)
        .batch_bytes_max(64 << 20)
        .once();
    let relay = match workers {
        Some(workers) => relay.workers(workers),
        None => relay,
    };
    let relay = match to {
        To::Nothing => relay.sink(Nothing),
        To::ClickHouse(at) => relay.sink(at.sink()?),
    };
    go().await?;
    let mut relay = relay.start().await?;
    relay.ended().await?;
    Ok(relay.stop(Grace::from(Duration::ZERO)).await?.delivered_events)
}
