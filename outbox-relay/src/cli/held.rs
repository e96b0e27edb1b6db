//! `outbox held`: what was put aside, why, and what becomes of it.

use std::io::Write;

use clap::Subcommand;
use outbox_core::{BatchId, HeldBatch, Store, Vars};

use super::Failure;
use super::database::with_store;

#[derive(Debug, Subcommand)]
pub(super) enum Verb {
    /// Show the held batches, oldest first.
    List {
        /// As JSON, one batch a line.
        #[arg(long)]
        json: bool,
        /// How many at most.
        #[arg(long, default_value_t = 100)]
        limit: u32,
    },
    /// Show the events of one, with their payloads.
    Show {
        /// Its number.
        batch: i64,
    },
    /// Let one be tried now. What is parked comes again by itself; what is dead only this way.
    Retry {
        /// Its number.
        batch: i64,
    },
    /// Delete one with its events, for ever.
    Discard {
        /// Its number.
        batch: i64,
    },
}

pub(super) async fn perform(vars: &Vars, verb: Verb) -> Result<(), Failure> {
    with_store!(vars, store => on(&store, verb).await)
}

async fn on(store: &impl Store, verb: Verb) -> Result<(), Failure> {
    let mut out = std::io::stdout().lock();
    match verb {
        Verb::List { json, limit } => {
            let held = store.held(limit).await?;
            if held.is_empty() && !json {
                writeln!(out, "nothing is held")?;
            }
            for batch in &held {
                let line = if json { serde_json::to_string(batch).map_err(failed)? } else { line(batch) };
                writeln!(out, "{line}")?;
            }
        }
        Verb::Show { batch } => {
            let Some(events) = store.held_events(BatchId(batch)).await? else { return Err(none(batch)) };
            for stored in events {
                let event = stored.event;
                writeln!(
                    out,
                    "{} seq {} {} v{} {} {}",
                    event.id,
                    stored.seq,
                    event.event_type,
                    event.version,
                    event.occurred_at.to_rfc3339(),
                    event.payload
                )?;
            }
        }
        Verb::Retry { batch } => match store.retry_held(BatchId(batch)).await? {
            true => writeln!(out, "batch {batch} is tried at the relay's next look")?,
            false => return Err(none(batch)),
        },
        Verb::Discard { batch } => match store.discard_held(BatchId(batch)).await? {
            true => writeln!(out, "batch {batch} is discarded")?,
            false => return Err(none(batch)),
        },
    }
    Ok(())
}

fn failed(error: serde_json::Error) -> Failure {
    Failure::Failed(error.into())
}

fn none(batch: i64) -> Failure {
    Failure::Failed(format!("there is no held batch {batch}, or a relay is delivering it right now").into())
}

fn line(batch: &HeldBatch) -> String {
    let state = if batch.dead { "dead" } else { "parked" };
    let code = batch.code.map(|code| format!(" (code {code})")).unwrap_or_default();
    format!(
        "batch {} {state}: route {}, table {}, {} events, {} bytes, {} attempts, since {}: {}{code}",
        batch.batch,
        batch.route,
        if batch.table.is_empty() { "-" } else { &batch.table },
        batch.events,
        batch.bytes,
        batch.attempts,
        batch.held_at.to_rfc3339_opts(chrono::SecondsFormat::Secs, true),
        batch.error
    )
}
