//! Which database `DATABASE_URL` names.

use outbox_core::{VarError, Vars};
use outbox_diesel::Tables;
use outbox_diesel::postgres::PostgresStore;

use super::Failure;

/// The databases that an outbox can live in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(super) enum Kind {
    /// PostgreSQL 13 or later.
    Postgres,
    /// MySQL 8.0.13 or later, or MariaDB 10.6 or later.
    #[value(name = "mysql")]
    MySql,
    /// A SQLite file.
    Sqlite,
}

const EXAMPLES: &str =
    "needs postgres://user:password@host/database, mysql://user:password@host/database or sqlite:///path/to/file.db";

/// The database's kind and URL. Errors never show the URL: it may hold a password.
pub(super) fn database(vars: &Vars) -> Result<(Kind, String), VarError> {
    let url =
        vars.text("DATABASE_URL").ok_or_else(|| VarError::new("DATABASE_URL", format!("is not set: it {EXAMPLES}")))?;
    let kind = match url.split_once("://").map(|(scheme, _)| scheme) {
        Some("postgres" | "postgresql") => Kind::Postgres,
        Some("mysql") => Kind::MySql,
        Some("sqlite") => Kind::Sqlite,
        Some(scheme) if scheme.chars().all(|c| c.is_ascii_alphanumeric()) => {
            return Err(VarError::new(
                "DATABASE_URL",
                format!("the outbox has no store for `{scheme}`: it {EXAMPLES}"),
            ));
        }
        _ => return Err(VarError::new("DATABASE_URL", EXAMPLES)),
    };
    Ok((kind, url.to_owned()))
}

/// The store, for what only PostgreSQL has.
pub(super) async fn postgres(vars: &Vars, what: &str) -> Result<PostgresStore, Failure> {
    let (kind, url) = database(vars)?;
    let tables = Tables::from_vars(vars)?;
    match kind {
        Kind::Postgres => reach_postgres(vars, &url, tables).await,
        _ => {
            Err(VarError::new("DATABASE_URL", format!("names no PostgreSQL, and {what} is for PostgreSQL only")).into())
        }
    }
}

/// The store over `url`, which answers.
pub(super) async fn reach_postgres(vars: &Vars, url: &str, tables: Tables) -> Result<PostgresStore, Failure> {
    let store = PostgresStore::new(url).with_tables(tables);
    let store = if is_behind_pooler(vars)? { store.behind_pooler() } else { store };
    store.reach().await?;
    Ok(store)
}

/// Whether a pooler in transaction mode lies between us and PostgreSQL.
pub(super) fn is_behind_pooler(vars: &Vars) -> Result<bool, VarError> {
    Ok(vars.parse("OUTBOX_BEHIND_POOLER")?.unwrap_or(false))
}

/// Does something with the store that the settings name. Stores are of different types, so it is written out once for each.
macro_rules! with_store {
    ($vars:expr, $store:ident => $then:expr) => {{
        let (kind, url) = $crate::cli::database::database($vars)?;
        let tables = outbox_diesel::Tables::from_vars($vars)?;
        match kind {
            $crate::cli::database::Kind::Postgres => {
                let $store = $crate::cli::database::reach_postgres($vars, &url, tables).await?;
                $then
            }
            $crate::cli::database::Kind::MySql => {
                let $store = outbox_diesel::mysql::MySqlStore::connect(&url).await?.with_tables(tables);
                $then
            }
            $crate::cli::database::Kind::Sqlite => {
                let $store = outbox_diesel::sqlite::SqliteStore::new(&url).with_tables(tables);
                $then
            }
        }
    }};
}
pub(super) use with_store;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_scheme_names_the_database() {
        for (url, kind) in [
            ("postgres://a@b/c", Kind::Postgres),
            ("postgresql://a@b/c", Kind::Postgres),
            ("mysql://a@b/c", Kind::MySql),
            ("sqlite:///tmp/a.db", Kind::Sqlite),
        ] {
            assert_eq!(database(&Vars::new([("DATABASE_URL", url)])), Ok((kind, url.to_owned())));
        }
    }

    #[test]
    fn what_is_wrong_names_the_variable_and_shows_no_password() {
        for url in ["", "oracle://root:hunter2@host/db", "hunter2", "host:hunter2@x://"] {
            let refused = database(&Vars::new([("DATABASE_URL", url)])).expect_err(url);
            assert_eq!(refused.name(), "DATABASE_URL");
            assert!(!refused.to_string().contains("hunter2"), "{refused}");
        }
    }
}
