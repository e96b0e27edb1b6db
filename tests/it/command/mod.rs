//! The `outbox` command as an operator meets it.

mod dotenv;
mod refusals;
mod run;
