//! A backlog is drained: by relays, by what people write by hand, and as fast as the machine can at best.

use super::contest::{Contestant, Peer, SMALL, Task, USUAL};
use crate::Result;
use crate::figure::{Figure, Target};
use crate::place::Place;
use crate::race::Ran;
use crate::report::Report;
use crate::roles::Limit;
use crate::size::Size;
use crate::tally::Tally;

/// The batches.
const ROWS: [u32; 3] = [100, 1_000, 10_000];
/// What a relay does unless told otherwise: its default of `batch_rows_max`.
const DEFAULT_ROWS: u32 = 50_000;
const LARGE_ROWS: u32 = 100_000;
const RELAYS: [usize; 3] = [1, 2, 4];

pub(crate) async fn measure(place: &Place, size: &Size, report: &mut Report) -> Result<()> {
    place.outbox(USUAL, size.events).await?;
    place.outbox(SMALL, size.small).await?;
    place.bodies(size.events).await?;
    let mut contestants = contestants(size);
    if let Some(only) = &size.only {
        contestants.retain(|contestant| contestant.name.contains(only));
    }
    for round in 1..=size.rounds {
        eprintln!("drain, round {round} of {}", size.rounds);
        for contestant in &mut contestants {
            contestant.run(place).await?;
        }
    }
    for contestant in &contestants {
        costs(contestant, report);
    }
    if size.only.is_some() {
        return Ok(());
    }
    let find = |name: &str| {
        let found = contestants.iter().find(|contestant| contestant.name == name);
        found.ok_or_else(|| format!("nothing is called {name}"))
    };
    ratios(find, report)
}

fn contestants(size: &Size) -> Vec<Contestant> {
    let mut all = Vec::new();
    let limit = |name: &str, limit, rows| {
        Contestant::new(format!("limit/{name}/{rows} rows"), Task::Limit { limit, rows }, size.events)
    };
    all.push(limit("read by COPY", Limit::Copy, 10_000));
    all.push(limit("read by string_agg", Limit::StringAgg, 10_000));
    let relays = |rows: u32, relays, into_clickhouse| {
        let sink = if into_clickhouse { "clickhouse" } else { "nothing" };
        let relay = if relays == 1 { "relay" } else { "relays" };
        let name = format!("drain/{sink}/{rows} rows/{relays} {relay}");
        // Small batches are slow: a smaller backlog tells as much.
        let (prefix, events) = if rows <= 100 { (SMALL, size.small) } else { (USUAL, size.events) };
        let task = Task::Relays { prefix, relays, workers: None, rows, into_clickhouse, old_snapshot: false };
        Contestant::new(name, task, events)
    };
    let peer = |name: &str, peer, count, rows, into_clickhouse, events| {
        let sink = if into_clickhouse { "clickhouse" } else { "nothing" };
        let name = format!("peer/{name}/{sink}/{rows} rows{}", if count > 1 { "/2 at once" } else { "" });
        Contestant::new(name, Task::Peers { peer, count, rows, into_clickhouse }, events)
    };
    // What is compared with each other comes one after the other.
    all.push(limit("ingest", Limit::Ingest, 100_000));
    all.push(limit("pipe", Limit::Pipe, 100_000));
    all.push(relays(LARGE_ROWS, 1, true));
    all.push(limit("ingest", Limit::Ingest, DEFAULT_ROWS.into()));
    all.push(limit("pipe", Limit::Pipe, DEFAULT_ROWS.into()));
    all.push(relays(DEFAULT_ROWS, 1, true));
    all.push(limit("ingest", Limit::Ingest, 10_000));
    all.push(limit("pipe", Limit::Pipe, 10_000));
    all.push(relays(10_000, 1, true));
    all.push(peer("SKIP LOCKED", Peer::SkipLocked, 1, 10_000, true, size.peers));
    all.push(peer("SKIP LOCKED", Peer::SkipLocked, 2, 10_000, true, size.peers));
    all.push(peer("lease column", Peer::Lease, 1, 10_000, true, size.peers));
    all.push(peer("one by one", Peer::OneByOne, 1, 1, true, size.one_by_one));
    all.push(relays(10_000, 1, false));
    all.push(peer("SKIP LOCKED", Peer::SkipLocked, 1, 10_000, false, size.peers));
    all.push(peer("lease column", Peer::Lease, 1, 10_000, false, size.peers));
    for into_clickhouse in [true, false] {
        for rows in ROWS {
            all.extend(
                RELAYS.map(|count| relays(rows, count, into_clickhouse)).into_iter().skip((rows == 10_000).into()),
            );
        }
    }
    all
}

/// What each costs.
fn costs(contestant: &Contestant, report: &mut Report) {
    let name = &contestant.name;
    let mut add = |what: &str, tally: Tally, unit| {
        report.add(Figure::new(format!("{name}{what}"), &tally, unit));
    };
    add("", contestant.rate(), "events/s");
    add("/CPU, database", contestant.tally(|ran| ran.per_million(ran.database)), "s per million");
    add("/CPU, ClickHouse", contestant.tally(|ran| ran.per_million(ran.clickhouse)), "s per million");
    add("/CPU, own", contestant.tally(|ran| ran.per_million(ran.own)), "s per million");
}

fn ratios<'a>(find: impl Fn(&str) -> std::result::Result<&'a Contestant, String>, report: &mut Report) -> Result<()> {
    let mut ratio = |name: &str, this: &str, that: &str, target: f64| -> Result<()> {
        let ratio = find(this)?.rate().over(&find(that)?.rate());
        report.add(Figure::new(name, &ratio, "ratio").target(Target::AtLeast(target)));
        Ok(())
    };
    let (into, into_100k) = ("drain/clickhouse/10000 rows/1 relay", "drain/clickhouse/100000 rows/1 relay");
    let (nothing, default) = ("drain/nothing/10000 rows/1 relay", "drain/clickhouse/50000 rows/1 relay");
    ratio("into ClickHouse over the bare pipe, 10000 rows", into, "limit/pipe/10000 rows", 0.8)?;
    ratio("into ClickHouse over the bare pipe, 100000 rows", into_100k, "limit/pipe/100000 rows", 0.7)?;
    ratio("into ClickHouse over SKIP LOCKED, 10000 rows", into, "peer/SKIP LOCKED/clickhouse/10000 rows", 1.7)?;
    ratio("into ClickHouse over one event per insert", into, "peer/one by one/clickhouse/1 rows", 1000.0)?;
    ratio("without delivery over SKIP LOCKED, 10000 rows", nothing, "peer/SKIP LOCKED/nothing/10000 rows", 1.7)?;
    ratio("without delivery over a lease column, 10000 rows", nothing, "peer/lease column/nothing/10000 rows", 5.0)?;
    let mut at_most = |name: &str, relay: &Contestant, of: fn(&Ran) -> f64, unit, target: f64| {
        report.add(Figure::new(name, &relay.tally(of), unit).target(Target::AtMost(target)));
    };
    let (relay, usual) = (find(into)?, find(default)?);
    let unit = "s per million";
    at_most(
        "CPU of all processes into ClickHouse, default batches",
        usual,
        |ran| ran.per_million(ran.cpu()),
        unit,
        5.0,
    );
    at_most("CPU of the relay into ClickHouse, default batches", usual, |ran| ran.per_million(ran.own), unit, 1.5);
    at_most("WAL of the consumer, 10000 rows", relay, |ran| ran.wal / ran.events, "bytes per event", 20.0);
    at_most("dead tuples of the consumer, 10000 rows", relay, |ran| ran.dead / ran.events, "per event", 0.01);
    let all = relay.tally(|ran| ran.per_million(ran.cpu()));
    report.add(Figure::new("CPU of all processes into ClickHouse, 10000 rows", &all, unit));
    report.add(Figure::new(
        "allocations of the relay, 10000 rows",
        &relay.tally(|ran| ran.allocations / ran.events),
        "per event",
    ));
    Ok(())
}
