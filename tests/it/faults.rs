//! All cases of `cargo xtask faults`.

use outbox_test::process::Process;
use tokio::process::Command;

#[tokio::test]
async fn after_every_answer_and_every_cut_each_event_is_there_once_or_held_with_its_reason_crash() {
    let mut faults = Process::spawn(Command::new(env!("CARGO_BIN_EXE_faults")));
    faults.ended().await;
    let good = faults.wait().await.success();
    let output = faults.output().join("\n");
    assert!(good && output.contains(" lost=0 doubled=0"), "{output}");
}

#[tokio::test]
async fn one_case_can_be_played_by_itself() {
    let mut command = Command::new(env!("CARGO_BIN_EXE_faults"));
    command.args(["--case", "code_27_row_named"]);
    let mut faults = Process::spawn(command);
    assert!(faults.wait().await.success(), "{:?}", faults.output());
    assert!(
        faults.output().contains(&"cases=1 once=18 dead_lettered=2 lost=0 doubled=0".to_owned()),
        "{:?}",
        faults.output()
    );
}
