//! The outbox in a SQLite file: one writer at a time, so the order of the rows is the order of the commits, and a batch
//! is a range of row numbers.

mod connection;
mod cut;
mod rows;
mod setup;
mod store;

pub use setup::MIGRATIONS;
pub use store::SqliteStore;
