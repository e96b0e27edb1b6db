//! `outbox routes`: which there are, and letting go of one.

use std::io::Write;

use clap::Subcommand;
use outbox_core::{Route, Store, Vars};

use super::Failure;
use super::database::with_store;

#[derive(Debug, Subcommand)]
pub(super) enum Verb {
    /// Show every route and what it has still to deliver.
    List {
        /// As JSON.
        #[arg(long)]
        json: bool,
    },
    /// Forget a route: what it has not delivered, it never will, and pruning waits for it no more.
    Remove {
        /// Its name.
        route: String,
        /// Remove it although it has events to deliver.
        #[arg(long)]
        force: bool,
    },
}

pub(super) async fn perform(vars: &Vars, verb: Verb) -> Result<(), Failure> {
    match verb {
        Verb::List { json } => super::status::status(vars, json).await,
        Verb::Remove { route, force } => with_store!(vars, store => remove(&store, &route, force).await),
    }
}

async fn remove(store: &impl Store, name: &str, force: bool) -> Result<(), Failure> {
    let status = store.status().await?;
    let Some(route) = status.routes.iter().find(|route| route.route == name) else {
        let known: Vec<&str> = status.routes.iter().map(|route| route.route.as_str()).collect();
        return Err(Failure::Failed(format!("there is no route `{name}`; there are: {}", known.join(", ")).into()));
    };
    let left = route.pending_events() + route.dead_events;
    if left > 0 && !force {
        let message =
            format!("route `{name}` has {left} events to deliver, which it would lose: say --force if that is meant");
        return Err(Failure::Failed(message.into()));
    }
    store.remove_route(&Route::new(name)).await?;
    writeln!(std::io::stdout(), "route {name} is removed, {left} events were not delivered")?;
    Ok(())
}
