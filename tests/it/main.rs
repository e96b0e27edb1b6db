//! The integration tests.

mod atomicity;
mod chaos;
mod command;
mod conformance;
mod delivery;
mod demo;
mod every_store;
mod faults;
mod headers;
mod macros;
mod mysql;
mod postgres;
mod secrets;
mod sinks;
mod sqlite;
mod tap;
mod ui;
mod world;
