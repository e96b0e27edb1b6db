//! `outbox migrate`: installs the tables, or prints their SQL.

use std::io::Write;

use outbox_core::{Store, Vars};
use outbox_diesel::{Tables, mysql, postgres, sqlite};

use super::Failure;
use super::database::{Kind, database, with_store};

pub(super) async fn migrate(vars: &Vars) -> Result<(), Failure> {
    with_store!(vars, store => store.setup().await?);
    writeln!(std::io::stdout(), "the outbox tables are ready")?;
    Ok(())
}

pub(super) fn print(vars: &Vars, kind: Option<Kind>) -> Result<(), Failure> {
    let kind = match kind {
        Some(kind) => kind,
        None => database(vars)?.0,
    };
    let tables = Tables::from_vars(vars)?;
    let migrations = match kind {
        Kind::Postgres => postgres::migrations(&tables),
        Kind::MySql => mysql::migrations(&tables),
        Kind::Sqlite => sqlite::migrations(&tables),
    };
    let mut out = std::io::stdout().lock();
    for migration in migrations {
        writeln!(out, "{migration}")?;
    }
    Ok(())
}
