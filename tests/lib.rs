//! What the integration tests and their helper programs share: a small service, and a relay that kills itself.

#![allow(clippy::print_stdout, clippy::unwrap_used, clippy::expect_used, reason = "tests")]

pub mod crash;
pub mod service;

// Only linked: Diesel finds the bundled libpq through it.
#[cfg(feature = "postgres-sync")]
use pq_sys as _;
