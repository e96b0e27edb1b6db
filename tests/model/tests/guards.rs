//! Every guard, taken out: the checker finds what goes wrong without it.

#![allow(clippy::print_stdout, reason = "a counterexample is there to be read")]

use outbox_model::{Guard, Scenario, search, walk};

const PLANNING: Scenario = Scenario { emits: [1, 1, 0], whole_deliveries: true, ..Scenario::new("planning") };
const DELIVERY: Scenario = Scenario { emits: [2, 0, 0], whole_plans: true, ..Scenario::new("delivery") };
const BISECTION: Scenario = Scenario { bad: Some(1), mending: true, ..DELIVERY };

/// The shortest way to where `property` does not hold, in a world that is right with the guard.
#[track_caller]
fn breaks(scenario: Scenario, guard: Guard, property: &'static str) {
    let with = walk(scenario);
    assert!(with.failure.is_none(), "with {guard:?}: {with:?}");
    let without = search(scenario.without(guard), property);
    let Some(counterexample) = without.failure else { panic!("nothing goes wrong without {guard:?}: {without}") };
    println!("without {guard:?}, after {} states, {counterexample}", without.states);
}

/// A guard behind which another one stands, in this world.
#[track_caller]
fn holds(scenario: Scenario, guard: Guard) {
    let without = walk(scenario.without(guard));
    println!("without {guard:?}, {without}");
    assert!(without.failure.is_none(), "{without:?}");
}

const LOST: &str = "no committed event is lost";
const PRUNED_EARLY: &str = "nothing is pruned before every route has settled it";
const TWO_BATCHES: &str = "no event is in two batches of a route";
const TWICE: &str = "an event is at its destination once";
const PHANTOM: &str = "nothing is sent that was not committed";
const UNREADABLE: &str = "a sealed batch reads back as it was sealed";

#[test]
fn without_the_in_flight_arm_the_planner_passes_over_a_late_commit() {
    breaks(Scenario { emits: [1, 1, 1], ..PLANNING }, Guard::InFlightArm, LOST);
}

#[test]
fn with_a_snapshot_older_than_the_lock_an_event_is_sealed_twice() {
    breaks(PLANNING, Guard::LockFirst, TWO_BATCHES);
}

#[test]
fn without_the_single_statement_bound_rotation_prunes_undelivered_events() {
    breaks(PLANNING, Guard::SingleStatement, LOST);
}

#[test]
fn without_the_second_look_rotation_prunes_what_was_written_meanwhile() {
    breaks(PLANNING, Guard::SecondLook, LOST);
}

#[test]
fn without_the_transactions_in_flight_in_the_bound_a_late_commit_is_pruned() {
    breaks(PLANNING, Guard::InFlightBound, LOST);
}

#[test]
fn with_the_bound_of_the_lowest_batch_a_replay_is_pruned() {
    breaks(Scenario { replays: 1, ..PLANNING }, Guard::OpenBatches, PRUNED_EARLY);
}

#[test]
fn without_passing_over_what_is_open_a_replay_doubles() {
    breaks(Scenario { emits: [1, 0, 0], replays: 1, ..DELIVERY }, Guard::PassedOver, TWICE);
}

#[test]
fn with_the_bound_of_one_route_the_other_loses_events() {
    breaks(Scenario { routes: 2, ..PLANNING }, Guard::EveryRoute, LOST);
}

#[test]
fn without_a_new_bound_under_the_lock_a_replay_is_pruned() {
    breaks(Scenario { replays: 1, ..PLANNING }, Guard::BoundUnderLock, PRUNED_EARLY);
}

#[test]
fn without_a_new_bound_under_the_lock_a_new_route_cannot_read_what_it_sealed() {
    breaks(Scenario { routes: 2, late_route: true, ..PLANNING }, Guard::BoundUnderLock, UNREADABLE);
}

#[test]
fn without_a_truncate_that_flushes_a_settled_batch_comes_back_without_its_events() {
    breaks(Scenario { crashes: 1, ..DELIVERY }, Guard::TruncateFlushes, UNREADABLE);
}

#[test]
fn without_durable_plans_parts_that_were_planned_are_planned_again() {
    breaks(
        Scenario { crashes: 1, parts_planned: true, ..DELIVERY }.without(Guard::DurableReclaim),
        Guard::DurablePlan,
        TWICE,
    );
}

#[test]
fn without_durable_plans_events_are_sent_whose_commit_is_lost() {
    let scenario = Scenario { crashes: 1, async_commits: true, parts_planned: true, ..DELIVERY };
    breaks(scenario.without(Guard::DurableReclaim), Guard::DurablePlan, PHANTOM);
}

#[test]
fn a_plan_that_is_lost_does_no_harm_while_its_parts_are_frozen_later() {
    holds(Scenario { crashes: 1, async_commits: true, ..DELIVERY }, Guard::DurablePlan);
}

#[test]
fn without_durable_parts_what_was_sent_is_frozen_again() {
    breaks(Scenario { crashes: 1, ..DELIVERY }, Guard::DurableFreeze, TWICE);
}

#[test]
fn without_the_stored_token_a_retry_doubles() {
    breaks(DELIVERY, Guard::StoredToken, TWICE);
}

#[test]
fn without_the_fence_of_freezing_two_relays_freeze_the_same_events() {
    breaks(DELIVERY, Guard::FreezeFence, TWICE);
}

#[test]
fn a_stale_settlement_does_no_harm_while_freezing_is_fenced() {
    holds(Scenario { crashes: 1, replies_lost: true, ..BISECTION }, Guard::SettleFence);
}

#[test]
fn without_the_deadline_a_relay_sends_what_another_has_bisected() {
    breaks(BISECTION, Guard::Deadline, TWICE);
}

#[test]
fn without_a_durable_claim_of_sent_parts_two_relays_hold_one_lease() {
    breaks(Scenario { crashes: 1, ..BISECTION }, Guard::DurableReclaim, TWICE);
}

#[test]
fn without_a_durable_claim_of_sent_parts_a_stale_relay_bisects_what_has_arrived() {
    breaks(Scenario { crashes: 1, ..BISECTION }, Guard::DurableReclaim, "one relay alone brings everything to its end");
}
