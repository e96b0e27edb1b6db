//! The worker loop and its machine against a store and sinks in memory, under thousands of schedules of faults, each made
//! from a seed: relays that die or stand still at any call, calls that fail before or after their effect or arrive long
//! after the lease, destinations that forget, transactions that commit late.
//!
//! Time is tokio's paused clock and there is one thread, so a seed gives the same schedule each time.
//! `OUTBOX_SIM_SEED=N` runs one and prints its steps when it fails; `OUTBOX_SIM_SCHEDULES=N` runs more of them.
//!
//! Left out: clocks that run at different speeds, and what only a real database or ClickHouse does.

mod black_hole;
mod every_step;
mod faults;
mod host;
mod ledger;
mod schedule;
mod wake_ups;
mod wire;
mod world;

use std::time::Instant;

use ledger::{Ledger, Seen};

/// How many schedules a run has when nothing else is asked for, in two tests.
const SCHEDULES: u64 = 3_000;

/// How many of a failing schedule's last steps are printed.
const STORY_MAX: usize = 400;

fn on_paused_clock<T>(run: impl Future<Output = T>) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build();
    runtime.expect("a runtime").block_on(run)
}

fn variable(name: &str) -> Option<u64> {
    let value = std::env::var(name).ok()?;
    Some(value.parse().unwrap_or_else(|_| panic!("{name} is not a number")))
}

/// Runs every schedule and ends with all that was seen, or with the first seed that fails.
fn simulate(seeds: impl Iterator<Item = u64>) -> Seen {
    let started = Instant::now();
    let (mut all, mut schedules) = (Seen::default(), 0_u32);
    for seed in seeds {
        let ledger = on_paused_clock(schedule::run(seed, false));
        if !ledger.breaches.is_empty() {
            fail(seed, &ledger);
        }
        all.add(ledger.seen);
        schedules += 1;
    }
    let rate = f64::from(schedules) / started.elapsed().as_secs_f64();
    #[allow(clippy::print_stdout, reason = "the test harness shows this on request")]
    {
        println!("{schedules} schedules, {rate:.0} a second: {all:?}");
    }
    all
}

fn fail(seed: u64, ledger: &Ledger) -> ! {
    let story = on_paused_clock(schedule::run(seed, true)).story.unwrap_or_default();
    let last = story.len().saturating_sub(STORY_MAX);
    panic!(
        "{}\n\nThe schedule of OUTBOX_SIM_SEED={seed} fails: {:#?}\nOnce more: OUTBOX_SIM_SEED={seed} cargo test -p outbox-relay simulation",
        story[last..].join("\n"),
        ledger.breaches
    );
}

fn simulate_half(half: u64) {
    if let Some(seed) = variable("OUTBOX_SIM_SEED") {
        simulate([seed].into_iter());
        return;
    }
    let schedules = variable("OUTBOX_SIM_SCHEDULES").unwrap_or(SCHEDULES);
    let seen = simulate((0..schedules).filter(|seed| seed % 2 == half));
    if schedules < SCHEDULES {
        return;
    }
    // What never happened was not tested.
    let Seen { calls, delivered, deaths, stalls, sink_crashes, fenced, resent, .. } = seen;
    let Seen {
        recovered_delivered,
        recovered_resend,
        recovered_replace,
        late_arrivals,
        several_tables,
        pruned,
        holds,
        in_order,
        dead,
        bad_refused,
        ..
    } = seen;
    let counts = [
        calls,
        delivered,
        deaths,
        stalls,
        sink_crashes,
        fenced,
        resent,
        recovered_delivered,
        recovered_resend,
        recovered_replace,
        late_arrivals,
        several_tables,
        pruned,
        holds,
        in_order,
        dead,
        bad_refused,
    ];
    assert!(counts.iter().all(|count| *count > 20), "{seen:?}");
}

#[test]
fn nothing_is_lost_or_doubled_on_even_schedules() {
    simulate_half(0);
}

#[test]
fn nothing_is_lost_or_doubled_on_odd_schedules() {
    simulate_half(1);
}

#[test]
fn a_seed_gives_the_same_schedule_each_time() {
    for seed in 0..20 {
        let [first, second] = [0, 1].map(|_| on_paused_clock(schedule::run(seed, false)));
        assert_eq!((first.hash, first.seen), (second.hash, second.seen), "seed {seed}");
    }
}
