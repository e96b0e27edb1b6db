//! For tests of an outbox: against the real thing, or in memory where the real thing cannot be made to fail on cue.
//!
//! - [`memory`]: a store and a sink in memory that keep the contract, fail when told to, and take their time from a clock
//!   that the test moves.
//! - [`conformance`]: the contracts of stores and sinks as suites, for those of your own, too.
//! - [`databases`]: a fresh database per test on the servers that `cargo xtask test` starts.
//! - [`servers`]: a server of the test's own, to kill and start again.
//! - [`proxy`]: a TCP proxy that refuses, swallows, cuts, or loses the reply.
//! - [`process`]: a child process whose output can be awaited.
//!
//! A test that finds no server fails and says what to run; nothing is skipped in silence. Nothing here waits for time to
//! pass: there is a signal for every step. Deadlines exist only to end a test that would hang.

#[allow(dead_code, unused_imports, reason = "xtask, which includes the same source, uses the rest")]
mod local;
mod setting;

pub mod conformance;
pub mod databases;
pub mod memory;
pub mod process;
pub mod proxy;
pub mod servers;

/// The page's code is compiled with the tests.
#[cfg(doctest)]
#[doc = include_str!("../../docs/adding-a-store.md")]
pub struct AddingAStore;
