//! The processes that are compared. Each says when it is ready, waits until it is told to begin, works until there is nothing
//! left, and says what it has done.

mod lease;
mod limits;
mod one_by_one;
mod relay;
mod rows;
mod skip_locked;

use std::sync::OnceLock;
use std::time::Instant;

use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use outbox::clickhouse::{ClickHouseSettings, ClickHouseSink};
use serde::{Deserialize, Serialize};

use crate::{Result, allocations};

pub(crate) use limits::{Limit, insert};
pub(crate) use relay::{Database, To};

/// What a child says on a line of its output.
pub(crate) const READY: &str = "ready";
pub(crate) const DONE: &str = "done ";

/// A ClickHouse database.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct At {
    pub(crate) url: String,
    pub(crate) database: String,
}

impl At {
    pub(crate) fn settings(&self) -> Result<ClickHouseSettings> {
        Ok(ClickHouseSettings::new().url(&self.url)?.database(&self.database).create_table(true))
    }

    pub(crate) fn sink(&self) -> Result<ClickHouseSink> {
        Ok(ClickHouseSink::new(self.settings()?))
    }

    /// The official client, which sends plain RowBinary. Not with its own connector: that one leaves Nagle's algorithm on, and an INSERT of
    /// a few rows then waits 40 ms.
    pub(crate) fn client(&self) -> clickhouse::Client {
        let mut connector = HttpConnector::new();
        connector.set_nodelay(true);
        let http = hyper_util::client::legacy::Client::builder(TokioExecutor::new()).build(connector);
        let client = clickhouse::Client::with_http_client(http).with_url(&self.url).with_database(&self.database);
        client
            .with_compression(clickhouse::Compression::None)
            .with_validation(false)
            .with_setting("async_insert", "0")
            // It wins over `insert_deduplicate`: without it a body that comes again is dropped.
            .with_setting("deduplicate_insert", "disable")
    }
}

/// What a process does.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) enum Role {
    /// The relay, until nothing is left.
    Relay { database: Database, prefix: String, route: String, rows: u32, workers: Option<u32>, to: To },
    /// `SELECT .. FOR UPDATE SKIP LOCKED`, a typed insert, `DELETE`.
    SkipLocked { url: String, rows: i64, to: Option<At> },
    /// A column that says until when a row is taken.
    Lease { url: String, rows: i64, to: Option<At> },
    /// One INSERT per event.
    OneByOne { url: String, to: At },
    /// Encodes events, and waits for nobody.
    Encode { events: u64 },
    /// What the machine can do at best.
    Limit { url: String, events: i64, rows: i64, limit: Limit, to: At },
}

/// What a process says at its end.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub(crate) struct Done {
    pub(crate) events: u64,
    pub(crate) seconds: f64,
    pub(crate) allocations: u64,
}

/// Plays the role that `json` describes.
pub(crate) async fn play(json: &str) -> Result<()> {
    let events = match serde_json::from_str(json)? {
        Role::Relay { database, prefix, route, rows, workers, to } => {
            relay::play(database, &prefix, &route, rows, workers, to).await?
        }
        Role::SkipLocked { url, rows, to } => skip_locked::play(&url, rows, to).await?,
        Role::Lease { url, rows, to } => lease::play(&url, rows, to).await?,
        Role::OneByOne { url, to } => one_by_one::play(&url, to).await?,
        Role::Encode { events } => return crate::figures::encode_events(events),
        Role::Limit { url, events, rows, limit, to } => limits::play(&url, events, rows, limit, to).await?,
    };
    let done = START.get().map(|start| Done {
        events,
        seconds: start.at.elapsed().as_secs_f64(),
        allocations: allocations::count() - start.allocations,
    });
    println!("{DONE}{}", serde_json::to_string(&done)?);
    // Until somebody has looked at what this process has used.
    told().await
}

/// When the work began, and what was allocated before.
struct Start {
    at: Instant,
    allocations: u64,
}

static START: OnceLock<Start> = OnceLock::new();

/// Says that everything is prepared, and waits for the start.
async fn go() -> Result<()> {
    println!("{READY}");
    told().await?;
    START.get_or_init(|| Start { at: Instant::now(), allocations: allocations::count() });
    Ok(())
}

async fn told() -> Result<()> {
    tokio::task::spawn_blocking(|| std::io::stdin().read_line(&mut String::new())).await??;
    Ok(())
}
