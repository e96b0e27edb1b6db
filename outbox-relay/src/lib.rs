//! The relay: seals what is committed in an outbox into batches and delivers them through a sink.
//!
//! [`Relay`] is the library, to be started inside a service or by the `outbox` command. What it decides is in one pure
//! state machine (`machine`), what it does in one loop (`worker`). It knows no database and no destination: those come as
//! a [`Store`](outbox_core::Store) and a [`Sink`](outbox_core::Sink).

#[cfg(feature = "cli")]
pub mod cli;
mod clock;
mod error;
mod limits;
mod machine;
mod options;
mod relay;
#[cfg(test)]
mod simulation;
mod stats;
mod worker;

pub use clock::BootClock;
pub use error::RelayError;
pub use limits::{Limits, OnFull};
pub use options::{BATCH_BYTES_MAX, BATCH_ROWS_MAX, LEASE_MAX, LEASE_MIN, RelayOptions, WAIT_MAX, WORKERS_MAX};
pub use relay::{Grace, Relay, RelayBuilder};
pub use stats::Stats;
