//! One schedule: what a seed says about the relays, the producers and the faults.

use std::sync::Arc;
use std::time::Duration;

use outbox_core::Route;
use tokio::task::JoinSet;
use tokio::time::sleep;

use super::faults::{Faults, Odds, draw_kept};
use super::host::Host;
use super::ledger::Ledger;
use super::world::World;
use crate::options::RelayOptions;
use crate::worker::Phase;

/// The longest that a transaction stays open.
const COMMIT_LATE_MAX_MS: u64 = 6_000;
/// Requests travel for up to three leases; see `faults`.
const LATE_LEASES: u32 = 8;

/// Runs the schedule of `seed` to its end and returns what was seen.
pub(super) async fn run(seed: u64, with_story: bool) -> Ledger {
    let mut rng = fastrand::Rng::with_seed(seed);
    let odds = Odds::draw(&mut rng);
    let routes = rng.u32(1..=2);
    let lease = Duration::from_millis(rng.u64(1000..3000));
    let faults = Faults::Drawn { rng: rng.fork(), odds, lease };
    let ordered = rng.u32(0..3) == 0;
    let world = World::new(rng.u64(..), routes, ordered, faults, with_story).await;
    world.ledger().tell(|| format!("{odds:?}, {routes} routes, ordered {ordered}, lease {lease:?}"));
    let options = RelayOptions { ordered, ..options(&mut rng, lease) };
    let mut hosts = Vec::new();
    for route in world.sinks.keys() {
        for _ in 0..rng.u32(if routes == 1 { 2..=3 } else { 1..=2 }) {
            let options = RelayOptions { route: Route::clone(route), ..options.clone() };
            hosts.push(world.start(hosts.len() as u32, options));
        }
    }
    let mut late = JoinSet::new();
    for _ in 0..rng.u32(5..25) {
        sleep(Duration::from_millis(rng.u64(0..600))).await;
        match rng.u32(0..10) {
            0..6 => produce(&mut rng, &world, &hosts, &mut late, odds.bad),
            6 if odds.die > 0 => rng.choice(&hosts).expect("a relay").kill(),
            7 if odds.stall > 0 => {
                world.ledger().seen.stalls += 1;
                rng.choice(&hosts).expect("a relay").stall(lease.mul_f64(rng.f64() * 3.0));
            }
            8 => rng.choice(&hosts).expect("a relay").stop(if rng.bool() { Phase::Finishing } else { Phase::Aborting }),
            9 if odds.sink_crash > 0 => world.crash_sinks(draw_kept(&mut rng)),
            _ => {}
        }
    }
    while late.join_next().await.is_some() {}
    sleep(Duration::from_millis(rng.u64(0..5_000))).await;
    world.calm();
    world.drained().await;
    world.close(lease * LATE_LEASES).await
}

fn options(rng: &mut fastrand::Rng, lease: Duration) -> RelayOptions {
    let ms = |rng: &mut fastrand::Rng, range| Duration::from_millis(rng.u64(range));
    RelayOptions {
        batch_rows: rng.u32(1..=4),
        batch_rows_max: rng.u32(4..=8),
        batch_bytes_max: rng.u64(100..1500),
        linger: if rng.bool() { Duration::ZERO } else { ms(rng, 1..2_000) },
        poll_interval: ms(rng, 400..2_500),
        lease,
        retry_min: ms(rng, 50..500),
        retry_max: ms(rng, 500..3_000),
        ..RelayOptions::default()
    }
}

/// A transaction of a few events, which commits at once, later, or not at all.
fn produce(rng: &mut fastrand::Rng, world: &Arc<World>, hosts: &[Arc<Host>], late: &mut JoinSet<()>, bad: u32) {
    let tables: Vec<u32> = (0..rng.u32(1..=4)).map(|_| rng.u32(0..3)).collect();
    let open = world.write(&tables);
    for at in 0..tables.len() {
        if bad > 0 && rng.u32(0..1000) < bad * 2 {
            world.spoil(&open, at, rng.bool());
        }
    }
    match rng.u32(0..8) {
        0..4 => {
            world.commit(open);
            if rng.bool() {
                hosts.iter().for_each(|host| host.wake.notify_one());
            }
        }
        4..7 => {
            let (world, by) = (Arc::clone(world), Duration::from_millis(rng.u64(0..COMMIT_LATE_MAX_MS)));
            late.spawn(async move {
                sleep(by).await;
                world.commit(open);
            });
        }
        _ => drop(open),
    }
}
