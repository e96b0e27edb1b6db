//! What is sent again is what was sent, to the byte, whatever has happened in between.

use std::collections::BTreeMap;

use outbox_test::process::was_killed;
use outbox_tests::crash::Step;

use crate::tap::{Request, Tap};
use crate::world::{Kind, World, create_users, on_each_database};

on_each_database!(kill_relay_after_send_and_the_same_bytes_come_again);

/// Names a send, and so differs.
const OF_THE_SEND: [&str; 2] = ["query_id", "log_comment"];

async fn kill_relay_after_send_and_the_same_bytes_come_again(kind: Kind) {
    let mut world = World::alone(kind).await;
    let tap = Tap::before(world.clickhouse.address()).await;
    world.clickhouse_url = tap.url().to_owned();
    let mut conn = world.conn().await;
    let mut committed = create_users(&mut conn, 0..100).await;
    for round in 1..=3 {
        // What commits between two sends must not be mixed in; neither must other settings count.
        let mut doomed = world.program(env!("CARGO_BIN_EXE_crash_relay"), &[&format!("{:?}", Step::AfterSend)]);
        doomed.env("OUTBOX_BATCH_ROWS_MAX", (1000 / round).to_string());
        let mut doomed = outbox_test::process::Process::spawn(doomed);
        assert!(was_killed(doomed.wait().await), "{:?}", doomed.output());
        committed.extend(create_users(&mut conn, round * 100..round * 100 + 100).await);
    }
    let relay = world.relay().await;
    world.delivered().await;
    drop(relay);
    world.assert_exactly_once(&committed).await;

    let mut sends: BTreeMap<String, Vec<Request>> = BTreeMap::new();
    for mut request in tap.requests() {
        if let Some(token) = request.parameters.get("insert_deduplication_token").cloned() {
            request.parameters.retain(|name, _| !OF_THE_SEND.contains(&name.as_str()));
            sends.entry(token).or_default().push(request);
        }
    }
    let resent = sends.values().filter(|sends| sends.len() > 1).count();
    assert!(resent > 0, "nothing was sent twice: {:?}", sends.keys());
    for (token, sends) in sends {
        assert!(sends[0].body.len() > 100, "a batch of a hundred events");
        assert!(sends.iter().all(|send| *send == sends[0]), "{token} stood for different bytes");
    }
}
