//! `outbox migrate`: installs the tables, or prints their SQL.

use std::io::Write;

use outbox_core::{Store, Vars};
use outbox_diesel::postgres::{self, PostgresStore};
use outbox_diesel::sqlite::{self, SqliteStore};

use super::Failure;
use super::database::{Kind, database};

pub(super) async fn migrate(vars: &Vars) -> Result<(), Failure> {
    let (kind, url) = database(vars)?;
    match kind {
        Kind::Postgres => PostgresStore::connect(&url).await?.setup().await?,
        Kind::Sqlite => SqliteStore::new(&url).setup().await?,
    }
    writeln!(std::io::stdout(), "the outbox tables are ready")?;
    Ok(())
}

pub(super) fn print(vars: &Vars, kind: Option<Kind>) -> Result<(), Failure> {
    let kind = match kind {
        Some(kind) => kind,
        None => database(vars)?.0,
    };
    let migrations = match kind {
        Kind::Postgres => postgres::MIGRATIONS,
        Kind::Sqlite => sqlite::MIGRATIONS,
    };
    let mut out = std::io::stdout().lock();
    for migration in migrations {
        writeln!(out, "{migration}")?;
    }
    Ok(())
}
