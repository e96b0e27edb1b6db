//! `cargo xtask faults`: every answer that ClickHouse and the network can give, and the proof that no event is lost or doubled.
//!
//! The cases and their play are the program `faults` of the package `outbox-tests`; here it gets built and told where
//! ClickHouse is.

use std::process::Command;

use crate::cargo;
use crate::error::Result;
use crate::interrupt::foreground;
use crate::programs::{Pooler, Programs};
use crate::stack::{Service, Stack};

#[derive(clap::Args)]
pub(crate) struct Args {
    /// Only name the cases
    #[arg(long)]
    list: bool,
    /// Only this case; may come several times
    #[arg(long = "case", value_name = "NAME")]
    cases: Vec<String>,
    /// How many cases are played at once
    #[arg(long)]
    at_once: Option<usize>,
}

/// Runs it. Its exit code becomes ours.
pub(crate) fn run(args: &Args) -> Result<()> {
    // No server of ours: the program starts one that may break.
    let stack = Stack::up(&[])?;
    if !args.list {
        Programs::provide(&[Service::ClickHouse], Pooler::NotNeeded, &stack.helpers)?;
    }
    cargo::build(&["--package", "outbox-tests", "--bin", "faults"])?;
    let mut faults = Command::new(cargo::bin_dir()?.join("faults"));
    faults.envs(stack.env());
    if args.list {
        faults.arg("--list");
    }
    for case in &args.cases {
        faults.args(["--case", case]);
    }
    if let Some(at_once) = args.at_once {
        faults.args(["--at-once", &at_once.to_string()]);
    }
    foreground(&mut faults)
}
