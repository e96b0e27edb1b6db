//! The integration tests.

mod atomicity;
mod chaos;
mod command;
mod conformance;
mod delivery;
mod macros;
mod postgres;
mod ui;
mod world;
