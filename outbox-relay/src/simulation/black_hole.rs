//! A destination and a database that stop answering in the middle of a delivery.

use std::time::Duration;

use outbox_core::BatchId;
use tokio::time::sleep;

use super::faults::Faults;
use super::on_paused_clock;
use super::world::World;
use crate::options::RelayOptions;

const LEASE: Duration = Duration::from_secs(30);
const HOUR: Duration = Duration::from_secs(3600);
const STARTED: Duration = Duration::from_secs(1);

/// How often the one batch was claimed by one of two relays, this long after the first claim, when `slow` get their answer so
/// late; None when it is settled by then.
fn claims(slow: &'static [&'static str], by: Duration, after: Duration) -> Option<i32> {
    on_paused_clock(async {
        let world = World::new(1, 1, false, Faults::Slow { operations: slow, by }, false).await;
        let options = RelayOptions { batch_rows: 1, lease: LEASE, ..RelayOptions::default() };
        world.commit(world.write(&[0]));
        world.start(0, options.clone());
        world.start(1, options);
        sleep(after).await;
        world.store.lease(BatchId(1)).map(|lease| lease.attempt)
    })
}

#[test]
fn a_slow_delivery_keeps_its_lease() {
    assert_eq!(claims(&["deliver"], HOUR, LEASE + STARTED), Some(1));
}

#[test]
fn a_slow_read_keeps_its_lease() {
    assert_eq!(claims(&["read"], HOUR, LEASE + STARTED), Some(1));
}

#[test]
fn steps_that_are_slow_together_keep_their_lease() {
    let each = LEASE * 19 / 60;
    assert_eq!(claims(&["read", "freeze", "deliver"], each, LEASE + STARTED), None);
}

#[test]
fn a_delivery_is_dropped_in_time_when_its_lease_cannot_be_renewed() {
    assert_eq!(claims(&["deliver", "renew"], HOUR, LEASE + STARTED), Some(2));
}
