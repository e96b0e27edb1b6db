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
const FATES: [(Fate, Option<Side>); 14] = [
    (Fate::Refuse, Some(Side::Store)),
    (Fate::LoseReply, Some(Side::Store)),
    (Fate::Sink(SinkFault::Refuse), Some(Side::Sink)),
    (Fate::Sink(SinkFault::LoseReply), Some(Side::Sink)),
    (Fate::Sink(SinkFault::Stop), Some(Side::Sink)),
    (Fate::Sink(SinkFault::BadRows), Some(Side::Sink)),
    (Fate::Sink(SinkFault::DelayReply(Duration::from_secs(5))), Some(Side::Sink)),
    (Fate::Sink(SinkFault::Crash(Kept::TokenOnly)), Some(Side::Sink)),
    (Fate::Sink(SinkFault::Crash(Kept::HalfTheRows)), Some(Side::Sink)),
    (Fate::Die, None),
    (Fate::DieAfter, None),
    (Fate::Stall(Duration::from_secs(5)), None),
    (Fate::CrashSinks(Kept::Nothing), None),
    (Fate::CrashSinks(Kept::TokenOnly), None),
];

/// Two routes, two relays of the first; two tables; one transaction that commits after a later one.
async fn scenario(step: u64, fate: Fate, side: Option<Side>, first_delivery: Option<SinkFault>, story: bool) -> Ledger {
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
    world.commit(world.write(&[0, 1, 0]));
    sleep(Duration::from_millis(1500)).await;
    world.commit(late);
    world.commit(world.write(&[0]));
    world.drained().await;
    world.close(LEASE * 4).await
}

/// The calls of the scenario before it is drained, when nothing but the first delivery fails.
fn steps(first_delivery: Option<SinkFault>) -> u64 {
    on_paused_clock(scenario(0, Fate::Fine, None, first_delivery, false)).seen.calls
}

fn fails_nowhere(first_delivery: Option<SinkFault>) -> Seen {
    let mut seen = Seen::default();
    for step in 1..=steps(first_delivery) {
        for (fate, side) in FATES {
            let ledger = on_paused_clock(scenario(step, fate, side, first_delivery, false));
            if !ledger.breaches.is_empty() {
                let told = on_paused_clock(scenario(step, fate, side, first_delivery, true));
                let story = told.story.unwrap_or_default().join("\n");
                panic!("{fate:?} at step {step}, first delivery {first_delivery:?}: {:#?}\n{story}", ledger.breaches);
            }
            seen.add(ledger.seen);
        }
    }
    seen
}

#[test]
fn a_quiet_run_may_fail_at_any_step() {
    let seen = fails_nowhere(None);
    assert!(seen.fenced > 0 && seen.recovered_resend > 0 && seen.deaths > 0, "{seen:?}");
}

#[test]
fn a_run_that_lost_a_reply_may_fail_at_any_step() {
    let seen = fails_nowhere(Some(SinkFault::LoseReply));
    assert!(seen.recovered_resend > 0 && seen.recovered_replace > 0, "{seen:?}");
}

#[test]
fn a_run_whose_destination_forgot_rows_may_fail_at_any_step() {
    let seen = fails_nowhere(Some(SinkFault::Crash(Kept::TokenOnly)));
    assert!(seen.recovered_replace > 0, "{seen:?}");
}

#[test]
fn a_run_whose_destination_kept_half_may_fail_at_any_step() {
    let seen = fails_nowhere(Some(SinkFault::Crash(Kept::HalfTheRows)));
    assert!(seen.recovered_replace > 0, "{seen:?}");
}
