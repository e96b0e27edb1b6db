//! A short run of `cargo xtask chaos`, with everything crashing at once.

use outbox_test::process::Process;
use tokio::process::Command;

/// Any would do; a fixed one makes failures alike.
const SEED: &str = "20260101";
/// Four of them are a quiet spell.
const SECONDS: &str = "12";

async fn run(arguments: &[&str]) -> (bool, String) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_chaos"));
    command.args(["--seconds", SECONDS, "--seed", SEED]).args(arguments);
    let mut chaos = Process::spawn(command);
    // The runner's limit is the one that counts: a drain on a busy machine takes its time.
    chaos.ended().await;
    let good = chaos.wait().await.success();
    (good, chaos.output().join("\n"))
}

#[tokio::test]
async fn crash_of_everything_loses_and_doubles_nothing_postgres() {
    let (good, output) = run(&["--database", "postgres"]).await;
    assert!(good && output.contains(" lost=0 phantom=0 duplicated=0 "), "{output}");
    assert!(!output.contains("postgres_crashes=0"), "{output}");
}

#[tokio::test]
async fn crash_of_everything_loses_and_doubles_nothing_sqlite() {
    let (good, output) = run(&["--database", "sqlite"]).await;
    assert!(good && output.contains(" lost=0 phantom=0 duplicated=0 "), "{output}");
}

#[tokio::test]
async fn crash_of_everything_loses_and_doubles_nothing_mysql() {
    let (good, output) = run(&["--database", "mysql"]).await;
    assert!(good && output.contains(" lost=0 phantom=0 duplicated=0 "), "{output}");
    assert!(!output.contains("mysql_crashes=0"), "{output}");
}
