//! A relay that kills itself at the step named by its argument.

#![allow(clippy::expect_used, reason = "a helper of tests")]

use std::error::Error;
use std::time::Duration;

use outbox::clickhouse::{ClickHouseSettings, ClickHouseSink};
use outbox::mysql::MySqlStore;
use outbox::postgres::PostgresStore;
use outbox::sqlite::SqliteStore;
use outbox::{Relay, RelayOptions, Store, Vars};
use outbox_tests::crash::{Crashing, Step};

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
    let mut relay =
        Relay::builder(Crashing::new(store, step)).sink(sink).options(options).linger(Duration::ZERO).start().await?;
    relay.ended().await?;
    Ok(())
}
