//! `cargo xtask chaos`: crashes of everything at once, and the proof that no event was lost or doubled.
//!
//! The run itself is the program `chaos` of the package `outbox-tests`; here it gets built and told where programs are.

use std::process::Command;

use crate::cargo;
use crate::error::Result;
use crate::interrupt::foreground;
use crate::programs::{Pooler, Programs};
use crate::stack::{Service, Stack};

#[derive(clap::Args)]
pub(crate) struct Args {
    /// Where the events are written
    #[arg(long, value_enum, default_value = "postgres")]
    database: Database,
    /// How long faults happen; everything drains after that
    #[arg(long, default_value_t = 60)]
    seconds: u64,
    /// Choose as an earlier run did, which has printed its seed
    #[arg(long)]
    seed: Option<u64>,
    /// Passed on to the program
    #[arg(last = true)]
    args: Vec<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
enum Database {
    Postgres,
    /// MySQL or MariaDB
    #[value(name = "mysql")]
    MySql,
    Sqlite,
}

/// Runs it. Its exit code becomes ours.
pub(crate) fn run(args: &Args) -> Result<()> {
    let (name, services): (_, &[Service]) = match args.database {
        Database::Postgres => ("postgres", &[Service::Postgres, Service::ClickHouse]),
        Database::MySql => ("mysql", &[Service::MySql, Service::ClickHouse]),
        Database::Sqlite => ("sqlite", &[Service::ClickHouse]),
    };
    // No server of ours: those that are to crash, the program starts by itself.
    let stack = Stack::up(&[])?;
    Programs::provide(services, Pooler::NotNeeded, &stack.helpers)?;
    cargo::build(&["--package", "outbox-tests", "--bin", "chaos", "--bin", "outbox_under_test"])?;
    let mut chaos = Command::new(cargo::bin_dir()?.join("chaos"));
    chaos.envs(stack.env()).args(["--database", name, "--seconds", &args.seconds.to_string()]);
    if let Some(seed) = args.seed {
        chaos.args(["--seed", &seed.to_string()]);
    }
    foreground(chaos.args(&args.args))
}
