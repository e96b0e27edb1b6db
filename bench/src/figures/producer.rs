//! What an event costs the transaction that emits it.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::{Duration, Instant};

use tokio::task::JoinSet;

use super::service::Service;
use crate::business::Variant;
use crate::figure::{Figure, Target};
use crate::place::Place;
use crate::report::Report;
use crate::size::Size;
use crate::tally::Tally;
use crate::{Result, cpu};

const CONNECTIONS: [usize; 2] = [1, 8];

/// Turns per round: many short ones, because a disk's moods last for seconds.
const TURNS: usize = 6;

/// What makes every commit of PostgreSQL wait two milliseconds longer, as for the disk that most have, and what makes it stop.
const SLOW_DISK: [&str; 3] =
    ["ALTER SYSTEM SET commit_delay = 2000", "ALTER SYSTEM SET commit_siblings = 0", "SELECT pg_reload_conf()"];
const OWN_DISK: [&str; 3] =
    ["ALTER SYSTEM RESET commit_delay", "ALTER SYSTEM RESET commit_siblings", "SELECT pg_reload_conf()"];

/// What one variant did in each turn.
#[derive(Default)]
struct Turns {
    /// Transactions per second.
    rate: Tally,
    /// CPU microseconds of the server per transaction.
    cpu: Tally,
    /// Bytes of WAL per transaction, where it is known.
    wal: Tally,
}

pub(crate) async fn measure(place: &Place, size: &Size, report: &mut Report) -> Result<()> {
    for service in Service::all(place).await? {
        for connections in CONNECTIONS {
            let turns = take_turns(place, &service, connections, size).await?;
            figures(&service, "", connections, &turns, report);
        }
        if service.is_postgres() {
            let connections = CONNECTIONS[1];
            eprintln!("the same with a disk that takes 2 ms");
            service.execute_all(SLOW_DISK).await?;
            let turns = take_turns(place, &service, connections, size).await;
            service.execute_all(OWN_DISK).await?;
            figures(&service, ", a disk of 2 ms", connections, &turns?, report);
        }
    }
    Ok(())
}

async fn take_turns(place: &Place, service: &Service, connections: usize, size: &Size) -> Result<Vec<Turns>> {
    let mut turns: Vec<Turns> = Variant::ALL.iter().map(|_| Turns::default()).collect();
    eprintln!("producer on {}, {connections} connections", service.name());
    for turn_no in 0..size.rounds * TURNS {
        service.empty().await?;
        // Each has its turn on the emptied tables.
        for at in 0..Variant::ALL.len() {
            let at = (turn_no + at) % Variant::ALL.len();
            let (variant, turns) = (Variant::ALL[at], &mut turns[at]);
            let wal = place.wal().await?;
            let server = || service.process().map_or(f64::NAN, cpu::seconds);
            let before = server();
            let (rate, done) = turn(service, connections, variant, size.producer).await?;
            turns.rate.push(rate);
            turns.cpu.push((server() - before) / done * 1e6);
            turns.wal.push((place.wal().await? - wal) / done);
        }
    }
    Ok(turns)
}

/// Transactions per second, and how many there were.
async fn turn(service: &Service, connections: usize, variant: Variant, during: Duration) -> Result<(f64, f64)> {
    static ORDER: AtomicI64 = AtomicI64::new(0);
    let mut opened = Vec::new();
    for _ in 0..connections {
        let mut connection = service.connect().await?;
        // Its statements are prepared before the time is taken.
        connection.run(variant, ORDER.fetch_add(1, Ordering::Relaxed)).await?;
        opened.push(connection);
    }
    let started = Instant::now();
    let done = Arc::new(AtomicI64::new(0));
    let mut running = JoinSet::new();
    for mut connection in opened {
        let done = Arc::clone(&done);
        running.spawn(async move {
            while started.elapsed() < during {
                connection.run(variant, ORDER.fetch_add(1, Ordering::Relaxed)).await?;
                done.fetch_add(1, Ordering::Relaxed);
            }
            Ok::<(), crate::Failure>(())
        });
    }
    while let Some(ended) = running.join_next().await {
        ended??;
    }
    let done = done.load(Ordering::Relaxed) as f64;
    Ok((done / started.elapsed().as_secs_f64(), done))
}

/// `disk`: what is to be said of it.
fn figures(service: &Service, disk: &str, connections: usize, turns: &[Turns], report: &mut Report) {
    let name = |what: &str| {
        let connection = if connections == 1 { "connection" } else { "connections" };
        format!("producer/{}{disk}/{connections} {connection}/{what}", service.name())
    };
    let Some(plain) = turns.first() else { return };
    report.add(Figure::new(name(&Variant::Plain.name()), &plain.rate, "transactions/s"));
    for (variant, turn) in Variant::ALL.into_iter().zip(turns).skip(1) {
        let figure = Figure::new(name(&variant.name()), &turn.rate.over(&plain.rate), "of plain Diesel's rate");
        let target = match variant {
            Variant::Attribute => Some(0.97),
            Variant::Emit(1) => Some(0.92),
            Variant::EmitAll(10) => Some(0.7),
            _ => None,
        };
        report.add(match target {
            Some(target) if service.is_postgres() && disk.is_empty() && connections == 8 => {
                figure.target(Target::AtLeast(target))
            }
            _ => figure,
        });
        let events = variant.events() as f64;
        if events == 0.0 {
            continue;
        }
        let per_event = |of: &Tally, plain: &Tally| of.minus(plain.median()).map(|more| more / events);
        if service.process().is_some() {
            let figure = name(&format!("{}/CPU, server", variant.name()));
            report.add(Figure::new(figure, &per_event(&turn.cpu, &plain.cpu), "us per event"));
        }
        if service.is_postgres() {
            let figure = name(&format!("{}/WAL", variant.name()));
            report.add(Figure::new(figure, &per_event(&turn.wal, &plain.wal), "bytes per event"));
        }
    }
}
