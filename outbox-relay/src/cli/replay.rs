//! `outbox replay`: delivers events once more that are still kept.

use std::io::Write;

use chrono::{DateTime, Utc};
use clap::Args;
use outbox_core::{ReplayRequest, Route, Store, Vars};

use super::Failure;
use super::database::with_store;
use crate::RelayOptions;

#[derive(Debug, Args)]
pub(super) struct Arguments {
    /// Events written at this time or later, by the database's clock: 2026-11-25T10:00:00Z.
    #[arg(long)]
    from: DateTime<Utc>,
    /// Events written before this time.
    #[arg(long)]
    to: DateTime<Utc>,
    /// The route that delivers them. Default: `OUTBOX_ROUTE`, or main.
    #[arg(long)]
    route: Option<String>,
    /// Send all of them. Otherwise the sink looks first, and what is at the destination is not sent again.
    #[arg(long)]
    all: bool,
}

pub(super) async fn replay(vars: &Vars, arguments: &Arguments) -> Result<(), Failure> {
    let options = RelayOptions::from_vars(vars)?;
    let route = arguments.route.as_deref().map_or(options.route, Route::new);
    let request = ReplayRequest {
        route,
        from: arguments.from,
        to: arguments.to,
        all: arguments.all,
        rows_max: options.batch_rows_max,
        bytes_max: options.batch_bytes_max,
    };
    let sealed = with_store!(vars, store => store.replay(&request).await?);
    let (rows, batches, passed_over) = (sealed.rows, sealed.batches, sealed.passed_over);
    let mut out = std::io::stdout();
    writeln!(out, "{rows} events in {batches} batches are delivered once more by the relay of this route")?;
    if passed_over > 0 {
        writeln!(out, "{passed_over} events are passed over: they are on their way, or held (`outbox held`)")?;
    }
    Ok(())
}
