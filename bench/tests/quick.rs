//! Every figure comes out. Nothing is said about its value: the sizes are tiny, and the program is not optimized.

use std::collections::BTreeSet;
use std::process::Command;

use serde::Deserialize;

#[derive(Deserialize)]
struct Figure {
    figure: String,
    value: f64,
    min: f64,
    max: f64,
    unit: String,
    target: Option<String>,
    reached: Option<bool>,
}

/// What the issue that asked for the benchmark wants to see reached.
const TARGETS: &[&str] = &[
    "CPU of all processes into ClickHouse, default batches",
    "CPU of the relay into ClickHouse, default batches",
    "WAL of the consumer, 10000 rows",
    "dead tuples of the consumer, 10000 rows",
    "into ClickHouse over SKIP LOCKED, 10000 rows",
    "into ClickHouse over one event per insert",
    "into ClickHouse over the bare pipe, 10000 rows",
    "into ClickHouse over the bare pipe, 100000 rows",
    "latency/20 events/s/polling/commit to answer, p99",
    "latency/20 events/s/polling/commit to claim, p50",
    "latency/20 events/s/wake-up/commit to answer, p99",
    "latency/20 events/s/wake-up/commit to claim, p50",
    "producer/PostgreSQL/8 connections/1 event",
    "producer/PostgreSQL/8 connections/10 events by emit_all",
    "producer/PostgreSQL/8 connections/attribute, no event",
    "rate at 8000 over 1000 events",
    "rate under an old snapshot",
    "without delivery over SKIP LOCKED, 10000 rows",
    "without delivery over a lease column, 10000 rows",
];

#[test]
fn every_figure_comes_out() {
    let dir = tempfile::tempdir().expect("a directory");
    let json = dir.path().join("figures.json");
    let mut bench = Command::new(env!("CARGO_BIN_EXE_outbox-bench"));
    let ran = bench.args(["--quick", "--json"]).arg(&json).output().expect("it starts");
    let (out, err) = (String::from_utf8_lossy(&ran.stdout), String::from_utf8_lossy(&ran.stderr));
    assert!(matches!(ran.status.code(), Some(0 | 1)), "2 is a failure of the harness:\n{err}");
    let figures: Vec<Figure> =
        serde_json::from_slice(&std::fs::read(json).expect("a file")).expect("a list of figures");
    for Figure { figure, value, min, max, unit, target, reached } in &figures {
        assert!(value.is_finite() && min <= value && value <= max, "{figure}: {min} {value} {max}");
        assert!(!unit.is_empty(), "{figure}");
        assert_eq!(target.is_some(), reached.is_some(), "{figure}");
        assert!(out.contains(&format!("| {figure} |")), "{figure} is missing in the table");
    }
    let targets = figures.iter().filter(|figure| figure.target.is_some()).map(|figure| figure.figure.as_str());
    assert_eq!(targets.collect::<BTreeSet<_>>(), TARGETS.iter().copied().collect());
    let reached = figures.iter().filter(|figure| figure.reached == Some(true)).count();
    let verdict = format!("targets reached: {reached} of {}", TARGETS.len());
    assert_eq!(out.lines().last(), Some(verdict.as_str()));
    assert_eq!(ran.status.code() == Some(0), reached == TARGETS.len());
}
