//! Fail at step N, for every N: one fixed scenario, and each call in it fails once in each way.

use std::time::Duration;

use outbox_core::Route;
use outbox_test::memory::{Kept, SinkFault};
use tokio::time::sleep;

use super::faults::{Fate, Faults, Side};
use super::ledger::{Ledger, Seen};
use super::on_paused_clock;
use super::world::World;
use crate::options::RelayOptions;

const LEASE: Duration = Duration::from_secs(2);
const SEED: u64 = 1;

/// What a step does when its number has come.
const FATES: [(Fate, Option<Side>); 16] = [
    (Fate::Refuse, Some(Side::Store)),
    (Fate::LoseReply, Some(Side::Store)),
    (Fate::Sink(SinkFault::Refuse), Some(Side::Sink)),
    (Fate::Sink(SinkFault::LoseReply), Some(Side::Sink)),
    (Fate::Sink(SinkFault::Stop), Some(Side::Sink)),
    (Fate::Sink(SinkFault::BadRows), Some(Side::Sink)),
    (Fate::Sink(SinkFault::Environment), Some(Side::Sink)),
    (Fate::Sink(SinkFault::Unforeseen), Some(Side::Sink)),
    (Fate::Sink(SinkFault::DelayReply(Duration::from_secs(5))), Some(Side::Sink)),
    (Fate::Sink(SinkFault::Crash(Kept::TokenOnly)), Some(Side::Sink)),
    (Fate::Sink(SinkFault::Crash(Kept::HalfTheRows)), Some(Side::Sink)),
    (Fate::Die, None),
    (Fate::DieAfter, None),
    (Fate::Stall(Duration::from_secs(5)), None),
    (Fate::CrashSinks(Kept::Nothing), None),
    (Fate::CrashSinks(Kept::TokenOnly), None),
];

/// What is wrong beside the one fault.
#[derive(Clone, Copy, Debug, Default)]
struct Given {
    first_delivery: Option<SinkFault>,
    /// One event that no destination takes.
    bad: bool,
}

/// Two routes, two relays of the first; two tables; one transaction that commits after a later one.
async fn scenario(step: u64, fate: Fate, side: Option<Side>, given: Given, story: bool) -> Ledger {
    let Given { first_delivery, bad } = given;
    let world = World::new(SEED, 2, false, Faults::At { step, fate, side, first_delivery }, story).await;
    let options = RelayOptions {
        batch_rows: 2,
        batch_rows_max: 3,
        linger: Duration::ZERO,
        poll_interval: Duration::from_secs(1),
        lease: LEASE,
        retry_min: Duration::from_millis(200),
        retry_max: Duration::from_secs(1),
        ..RelayOptions::default()
    };
    for (no, route) in ["main", "main", "audit"].into_iter().enumerate() {
        world.start(no as u32, RelayOptions { route: Route::new(route), ..options.clone() });
    }
    let late = world.write(&[1, 0]);
    let open = world.write(&[0, 1, 0]);
    if bad {
        world.spoil(&open, 2, false);
    }
    world.commit(open);
    sleep(Duration::from_millis(1500)).await;
    world.commit(late);
    world.commit(world.write(&[0]));
    world.drained().await;
    world.close(LEASE * 4).await
}

/// The calls of the scenario before it is drained, when nothing but the first delivery fails.
fn steps(given: Given) -> u64 {
    on_paused_clock(scenario(0, Fate::Fine, None, given, false)).seen.calls
}

fn fails_nowhere(given: Given) -> Seen {
    let mut seen = Seen::default();
    for step in 1..=steps(given) {
        for (fate, side) in FATES {
            let ledger = on_paused_clock(scenario(step, fate, side, given, false));
            if !ledger.breaches.is_empty() {
                let told = on_paused_clock(scenario(step, fate, side, given, true));
                let story = told.story.unwrap_or_default().join("\n");
                panic!("{fate:?} at step {step}, {given:?}: {:#?}\n{story}", ledger.breaches);
            }
            seen.add(ledger.seen);
        }
    }
    seen
}

#[test]
fn a_quiet_run_may_fail_at_any_step() {
    let seen = fails_nowhere(Given::default());
    assert!(seen.fenced > 0 && seen.recovered_resend > 0 && seen.deaths > 0, "{seen:?}");
}

#[test]
fn a_run_that_lost_a_reply_may_fail_at_any_step() {
    let seen = fails_nowhere(Given { first_delivery: Some(SinkFault::LoseReply), bad: false });
    assert!(seen.recovered_resend > 0 && seen.recovered_replace > 0, "{seen:?}");
}

#[test]
fn a_run_whose_destination_forgot_rows_may_fail_at_any_step() {
    let seen = fails_nowhere(Given { first_delivery: Some(SinkFault::Crash(Kept::TokenOnly)), bad: false });
    assert!(seen.recovered_replace > 0, "{seen:?}");
}

#[test]
fn a_run_whose_destination_kept_half_may_fail_at_any_step() {
    let seen = fails_nowhere(Given { first_delivery: Some(SinkFault::Crash(Kept::HalfTheRows)), bad: false });
    assert!(seen.recovered_replace > 0, "{seen:?}");
}

#[test]
fn a_run_with_a_bad_row_may_fail_at_any_step() {
    let seen = fails_nowhere(Given { first_delivery: None, bad: true });
    assert!(seen.dead > 0 && seen.bad_refused > 0, "{seen:?}");
}

#[test]
fn a_run_with_a_bad_row_that_lost_a_reply_may_fail_at_any_step() {
    let seen = fails_nowhere(Given { first_delivery: Some(SinkFault::LoseReply), bad: true });
    assert!(seen.dead > 0 && seen.recovered_resend > 0, "{seen:?}");
}
