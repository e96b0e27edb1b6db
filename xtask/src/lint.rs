//! `cargo xtask lint`: everything that can be said about the code without running it.

use std::process::Command;

use crate::cargo::{cargo, root};
use crate::error::{Error, Result};
use crate::interrupt::foreground;
use crate::programs::in_path;

/// The feature sets that must compile by themselves. The default set is compiled by clippy.
const FEATURES: [&str; 7] = ["", "postgres", "mysql", "sqlite", "r2d2,bb8,deadpool", "mysql-sync", "opentelemetry"];

/// What Diesel's blocking MySQL connection asks about the C library, where pkg-config knows none: only linking needs it.
const MYSQL_CLIENT: [(&str, &str); 2] = [("MYSQLCLIENT_LIB_DIR", "/nonexistent"), ("MYSQLCLIENT_VERSION", "8.4.3")];

/// Runs every check, also after one has failed.
pub(crate) fn run() -> Result<()> {
    let mut failed = Vec::new();
    let mut check = |name: &'static str, command: &mut Command| {
        eprintln!("lint: {name}");
        match foreground(command) {
            Err(Error::Interrupted) => Err(Error::Interrupted),
            Err(error) => {
                eprintln!("lint: {error}");
                failed.push(name);
                Ok(())
            }
            Ok(()) => Ok(()),
        }
    };
    check("fmt", &mut cargo(&["fmt", "--all", "--check"]))?;
    check("clippy", &mut cargo(&["clippy", "--quiet", "--workspace", "--all-targets", "--", "-D", "warnings"]))?;
    // Libraries: the command `outbox` would be written over the library `outbox`.
    let mut doc = cargo(&["doc", "--quiet", "--workspace", "--no-deps", "--lib"]);
    check("doc", doc.env("RUSTDOCFLAGS", "-Dwarnings"))?;
    for features in FEATURES {
        let name = if features.is_empty() { "no features" } else { features };
        let mut command = cargo(&["check", "--quiet", "-p", "outbox", "--no-default-features", "--features", features]);
        check(name, command.envs(MYSQL_CLIENT))?;
    }
    for (tool, args) in [("typos", &[][..]), ("taplo", &["fmt", "--check"][..])] {
        match in_path(tool) {
            Some(program) => check(tool, Command::new(program).args(args).current_dir(root()))?,
            None => eprintln!("lint: skipped: {tool} not installed"),
        }
    }
    if failed.is_empty() {
        eprintln!("lint: passed");
        return Ok(());
    }
    Err(Error::Checks(failed))
}
