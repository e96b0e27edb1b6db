//! What the outbox costs and how fast it is, beside what people would use instead: `cargo xtask bench` says how to run it.
//!
//! One run has private servers with real settings (a commit is on the disk when it returns), and measures everything in turns,
//! round by round, so that whatever else the machine does meanwhile falls on all alike. What is compared runs in a process of
//! its own, whose CPU time is counted with that of its database and of ClickHouse.

mod allocations;
mod business;
mod cpu;
mod data;
mod disk;
mod figure;
mod figures;
mod memory;
mod place;
mod race;
mod report;
mod roles;
mod size;
mod tally;

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Parser, ValueEnum};

use crate::report::Report;
use crate::size::Size;

/// What went wrong with the harness itself.
pub(crate) type Failure = Box<dyn std::error::Error + Send + Sync>;
pub(crate) type Result<T> = std::result::Result<T, Failure>;

/// The harness failed: not the exit code of a target that was missed.
const FAILED: u8 = 2;

#[derive(Debug, Parser)]
#[command(name = "outbox-bench")]
struct Cli {
    /// What to measure
    #[arg(value_enum, default_value = "all")]
    what: Vec<What>,
    /// Write the figures to this file, as JSON
    #[arg(long)]
    json: Option<PathBuf>,
    /// Tiny sizes: shows that every figure comes out, and nothing about its value
    #[arg(long)]
    quick: bool,
    /// How often each thing is measured
    #[arg(long)]
    rounds: Option<usize>,
    /// Of what drains a backlog, only what has this in its name; the targets that need the others are left out
    #[arg(long)]
    only: Option<String>,
    /// Be one of the processes that are compared, as this JSON says
    #[arg(long, hide = true)]
    role: Option<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum What {
    Producer,
    Drain,
    Latency,
    Backlog,
    Stores,
    Micro,
    All,
}

#[tokio::main]
async fn main() -> ExitCode {
    let cli = Cli::parse();
    let done = match &cli.role {
        Some(role) => roles::play(role).await.map(|()| true),
        None => measure(&cli).await,
    };
    match done {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("outbox-bench: {error}");
            ExitCode::from(FAILED)
        }
    }
}

/// Whether all targets were reached.
async fn measure(cli: &Cli) -> Result<bool> {
    let mut size = if cli.quick { Size::quick() } else { Size::full() };
    size.rounds = cli.rounds.unwrap_or(size.rounds).max(1);
    size.only.clone_from(&cli.only);
    let mut report = Report::default();
    figures::all(&size, &cli.what, &mut report).await?;
    if let Some(file) = &cli.json {
        report.write_json(file)?;
    }
    print!("{}", report.markdown());
    println!("\n{}", report.verdict());
    Ok(report.all_reached())
}
