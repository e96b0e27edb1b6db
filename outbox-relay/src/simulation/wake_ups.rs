//! What a relay makes of being told about each commit.

use std::time::Duration;

use outbox_core::Route;
use tokio::time::sleep;

use super::faults::Faults;
use super::on_paused_clock;
use super::world::World;
use crate::options::RelayOptions;

const HOUR: Duration = Duration::from_secs(3600);
const FINE: Faults = Faults::Slow { operations: &[], by: Duration::ZERO };

/// Looks again in an hour: only a wake-up can end its waits.
fn options(linger: Duration) -> RelayOptions {
    RelayOptions { batch_rows: 2, linger, poll_interval: HOUR, ..RelayOptions::default() }
}

/// How many calls a thousand wake-ups in a second cause, when nothing is there.
fn calls_in_vain(linger: Duration) -> u64 {
    on_paused_clock(async {
        let world = World::new(1, 1, false, FINE, false).await;
        let host = world.start(0, options(linger));
        sleep(HOUR).await;
        let before = world.ledger().seen.calls;
        for _ in 0..1000 {
            host.wake.notify_one();
            sleep(Duration::from_millis(1)).await;
        }
        world.ledger().seen.calls - before
    })
}

#[test]
fn where_events_linger_each_commit_is_no_reason_to_look() {
    let (lingering, eager) = (calls_in_vain(Duration::from_secs(1)), calls_in_vain(Duration::ZERO));
    assert!((10..40).contains(&lingering), "{lingering}");
    assert!(eager > 5 * lingering, "{eager}");
}

#[test]
fn a_wake_up_that_comes_at_once_after_a_look_is_kept() {
    on_paused_clock(async {
        let world = World::new(1, 1, false, FINE, false).await;
        let host = world.start(0, options(HOUR));
        // Waits double up to an hour.
        sleep(5 * HOUR).await;
        host.wake.notify_one();
        sleep(Duration::from_millis(50)).await;
        world.commit(world.write(&[0, 0]));
        host.wake.notify_one();
        sleep(Duration::from_millis(500)).await;
        assert_eq!(world.sinks[&Route::default()].rows().len(), 2);
    });
}
