//! `outbox rebase`: recovers an outbox that was restored into another PostgreSQL cluster.

use std::io::Write;

use outbox_core::{VarError, Vars};
use outbox_diesel::Tables;
use outbox_diesel::postgres::PostgresStore;

use super::Failure;
use super::database::{Kind, database};

pub(super) async fn rebase(vars: &Vars, upgraded: bool) -> Result<(), Failure> {
    let (kind, url) = database(vars)?;
    if kind != Kind::Postgres {
        let message = "rebase is for PostgreSQL: another database's outbox survives a restore as it is";
        return Err(VarError::new("DATABASE_URL", message).into());
    }
    let store = PostgresStore::connect(&url).await?.with_tables(Tables::from_vars(vars)?);
    let offered = store.rebase(upgraded).await?;
    writeln!(std::io::stdout(), "the outbox belongs to this cluster now; {offered} events are offered once more")?;
    Ok(())
}
