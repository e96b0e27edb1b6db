//! SQLite's file, in the hands of several processes.

use std::collections::BTreeSet;

use outbox_test::databases::ClickHouseDatabase;
use outbox_test::process::{Process, was_killed};

use crate::world::{Kind, World, create_users, eventually};

const WRITERS: [&str; 3] = ["0..200", "200..400", "400..600"];

/// More than are created before somebody kills the writers.
const ENDLESS_WRITERS: [&str; 3] = ["1000000..2000000", "2000000..3000000", "3000000..4000000"];

/// Processes that create the users of a range each.
fn writers(world: &World, users: [&str; 3]) -> Vec<Process> {
    users.map(|users| world.spawn(env!("CARGO_BIN_EXE_crash_app"), &["--users", users])).into()
}

async fn finish(processes: Vec<Process>) {
    for mut process in processes {
        assert!(process.wait().await.success(), "{:?}", process.output());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn several_processes_write_and_relay_at_once() {
    let world = World::new(Kind::Sqlite).await;
    let relay = || {
        let mut command = world.command(&["run"]);
        command.envs([("OUTBOX_BATCH_ROWS", "10"), ("OUTBOX_BATCH_ROWS_MAX", "10"), ("OUTBOX_WORKERS", "2")]);
        Process::spawn(command)
    };
    let mut relays = [relay(), relay()];
    finish(writers(&world, WRITERS)).await;
    let mut conn = world.conn().await;
    assert_eq!(conn.count("users").await, 600, "nobody failed for a lock");
    world.delivered().await;
    for relay in &mut relays {
        assert!(relay.terminate().await.success(), "{:?}", relay.output());
        // It would try again, so that nothing else tells.
        let output = relay.output();
        assert!(!output.iter().any(|line| line.contains("locked")), "{output:?}");
    }
    let (arrived, rows) = world.arrived().await;
    assert_eq!((arrived.len(), rows), (600, 600));
}

/// As the documentation says to make one.
#[tokio::test(flavor = "multi_thread")]
async fn a_copy_that_is_made_while_processes_write_has_each_user_with_its_event() {
    let world = World::new(Kind::Sqlite).await;
    let mut conn = world.conn().await;
    let mut running = writers(&world, ENDLESS_WRITERS);
    eventually("they write", async || conn.count("users").await > 50).await;
    let copy = World::bare(Kind::Sqlite, ClickHouseDatabase::create().await).await;
    let path = copy.database_url().replace("sqlite://", "");
    std::fs::remove_file(&path).expect("the file that is to be the copy");
    conn.execute(&format!("VACUUM INTO '{path}'")).await;
    let mut copied = copy.conn().await;
    let users = copied.count("users").await;
    assert!(users > 50, "those that were there: {users}");
    eventually("they still write", async || conn.count("users").await > users).await;
    for writer in &mut running {
        assert!(was_killed(writer.kill9().await), "{:?}", writer.output());
    }

    assert_eq!(copied.count("outbox_event").await, users);
    assert_eq!(copied.count("pragma_integrity_check WHERE integrity_check <> 'ok'").await, 0);
    // It is an outbox of its own.
    let more: BTreeSet<String> = create_users(&mut copied, 1000..1010).await;
    copy.drain().await;
    let (arrived, rows) = copy.arrived().await;
    assert_eq!((arrived.len(), rows), (users.unsigned_abs() as usize + 10, users.unsigned_abs() as usize + 10));
    assert!(more.is_subset(&arrived));
}
