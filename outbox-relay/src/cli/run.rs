//! `outbox run`: the relay, until it is told to stop.

use std::time::Duration;

use outbox_clickhouse::{ClickHouseSettings, ClickHouseSink};
use outbox_core::{Store, VarError, Vars};
use tokio::signal::unix::{SignalKind, signal};

use super::Failure;
use super::database::{is_behind_pooler, postgres, with_store};
use crate::{Relay, RelayBuilder, RelayOptions};

/// How long a stop may take unless `OUTBOX_STOP_GRACE` says otherwise.
const STOP_GRACE: Duration = Duration::from_secs(10);

pub(super) async fn run(vars: &Vars, once: bool) -> Result<(), Failure> {
    let options = RelayOptions::from_vars(vars)?;
    let settings = ClickHouseSettings::from_vars(vars)?;
    let grace = vars.parse::<humantime::Duration>("OUTBOX_STOP_GRACE")?.map_or(STOP_GRACE, Into::into);
    let sink = ClickHouseSink::new(settings);
    let listens = vars.parse("OUTBOX_LISTEN")?.unwrap_or(false);
    if listens && is_behind_pooler(vars)? {
        let problem = "a pooler in transaction mode passes no announcements on: leave it out, or OUTBOX_BEHIND_POOLER, and let \
                       DATABASE_URL name the server itself";
        return Err(VarError::new("OUTBOX_LISTEN", problem).into());
    }
    if listens {
        let store = postgres(vars, "OUTBOX_LISTEN").await?;
        let listening = store.listen();
        let builder = Relay::builder(store).wake_on(move || listening.notified());
        return relay(builder, sink, options, once, grace).await;
    }
    with_store!(vars, store => relay(Relay::builder(store), sink, options, once, grace).await)
}

async fn relay(
    builder: RelayBuilder<impl Store>,
    sink: ClickHouseSink,
    options: RelayOptions,
    once: bool,
    grace: Duration,
) -> Result<(), Failure> {
    // Before the start, so that a signal that comes early is not lost.
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    let builder = builder.sink(sink).options(options);
    let builder = if once { builder.once() } else { builder };
    let told = async {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
    };
    let mut told = std::pin::pin!(told);
    let mut relay = tokio::select! {
        started = builder.start() => started?,
        () = &mut told => return Ok(()),
    };
    let ended = tokio::select! {
        ended = relay.ended() => Some(ended),
        () = &mut told => None,
    };
    let stopped = match ended {
        Some(ended) => {
            ended?;
            relay.stop(grace).await?
        }
        None => {
            tracing::info!("stopping");
            // A second signal does not wait: the batch in flight comes again when its lease has run out.
            let mut again = signal(SignalKind::interrupt())?;
            tokio::select! {
                stopped = relay.stop(grace) => stopped?,
                _ = again.recv() => return Ok(()),
            }
        }
    };
    tracing::info!(
        delivered_events = stopped.delivered_events,
        settled_batches = stopped.settled_batches,
        resent_parts = stopped.resent_parts,
        held_events = stopped.held_events,
        failures = stopped.failures,
        "relay ended"
    );
    Ok(())
}
