//! `run`, `run --once`, `status`, `migrate`.

use outbox_test::databases::ClickHouseDatabase;
use outbox_test::process::{Process, was_killed};

use crate::world::{Kind, World, create_users, on_each_database};

on_each_database!(
    once_drains_and_exits,
    the_relay_runs_until_it_is_told_to_stop,
    kill_the_command_in_the_middle,
    status_says_what_waits,
    migrate_installs_and_prints,
);

async fn once_drains_and_exits(kind: Kind) {
    let world = World::new(kind).await;
    let committed = create_users(&mut world.conn().await, 0..250).await;
    let mut once = Process::spawn(world.command(&["run", "--once"]));
    assert!(once.wait().await.success(), "{:?}", once.output());
    world.assert_exactly_once(&committed).await;
    // Nothing left: it says so by ending well once more.
    let mut again = Process::spawn(world.command(&["run", "--once"]));
    assert!(again.wait().await.success());
    world.assert_exactly_once(&committed).await;
}

async fn the_relay_runs_until_it_is_told_to_stop(kind: Kind) {
    let world = World::new(kind).await;
    let mut relay = Process::spawn(world.command(&["run"]));
    relay.wait_line(|line| line.contains("relay started")).await;
    let committed = create_users(&mut world.conn().await, 0..50).await;
    world.delivered().await;
    let status = relay.terminate().await;
    assert!(status.success(), "{status}: {:?}", relay.output());
    assert!(
        relay.output().iter().any(|line| line.contains("delivered") && line.contains("batch=")),
        "{:?}",
        relay.output()
    );
    assert!(!relay.output().iter().any(|line| line.contains("user1@example.org")), "payloads are never logged");
    world.assert_exactly_once(&committed).await;
}

async fn kill_the_command_in_the_middle(kind: Kind) {
    let world = World::alone(kind).await;
    let committed = create_users(&mut world.conn().await, 0..2_000).await;
    let small = || {
        let mut command = world.command(&["run"]);
        command.envs([("OUTBOX_BATCH_ROWS", "20"), ("OUTBOX_BATCH_ROWS_MAX", "20")]);
        command
    };
    for _ in 0..4 {
        let mut relay = world.spawn_until(small, "delivered").await;
        assert!(was_killed(relay.kill9().await));
    }
    let mut relay = world.spawn_until(small, "relay started").await;
    world.delivered().await;
    relay.terminate().await;
    world.assert_exactly_once(&committed).await;
}

async fn status_says_what_waits(kind: Kind) {
    let world = World::new(kind).await;
    let text = async |arguments: &[&str]| {
        let output = world.command(arguments).output().await.expect("the command runs");
        assert!(output.status.success(), "{output:?}");
        String::from_utf8(output.stdout).expect("text")
    };
    assert!(text(&["status"]).await.contains("no route yet"));
    world.drain().await;
    create_users(&mut world.conn().await, 0..7).await;
    assert!(text(&["status"]).await.starts_with("route main: 7 pending (7 unsealed"), "{}", text(&["status"]).await);
    let json = text(&["status", "--json"]).await;
    assert!(json.contains(r#""unsealed_events":7"#) && json.contains(r#""oldest_age_seconds":"#), "{json}");
}

async fn migrate_installs_and_prints(kind: Kind) {
    let installed = World::bare(kind, ClickHouseDatabase::create().await).await;
    for _ in 0..2 {
        let output = installed.command(&["migrate"]).output().await.expect("the command runs");
        assert!(output.status.success(), "{output:?}");
    }
    create_users(&mut installed.conn().await, 0..1).await;

    let printed = World::bare(kind, ClickHouseDatabase::create().await).await;
    let output = printed.command(&["migrate", "--print"]).output().await.expect("the command runs");
    let sql = String::from_utf8(output.stdout).expect("text");
    printed.conn().await.execute(&format!("BEGIN; {sql} COMMIT")).await;
    let committed = create_users(&mut printed.conn().await, 0..3).await;
    printed.drain().await;
    printed.assert_exactly_once(&committed).await;
}
