//! The outbox over Diesel: emitting events inside the caller's transaction, and the stores that a relay reads.
//!
//! An event is a row in the service's own database, inserted by [`sync::Emit`] or [`aio::Emit`] on the connection, and in
//! the transaction, of the business write. The guards [`sync::Tx`] and [`aio::Tx`], to which `#[transactional_event]`
//! expands, and [`sync::transaction`] and [`aio::transaction`], never say `Ok` when COMMIT kept nothing.
//!
//! What differs between databases is data in one place, [`OutboxBackend`]; everything else is generic over it. The
//! async twins hold only the awaiting.

pub mod aio;
mod backend;
#[cfg(any(feature = "mysql", feature = "sqlite"))]
mod cut;
mod environment;
mod error;
mod full;
pub mod headers;
mod insert;
#[cfg(feature = "mysql")]
pub mod mysql;
#[cfg(any(feature = "postgres", feature = "mysql", feature = "sqlite"))]
mod names;
mod nesting;
mod options;
#[cfg(any(feature = "postgres", feature = "mysql", feature = "sqlite"))]
mod ordinals;
mod outcome;
#[cfg(any(feature = "postgres", feature = "mysql", feature = "sqlite"))]
mod parts;
#[cfg(feature = "postgres")]
pub mod postgres;
#[cfg(any(feature = "postgres", feature = "mysql", feature = "sqlite"))]
mod reason;
mod retry;
#[cfg(any(feature = "mysql", feature = "sqlite"))]
mod rows;
#[cfg(feature = "sqlite")]
pub mod sqlite;
#[cfg(any(feature = "postgres", feature = "mysql", feature = "sqlite"))]
mod status;
pub mod sync;
mod tables;
mod transient;
pub mod wake;

pub use backend::OutboxBackend;
pub use environment::{environment, set_environment};
pub use error::{EnvironmentError, NoConnection, OutboxFull, UnsupportedOption, is_outbox_full};
pub use options::{Isolation, Nested, RETRIES_MAX, TxOptions};
pub use outcome::Outcome;
pub use tables::{Tables, set_tables, tables};
pub use transient::{TransientError, is_transient};

/// What the macros expand to. Not for other use: it changes without notice.
#[doc(hidden)]
pub mod __private {
    pub use chrono::{DateTime, Utc};
    pub use std::time::Duration;

    pub use crate::options::{Isolation, Nested, TxOptions};
    pub use crate::outcome::{Repeatable, pinned};
    pub use crate::retry::Next;
    pub use crate::transient::probe;
    pub use serde::Serialize;
    pub use std::string::{String, ToString};
}
