//! `outbox rebase`: recovers an outbox that was restored into another PostgreSQL cluster.

use std::io::Write;

use outbox_core::Vars;

use super::Failure;
use super::database::postgres;

pub(super) async fn rebase(vars: &Vars, upgraded: bool) -> Result<(), Failure> {
    // Another database's outbox survives a restore as it is.
    let store = postgres(vars, "rebase").await?;
    let offered = store.rebase(upgraded).await?;
    writeln!(std::io::stdout(), "the outbox belongs to this cluster now; {offered} events are offered once more")?;
    Ok(())
}
