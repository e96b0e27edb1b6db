//! `cargo xtask`: the servers, the tests, the linters and the demo, with one command each.
//!
//! It finds or starts what is needed and says what is missing (exit code 3). Whatever it starts ends with it.

mod bench;
mod cargo;
mod chaos;
mod compose;
mod demo;
mod error;
mod faults;
mod interrupt;
mod libchdb;
mod lint;
#[allow(dead_code, unused_imports, reason = "outbox-test, which owns the source, uses the rest")]
#[path = "../../outbox-test/src/local/mod.rs"]
mod local;
mod programs;
mod stack;
mod test;
mod up;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

use crate::error::{Error, Result};

/// Work on the outbox workspace. XTASK_BACKEND=local|docker says where servers come from when both could do.
#[derive(Parser)]
#[command(name = "cargo xtask", bin_name = "cargo xtask")]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Show the outbox at work: events of real business transactions, into a real ClickHouse, through a kill -9
    Run(demo::Args),
    /// Start the servers that tests need, and run all tests
    Test {
        /// Passed on to the test runner
        #[arg(last = true)]
        args: Vec<String>,
    },
    /// Crash everything at once for a while, and compare what was committed with what arrived
    Chaos(chaos::Args),
    /// Give the sink every answer of ClickHouse and cut its connections everywhere, and compare what was committed with what arrived
    Faults(faults::Args),
    /// Measure what the outbox costs and how fast it is, beside what people would use instead
    Bench(bench::Args),
    /// Start servers (all, unless named), print their URLs, and keep them up until ^C
    Up(up::Args),
    /// Remove the containers of docker compose, and their data
    Down,
    /// Formatting, clippy, docs, features; typos and taplo where they are installed
    Lint,
    /// lint, then test
    Ci,
    /// Fetch what the tests need beyond crates: ClickHouse
    Fetch,
}

fn main() -> ExitCode {
    let cli = Cli::parse();
    let result = interrupt::listen().and_then(|()| match cli.command {
        Command::Run(args) => demo::run(&args),
        Command::Test { args } => test::run(&args),
        Command::Chaos(args) => chaos::run(&args),
        Command::Faults(args) => faults::run(&args),
        Command::Bench(args) => bench::run(&args),
        Command::Up(args) => up::run(&args),
        Command::Down => compose::down(),
        Command::Lint => lint::run(),
        Command::Ci => ci(),
        Command::Fetch => libchdb::fetch(),
    });
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("xtask: {error}");
            ExitCode::from(error.exit_code())
        }
    }
}

/// Both run, so that one look at the output shows everything there is to mend.
fn ci() -> Result<()> {
    let lint = lint::run();
    if matches!(lint, Err(Error::Interrupted)) {
        return lint;
    }
    let test = test::run(&[]);
    let verdict = |result: &Result<()>| if result.is_ok() { "passed" } else { "FAILED" };
    eprintln!("ci: lint {}, test {}", verdict(&lint), verdict(&test));
    lint.and(test)
}
