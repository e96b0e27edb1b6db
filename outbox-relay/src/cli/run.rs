//! `outbox run`: the relay, until it is told to stop.

use std::time::Duration;

use outbox_clickhouse::{ClickHouseSettings, ClickHouseSink};
use outbox_core::{Store, Vars};
use outbox_diesel::postgres::PostgresStore;
use outbox_diesel::sqlite::SqliteStore;
use tokio::signal::unix::{SignalKind, signal};

use super::Failure;
use super::database::{Kind, database};
use crate::{Relay, RelayOptions};

/// How long a stop may take unless `OUTBOX_STOP_GRACE` says otherwise.
const STOP_GRACE: Duration = Duration::from_secs(10);

pub(super) async fn run(vars: &Vars, once: bool) -> Result<(), Failure> {
    let options = RelayOptions::from_vars(vars)?;
    let settings = ClickHouseSettings::from_vars(vars)?;
    let grace = vars.parse::<humantime::Duration>("OUTBOX_STOP_GRACE")?.map_or(STOP_GRACE, Into::into);
    let (kind, url) = database(vars)?;
    let sink = ClickHouseSink::new(settings);
    match kind {
        Kind::Postgres => relay(PostgresStore::connect(&url).await?, sink, options, once, grace).await,
        Kind::Sqlite => relay(SqliteStore::new(&url), sink, options, once, grace).await,
    }
}

async fn relay(
    store: impl Store,
    sink: ClickHouseSink,
    options: RelayOptions,
    once: bool,
    grace: Duration,
) -> Result<(), Failure> {
    // Before the start, so that a signal that comes early is not lost.
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    let builder = Relay::builder(store).sink(sink).options(options);
    let builder = if once { builder.once() } else { builder };
    let mut relay = builder.start().await?;
    let ended = tokio::select! {
        ended = relay.ended() => Some(ended),
        _ = terminate.recv() => None,
        _ = interrupt.recv() => None,
    };
    let stats = relay.stats();
    match ended {
        Some(ended) => ended?,
        None => {
            tracing::info!("stopping");
            tokio::select! {
                stopped = relay.stop(grace) => stopped?,
                // A second ^C does not wait: the batch in flight comes again when its lease has run out.
                _ = interrupt.recv() => {}
            }
        }
    }
    tracing::info!(
        delivered_events = stats.delivered_events,
        settled_batches = stats.settled_batches,
        resent_parts = stats.resent_parts,
        failures = stats.failures,
        "relay ended"
    );
    Ok(())
}
