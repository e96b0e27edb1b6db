//! The use case that the outbox was made for: `create_user` inserts a user and a `UserCreated` event in one transaction.
//!
//! `users create` runs it many times, or once per line of a CSV file; `users report` compares the users in the database
//! with the events in ClickHouse. `cargo xtask run` does both, with a relay beside that it kills in the middle.
//!
//! Settings: `DATABASE_URL` (`sqlite://..`, `postgres://..` or `mysql://..`), and the `CLICKHOUSE_*` variables for the report.

#![allow(clippy::print_stdout, clippy::print_stderr, reason = "a program that talks to its user")]
#![allow(unreachable_pub, missing_docs, reason = "a program has no outside")]

mod app;
mod create;
mod database;
mod input;
mod progress;
mod report;

use std::error::Error;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Parser, Subcommand};

#[derive(Parser)]
struct Arguments {
    #[command(subcommand)]
    command: Task,
}

#[derive(Subcommand)]
enum Task {
    /// Create users, each with its event.
    Create {
        /// How many.
        #[arg(long, default_value_t = 10_000)]
        users: u64,
        /// A CSV file with the columns email, first_name, last_name instead. A bad line is reported and the rest goes on.
        #[arg(long)]
        input: Option<PathBuf>,
    },
    /// Compare users and events; exit code 1 when anything is lost or doubled.
    Report {
        /// How long the whole run took, for the closing line.
        #[arg(long, default_value_t = 0.0)]
        seconds: f64,
    },
}

#[tokio::main]
async fn main() -> Result<ExitCode, Box<dyn Error>> {
    let database = database::Database::from_env()?;
    match Arguments::parse().command {
        Task::Create { users, input: None } => create::many(database, create::generated(users), users).await?,
        Task::Create { input: Some(path), .. } => {
            let (lines, count) = input::read(&path)?;
            create::many(database, lines, count).await?;
        }
        Task::Report { seconds } => return report::report(database, seconds).await,
    }
    Ok(ExitCode::SUCCESS)
}
