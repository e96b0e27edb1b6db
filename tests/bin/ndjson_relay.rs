//! A relay with the sink of `examples/ndjson`, until it is killed. `ndjson_relay DATABASE DIRECTORY [--once]`

#![allow(
    unreachable_pub,
    missing_docs,
    dead_code,
    reason = "a program has no outside, and an example has more than it needs"
)]

#[path = "../../examples/ndjson/sink/mod.rs"]
mod sink;

use std::time::Duration;

use outbox::Relay;
use outbox::sqlite::SqliteStore;

/// Small, so that many files come and go.
const FILE_BYTES: u64 = 20_000;

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [database, directory, rest @ ..] = &arguments[..] else { return Err("which database and directory?".into()) };
    let sink = sink::NdjsonSink::with_file_bytes(directory, FILE_BYTES);
    let relay = Relay::builder(SqliteStore::new(database)).sink(sink).linger(Duration::ZERO);
    let relay = relay.batch_rows(10).batch_rows_max(20).workers(2).lease(Duration::from_secs(1));
    let relay = relay.retry(Duration::from_millis(5), Duration::from_millis(50));
    let mut relay = if rest.is_empty() { relay } else { relay.once() }.start().await?;
    Ok(relay.ended().await?)
}
