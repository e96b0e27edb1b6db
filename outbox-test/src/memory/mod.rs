//! An outbox without a database and a destination without a server, for tests of a service's own events and for the
//! relay's simulation.
//!
//! [`MemoryStore`] keeps the contract of [`Store`](outbox_core::Store) and [`MemorySink`] the one of
//! [`Sink`](outbox_core::Sink), exactly once, the way ClickHouse does it: by tokens, and by reading back after a restart.
//! Both fail when they are told to. Time comes from the [`Clock`](outbox_core::Clock) that the store is given:
//! [`ManualClock`] moves when the test says so, [`TokioClock`] follows tokio's, which a test can pause.
//!
//! They leave out what only a real database can show: isolation, durability, speed.
//!
//! # Examples
//! ```
//! use std::time::Duration;
//!
//! use outbox_core::{EncodeError, EventLog, PlanRequest, Route, RouteSpec, Store};
//! use outbox_test::memory::{ManualClock, MemoryStore};
//! use uuid::Uuid;
//!
//! struct Seen;
//! impl EventLog for Seen {
//!     fn event_type(&self) -> &str { "seen" }
//!     fn payload(&self) -> Result<String, EncodeError> { Ok("{}".into()) }
//! }
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let clock = ManualClock::new();
//! let store = MemoryStore::new(clock.clone());
//! let (route, lease) = (Route::default(), Duration::from_secs(30));
//! store.open(&RouteSpec::new(route.clone())).await?;
//! let id = store.emit(&Seen)?;
//!
//! let all = PlanRequest { route: route.clone(), rows: 1, linger: Duration::ZERO, rows_max: 10, bytes_max: 1000, batches_max: 1 };
//! store.plan(&all).await?;
//! let claim = store.claim(&route, Uuid::new_v4(), lease).await?.ok_or("a batch")?;
//! assert_eq!(store.read(&claim).await?[0].event.id, id);
//! assert!(store.claim(&route, Uuid::new_v4(), lease).await?.is_none(), "it is under a lease");
//!
//! clock.advance(lease);
//! assert!(store.claim(&route, Uuid::new_v4(), lease).await?.is_some());
//! assert!(store.settle(&claim).await.is_err(), "the lease went to somebody else");
//! # Ok(())
//! # }
//! ```

mod batches;
mod clock;
mod destination;
mod inspect;
mod sink;
mod state;
mod store;
mod tx;

pub use clock::{ManualClock, TokioClock};
pub use destination::{Kept, MemoryRow};
pub use inspect::{Lease, SealedBatch};
pub use sink::{MemorySink, SinkFault};
pub use store::{MemoryStore, StoreFault};
pub use tx::MemoryTx;

#[cfg(test)]
mod tests;
