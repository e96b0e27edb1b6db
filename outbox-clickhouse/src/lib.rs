//! The ClickHouse side of the outbox: [`ClickHouseSink`] delivers parts exactly once, [`EventLogRow`] reads events back.
//!
//! * **Exactly once** rests on three legs: the identical INSERT under the identical token, a deduplication window on the table
//!   and on everything that materialized views fill from it, and `event_id` to read back by where a token is no proof. The
//!   start-up check refuses a table that lacks one, with the statement that adds it.
//! * **Settings** come from the environment, each from its own variable: [`ClickHouseSettings::from_vars`].
//! * **Payloads** never show in errors or logs of this crate. The `clickhouse` crate logs a server's error text at level
//!   `debug`, and ClickHouse quotes rows there: keep its target `clickhouse` at `info` or above.
//!
//! What happens after a crash is told in the private module `recover`. Not here: when to try again, and which events make a
//! batch (the relay).

mod check;
mod classify;
mod columns;
mod ddl;
mod definition;
mod deliver;
mod digest;
mod divide;
mod encode;
mod ensure;
mod error;
mod freeze;
mod guard;
mod hosts;
mod known;
mod look;
mod observe;
mod partition;
mod recover;
mod report;
mod row;
mod schemas;
mod send;
mod server;
mod settings;
mod shape;
mod sink;
mod sql;
mod start;
mod statement;
mod tls;
mod types;
mod views;
mod volatile;

pub use ddl::create_table_sql;
pub use report::{Drift, Finding, Severity, TableReport};
pub use row::EventLogRow;
pub use settings::{ClickHouseSettings, Compression, Delivery, EnsureTable};
pub use sink::ClickHouseSink;
pub use sql::TableName;
