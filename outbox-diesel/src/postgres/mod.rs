//! The outbox on PostgreSQL: batches sealed by comparing snapshots, over an insert-only ring of partitions.
//!
//! The work is done by SQL functions that [`MIGRATIONS`] installs; this module calls them and turns rows into the
//! contract's types. It never updates or deletes an event row.

mod claiming;
mod connections;
mod error;
mod event;
mod floors;
mod freezing;
mod holding;
mod notify;
mod opened;
mod operating;
mod pooler;
mod prepared;
mod read;
mod rows;
mod setup;
mod store;

pub use notify::{Announcing, Listening};
pub use pooler::{behind_pooler, connect_behind_pooler};
pub use setup::{MIGRATIONS, migrations};
pub use store::PostgresStore;
