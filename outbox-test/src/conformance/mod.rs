//! The contracts as test suites, for every store and every sink: ours run them, and so can one of your own.
//!
//! A suite asks for a harness, which makes the surroundings that the contract leaves open: a fresh outbox and transactions of a
//! service for a [`store`], a fresh destination for a [`sink`](mod@sink). It names every promise as a test, so that a failure says
//! which one is broken.

pub mod sink;
pub mod store;
