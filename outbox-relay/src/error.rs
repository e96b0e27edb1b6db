//! Why a relay did not start, or ended.

use outbox_core::{SinkError, StoreError, VarError};

/// A relay did not start, or `once` could not deliver everything. Nothing is lost: the events wait in the outbox.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RelayError {
    /// A setting is wrong.
    #[error("setting {0}")]
    Setting(#[from] VarError),
    /// The builder was given no sink.
    #[error("the relay has no sink: give the builder one with `.sink(..)`")]
    NoSink,
    /// The outbox's database is not ready.
    #[error("the outbox is not ready: {0}")]
    Store(#[source] StoreError),
    /// The destination is not ready.
    #[error("the destination is not ready: {0}")]
    Sink(#[source] SinkError),
    /// A run with `once` ended before everything was delivered.
    #[error("not everything is delivered: {0}")]
    Undelivered(String),
    /// A worker died, which is a bug of ours or of the sink's.
    #[error("a worker of the relay panicked")]
    Panicked(#[source] tokio::task::JoinError),
}
