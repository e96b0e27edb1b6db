//! The integration tests.

mod atomicity;
mod chaos;
mod command;
mod conformance;
mod delivery;
mod demo;
mod faults;
mod macros;
mod mysql;
mod postgres;
mod sinks;
mod sqlite;
mod tap;
mod ui;
mod world;
