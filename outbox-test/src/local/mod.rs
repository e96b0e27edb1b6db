//! Starting and stopping the servers that tests need, from programs on this machine.
//!
//! Shared by source with `xtask`, which starts the servers that all tests use: hence only the standard library, and
//! nothing that waits on a runtime. It never looks for programs; the caller knows where they are.

mod clickhouse;
mod dir;
mod held;
mod http;
mod mariadb;
mod pgbouncer;
mod port;
mod postgres;

use std::io;
use std::process::ExitStatus;
use std::time::Duration;

pub(crate) use clickhouse::{CLUSTER, ClickHouse, ClickHousePrograms, Config, READER, WRITER};
pub(crate) use dir::{NOBODY, ServerDir, is_root};
pub(crate) use held::{Held, tail, wait_ready};
pub(crate) use http::Endpoint;
pub(crate) use mariadb::{MariaDb, MariaDbPrograms};
pub(crate) use pgbouncer::{PgBouncer, PgBouncerPrograms};
pub(crate) use port::free_port;
pub(crate) use postgres::{Durability, Postgres, PostgresPrograms};

/// A server could not be started, or did not do as it was asked.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    #[error("{what}: {source}")]
    Io { what: String, source: io::Error },
    #[error("{server} ended before it was ready ({status}); its log ends with:\n{log}")]
    Ended { server: &'static str, status: ExitStatus, log: String },
    #[error("{server} answered no query within {} s; its log ends with:\n{log}", waited.as_secs())]
    NotReady { server: &'static str, waited: Duration, log: String },
    #[error("{program} failed ({status}): {output}")]
    Program { program: String, status: ExitStatus, output: String },
    #[error("{url} is no URL of a ClickHouse HTTP interface: expected http://[user:password@]host:port")]
    Url { url: String },
    #[error("ClickHouse cannot be reached: {source}")]
    Unreachable { source: Box<ureq::Error> },
    #[error("ClickHouse refused a query: {message}")]
    Refused { message: String },
}

impl Error {
    /// Nobody listens there: nothing was sent.
    pub(crate) fn is_refused_connection(&self) -> bool {
        match self {
            Self::Unreachable { source } => match source.as_ref() {
                ureq::Error::ConnectionFailed => true,
                ureq::Error::Io(error) => error.kind() == io::ErrorKind::ConnectionRefused,
                _ => false,
            },
            _ => false,
        }
    }

    /// A server that is on its way down or up again, and a statement that it has not run, or that only reads.
    pub(crate) fn may_be_asked_again(&self, sql: &str) -> bool {
        let only_reads = || ["SELECT", "EXISTS", "SHOW"].iter().any(|verb| sql.trim_start().starts_with(verb));
        match self {
            Self::Unreachable { .. } => self.is_refused_connection() || only_reads(),
            Self::Refused { message } => message.contains("Code: 236") && message.contains("shutting down"),
            _ => false,
        }
    }

    pub(crate) fn io(what: impl Into<String>) -> impl FnOnce(io::Error) -> Self {
        let what = what.into();
        move |source| Self::Io { what, source }
    }
}
