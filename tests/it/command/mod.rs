//! The `outbox` command as an operator meets it.

mod refusals;
mod run;
