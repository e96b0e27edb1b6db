//! An exhaustive model of the outbox on PostgreSQL: plan, claim, freeze, send, settle, prune.
//!
//! Every SQL statement is one step under READ COMMITTED with a snapshot of its own, and every order of the steps of a small
//! world is walked through: two relays, up to three transactions, two routes, and whatever the scenario allows to go wrong.
//! What is modelled and what is not is in `docs/model.md`. No code of the outbox runs here: it is the design that is checked,
//! statement by statement as the SQL has it.

mod action;
mod canonical;
mod check;
mod db;
mod delivery;
mod drain;
mod durability;
mod guard;
mod operator;
mod planner;
mod pruner;
mod says;
mod scenario;
mod service;
mod sink;
mod snapshot;
mod state;

pub use check::{Counterexample, Walk, search, walk};
pub use guard::{Guard, Guards};
pub use scenario::Scenario;
