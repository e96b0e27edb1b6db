//! `cargo xtask test`: the servers, then every test.

use std::process::Stdio;

use crate::cargo::cargo;
use crate::error::{Error, Result};
use crate::interrupt::foreground;
use crate::stack::Stack;

/// Runs the doc tests and, whatever they said, the tests: last, so that their summary is what the run closes with. The
/// first failure is the one that is returned.
pub(crate) fn run(args: &[String]) -> Result<()> {
    let stack = Stack::for_tests()?;
    let env = stack.env();
    let with_env = |args: &[&str]| {
        let mut command = cargo(args);
        command.envs(env.iter().map(|(name, value)| (name, value)));
        command
    };
    let mut tests = if nextest_is_installed() {
        with_env(&["nextest", "run", "--workspace"])
    } else {
        with_env(&["test", "--workspace", "--lib", "--bins", "--tests"])
    };
    let docs = foreground(&mut with_env(&["test", "--workspace", "--doc"]));
    if matches!(docs, Err(Error::Interrupted)) {
        return docs;
    }
    let tests = foreground(tests.args(args));
    docs.and(tests)
}

fn nextest_is_installed() -> bool {
    let mut version = cargo(&["nextest", "--version"]);
    version.stdout(Stdio::null()).stderr(Stdio::null()).status().is_ok_and(|status| status.success())
}
