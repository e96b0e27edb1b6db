//! What differs between the databases: how rows are written, and what a transaction needs besides BEGIN and COMMIT.

#[cfg(any(feature = "mysql", feature = "sqlite"))]
mod held;
#[cfg(any(feature = "mysql", feature = "mysql-sync"))]
mod mysql;
#[cfg(any(feature = "postgres", feature = "postgres-sync"))]
mod postgres;
#[cfg(feature = "sqlite")]
mod sqlite;
#[cfg(any(
    feature = "postgres",
    feature = "postgres-sync",
    feature = "mysql",
    feature = "mysql-sync",
    feature = "sqlite"
))]
mod texts;
#[cfg(any(feature = "mysql", feature = "mysql-sync", feature = "sqlite"))]
mod values;

use std::borrow::Cow;

use diesel::QueryResult;
use diesel::backend::Backend;
use diesel::query_builder::AstPass;
use diesel::result::Error;
use outbox_core::Event;

#[cfg(any(feature = "mysql", feature = "sqlite"))]
pub(crate) use self::held::InsertHeld;
use crate::options::TxOptions;
use crate::tables::{Tables, tables};

/// A database that holds an outbox: `Pg` with the feature `postgres` (or `postgres-sync`), `Mysql` with `mysql` (or
/// `mysql-sync`), `Sqlite` with `sqlite`.
///
/// Sealed: the stores know every implementation.
#[diagnostic::on_unimplemented(
    message = "outbox does not support the database `{Self}`",
    label = "expected `diesel::pg::Pg`, `diesel::mysql::Mysql` or `diesel::sqlite::Sqlite`",
    note = "each is behind a feature of its own: `postgres`, `mysql`, `sqlite`"
)]
pub trait OutboxBackend: Backend + sealed::Sealed {
    /// Events in the shape in which this database takes them.
    #[doc(hidden)]
    type Rows: Send + 'static;

    #[doc(hidden)]
    const DIALECT: Dialect;

    #[doc(hidden)]
    fn rows(events: Vec<Event>) -> Self::Rows;

    /// Writes the INSERT of these rows, in their order.
    #[doc(hidden)]
    fn walk<'b>(rows: &'b Self::Rows, pass: AstPass<'_, 'b, Self>) -> QueryResult<()>;
}

/// A database's peculiarities, as data.
#[doc(hidden)]
#[derive(Clone, Copy, Debug)]
pub struct Dialect {
    /// Opens the outermost transaction, in one message.
    pub begin: fn(&TxOptions) -> QueryResult<Cow<'static, str>>,
    /// Commits it, in one message. Where it fails the transaction may still be open.
    pub commit: fn(&TxOptions) -> &'static str,
    /// Ends it whatever its state, in one message.
    pub rollback: fn(&TxOptions) -> &'static str,
    /// Whether [`begin`](Self::begin) is several statements, so that a failure of it needs a rollback.
    pub begin_needs_undo: bool,
    /// In the text of the error of a ROLLBACK when nothing is open.
    pub nothing_open: Option<&'static str>,
    /// Run before an INSERT that cannot look by itself whether the outbox is full: it fails then, with [`full_error`](Self::full_error) in
    /// the error's text.
    pub full_check: Option<&'static str>,
    /// See [`full_check`](Self::full_check).
    pub full_error: &'static str,
    /// The most rows in one INSERT.
    pub statement_rows_max: usize,
    /// One INSERT is closed when its events reach this size.
    pub statement_bytes_max: usize,
}

/// The tables that this process emits to.
pub(crate) fn process_tables() -> QueryResult<&'static Tables> {
    tables().map_err(|error| Error::QueryBuilderError(Box::new(error)))
}

mod sealed {
    pub trait Sealed {}
    #[cfg(any(feature = "postgres", feature = "postgres-sync"))]
    impl Sealed for diesel::pg::Pg {}
    #[cfg(any(feature = "mysql", feature = "mysql-sync"))]
    impl Sealed for diesel::mysql::Mysql {}
    #[cfg(feature = "sqlite")]
    impl Sealed for diesel::sqlite::Sqlite {}
}
