//! A relay that kills itself at the step named by its argument.

#![allow(clippy::expect_used, reason = "a helper of tests")]

use std::error::Error;
use std::time::Duration;

use outbox::clickhouse::{ClickHouseSettings, ClickHouseSink};
use outbox::mysql::MySqlStore;
use outbox::postgres::PostgresStore;
use outbox::sqlite::SqliteStore;
use outbox::{Relay, RelayOptions, Store, Vars};
use outbox_tests::crash::{Crashing, Step, is_away};
use tokio::time::{Instant, sleep};

/// How long ClickHouse may take to come back after the kill before, with which it may have aborted.
const BACK_WITHIN: Duration = Duration::from_secs(90);
/// Between two tries to start.
const AGAIN: Duration = Duration::from_millis(100);

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let step: Step = std::env::args().nth(1).expect("a step").parse()?;
    let vars = Vars::from_process();
    let url = vars.text("DATABASE_URL").expect("DATABASE_URL");
    let sink = Crashing::new(ClickHouseSink::new(ClickHouseSettings::from_vars(&vars)?), step);
    let options = RelayOptions::from_vars(&vars)?;
    match url.split_once("://").map(|(scheme, _)| scheme) {
        Some("sqlite") => run(SqliteStore::new(url), sink, options, step).await,
        Some("mysql") => run(MySqlStore::connect(url).await?, sink, options, step).await,
        _ => run(PostgresStore::connect(url).await?, sink, options, step).await,
    }
}

async fn run(
    store: impl Store,
    sink: Crashing<ClickHouseSink>,
    options: RelayOptions,
    step: Step,
) -> Result<(), Box<dyn Error>> {
    let started = Instant::now();
    let mut relay = loop {
        let relay = Relay::builder(Crashing::new(store.clone(), step)).sink(sink.clone()).options(options.clone());
        match relay.linger(Duration::ZERO).start().await {
            Err(error) if is_away(&error) && started.elapsed() < BACK_WITHIN => sleep(AGAIN).await,
            started => break started?,
        }
    };
    relay.ended().await?;
    Ok(())
}
