//! With every guard in place, every property holds in every state of every scenario.

#![allow(clippy::print_stdout, reason = "how much was walked through is there to be read")]

use outbox_model::{Scenario, walk};

/// Deliveries in one step: what is looked at is planning and pruning, statement by statement.
const PLANNING: Scenario = Scenario { whole_deliveries: true, ..Scenario::new("planning") };
/// Plans in one step: what is looked at is the relays, statement by statement.
const DELIVERY: Scenario = Scenario { whole_emits: true, whole_plans: true, ..Scenario::new("delivery") };

#[track_caller]
fn holds(scenario: Scenario) {
    let walk = walk(scenario);
    println!("{walk}");
    if let Some(counterexample) = walk.failure {
        panic!("{counterexample}");
    }
}

#[test]
fn planning_and_pruning_with_three_transactions() {
    holds(Scenario { name: "planning, three transactions", rollbacks: true, ..PLANNING });
}

#[test]
fn planning_and_pruning_with_two_routes() {
    holds(Scenario { name: "planning, two routes", emits: [1, 1, 0], routes: 2, ..PLANNING });
}

#[test]
fn planning_and_pruning_while_a_route_is_opened() {
    holds(Scenario { name: "planning, a late route", emits: [1, 1, 0], routes: 2, late_route: true, ..PLANNING });
}

#[test]
fn planning_and_pruning_with_replays() {
    holds(Scenario { name: "planning, a replay", emits: [1, 1, 1], replays: 1, ..PLANNING });
}

#[test]
fn planning_and_pruning_with_a_crash_and_asynchronous_commits() {
    let scenario =
        Scenario { name: "planning, a crash", emits: [1, 1, 1], crashes: 1, async_commits: true, ..PLANNING };
    holds(scenario);
}

#[test]
fn a_window_that_is_cut_in_many_calls() {
    holds(Scenario { name: "planning, small cuts", emits: [1, 1, 1], rows_max: 1, batches_max: 1, ..PLANNING });
}

#[test]
fn delivery_with_three_transactions() {
    holds(Scenario { name: "delivery, three transactions", emits: [1, 1, 1], ..DELIVERY });
}

#[test]
fn delivery_with_two_crashes() {
    holds(Scenario { name: "delivery, two crashes", emits: [2, 1, 0], crashes: 2, async_commits: true, ..DELIVERY });
}

#[test]
fn delivery_of_parts_that_were_planned() {
    let scenario = Scenario { name: "delivery, parts in the plan", emits: [1, 1, 0], parts_planned: true, ..DELIVERY };
    holds(Scenario { crashes: 1, async_commits: true, ..scenario });
}

#[test]
fn a_part_is_bisected_and_one_half_held_and_tried_again() {
    let scenario = Scenario { name: "bisection", emits: [2, 0, 0], bad: Some(1), mending: true, ..DELIVERY };
    holds(Scenario { crashes: 1, replies_lost: true, ..scenario });
}

#[test]
fn a_part_of_a_replay_is_bisected() {
    let scenario = Scenario { name: "bisection, a replay", emits: [2, 0, 0], bad: Some(1), ..DELIVERY };
    holds(Scenario { replays: 1, replies_lost: true, ..scenario });
}

#[test]
fn every_statement_by_itself() {
    let scenario = Scenario { name: "every statement", emits: [2, 0, 0], routes: 2, bad: Some(1), ..Scenario::new("") };
    holds(Scenario { crashes: 1, ..scenario });
}

#[test]
fn everything_at_once() {
    let scenario = Scenario { name: "everything", emits: [1, 1, 1], routes: 2, whole_deliveries: true, ..DELIVERY };
    holds(Scenario { bad: Some(1), replays: 1, crashes: 1, ..scenario });
}
