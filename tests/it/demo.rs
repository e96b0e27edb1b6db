//! What `cargo xtask run` shows, on each database: users and events by the example, and a relay that is killed in between.

use outbox_test::process::{Process, was_killed};

use crate::world::{Kind, World, on_each_database};

// A file is a file, whichever way the tests connect to it.
on_each_database!(@kind postgres Postgres kill_the_relay_of_the_example);
on_each_database!(@kind mysql MySql kill_the_relay_of_the_example);
on_each_database!(@kind sqlite Sqlite kill_the_relay_of_the_example);

const USERS: &str = "600";

async fn kill_the_relay_of_the_example(kind: Kind) {
    let world = World::alone(kind).await;
    // The example has its own.
    world.conn().await.execute("DROP TABLE users").await;
    let relay = || {
        let mut command = world.command(&["run"]);
        command.envs([("OUTBOX_BATCH_ROWS", "20"), ("OUTBOX_BATCH_ROWS_MAX", "20")]);
        command
    };
    let example = |arguments: &[&str]| world.spawn(env!("CARGO_BIN_EXE_users_example"), arguments);
    let mut killed = Process::spawn(relay());
    let mut create = example(&["create", "--users", USERS]);
    killed.wait_line(|line| line.contains("delivered")).await;
    assert!(was_killed(killed.kill9().await));
    let mut relay = world.spawn_until(relay, "relay started").await;
    assert!(create.wait().await.success(), "{:?}", create.output());
    world.delivered().await;
    assert!(relay.terminate().await.success(), "{:?}", relay.output());

    let mut report = example(&["report"]);
    assert!(report.wait().await.success(), "{:?}", report.output());
    let closing = report.output().pop().expect("a closing line");
    assert!(closing.starts_with("committed=600 delivered=600 lost=0 duplicated=0 batches="), "{closing}");
}
