//! The integration tests.

mod atomicity;
mod command;
mod delivery;
mod macros;
mod ui;
mod world;
