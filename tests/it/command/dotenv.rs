//! Settings from a `.env` file.

use outbox_test::databases::ClickHouseDatabase;

use crate::world::{Kind, World, create_users};

/// Everything from a file, nothing from the environment.
#[tokio::test(flavor = "multi_thread")]
async fn a_file_gives_the_settings_and_the_environment_wins() {
    let world = World::new(Kind::Sqlite).await;
    let committed = create_users(&mut world.conn().await, 0..20).await;
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join(".env");
    let lines: Vec<String> = world.vars().iter().map(|(name, value)| format!("{name}={value}")).collect();
    std::fs::write(&file, lines.join("\n")).expect("written");

    let mut command = world.command(&["run", "--once"]);
    for (name, _) in world.vars() {
        command.env_remove(name);
    }
    let output = command.current_dir(folder.path()).output().await.expect("the command runs");
    assert!(output.status.success(), "{output:?}");
    world.assert_exactly_once(&committed).await;

    // The file's value is good, the environment's is not.
    command.env("OUTBOX_BATCH_ROWS", "none");
    let output = command.output().await.expect("the command runs");
    assert_eq!(output.status.code(), Some(2), "{output:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_broken_file_is_named_and_its_line_is_not_shown() {
    let world = World::bare(Kind::Sqlite, ClickHouseDatabase::create().await).await;
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("settings.env");
    std::fs::write(&file, "CLICKHOUSE_PASSWORD='hunter2\nOUTBOX_LINGER=1s").expect("written");
    let path = file.display().to_string();
    let output = world.command(&["--env-file", &path, "status"]).output().await.expect("the command runs");
    let text = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(2), "{text}");
    assert!(text.contains("settings.env") && !text.contains("hunter2"), "{text}");
}
