//! The sink against real servers, and against a fake one where a real one cannot be made to fail.

#![allow(clippy::unwrap_used, reason = "tests")]

mod check;
mod crash;
mod deliver;
mod disk;
mod distributed;
mod evolution;
mod fake;
mod hosts;
mod layout;
mod protocol;
mod recover;
mod support;
mod tables;
