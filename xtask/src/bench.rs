//! `cargo xtask bench`: what the outbox costs and how fast it is, beside what people would use instead.
//!
//! The measuring itself is the program of the package `outbox-bench`; here it gets built, optimized, and told where programs are.

use std::path::PathBuf;
use std::process::Command;

use crate::cargo::{self, cargo};
use crate::error::Result;
use crate::interrupt::foreground;
use crate::programs::{Pooler, Programs};
use crate::stack::{Service, Stack};

#[derive(clap::Args)]
pub(crate) struct Args {
    /// producer, drain, latency, backlog, stores, micro, or all (the default)
    what: Vec<String>,
    /// Write the figures to this file, as JSON: a list of {figure, value, min, max, unit, target, reached}
    #[arg(long)]
    json: Option<PathBuf>,
    /// Tiny sizes: shows that every figure comes out, and nothing about its value
    #[arg(long)]
    quick: bool,
    /// Of what drains a backlog, only what has this in its name; the targets that need the others are left out
    #[arg(long)]
    only: Option<String>,
    /// How often each thing is measured
    #[arg(long)]
    rounds: Option<usize>,
}

/// Runs it. Its exit code becomes ours: 1 when a target was missed.
pub(crate) fn run(args: &Args) -> Result<()> {
    // No server of ours: the program starts its own, with real settings.
    let stack = Stack::up(&[])?;
    Programs::provide(&Service::ALL, Pooler::NotNeeded, &stack.helpers)?;
    foreground(&mut cargo(&["build", "--quiet", "--release", "--package", "outbox-bench"]))?;
    let mut bench = Command::new(cargo::bin_dir()?.with_file_name("release").join("outbox-bench"));
    bench.envs(stack.env()).args(&args.what);
    if let Some(file) = &args.json {
        bench.arg("--json").arg(file);
    }
    if let Some(only) = &args.only {
        bench.args(["--only", only]);
    }
    if args.quick {
        bench.arg("--quick");
    }
    if let Some(rounds) = args.rounds {
        bench.args(["--rounds", &rounds.to_string()]);
    }
    foreground(&mut bench)
}
