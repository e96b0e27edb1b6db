//! Whether the rate holds: however much waits, and while an old snapshot is open.

use super::contest::{Contestant, LARGE, SMALL, Task, USUAL};
use crate::Result;
use crate::figure::{Figure, Target};
use crate::place::Place;
use crate::report::Report;
use crate::size::Size;

pub(crate) async fn measure(place: &Place, size: &Size, report: &mut Report) -> Result<()> {
    place.outbox(SMALL, size.small).await?;
    place.outbox(USUAL, size.events).await?;
    place.outbox(LARGE, size.large).await?;
    let drain = |name: &str, prefix, events, rows, old_snapshot| {
        let task = Task::Relays { prefix, relays: 1, workers: None, rows, into_clickhouse: false, old_snapshot };
        Contestant::new(format!("backlog/{name}"), task, events)
    };
    let mut small = drain(&format!("{} events", size.small), SMALL, size.small, 10_000, false);
    let mut usual = drain(&format!("{} events", size.events), USUAL, size.events, 10_000, false);
    let mut large = drain(&format!("{} events", size.large), LARGE, size.large, 10_000, false);
    // Small batches: each leaves dead rows behind that the snapshot keeps.
    let mut young = drain("no old snapshot, 1000 rows", USUAL, size.events, 1_000, false);
    let mut old = drain("an old snapshot, 1000 rows", USUAL, size.events, 1_000, true);
    for round in 1..=size.rounds {
        eprintln!("backlog, round {round} of {}", size.rounds);
        for contestant in [&mut small, &mut usual, &mut large, &mut young, &mut old] {
            contestant.run(place).await?;
        }
    }
    for contestant in [&small, &usual, &large, &young, &old] {
        let (name, memory) = (&contestant.name, contestant.tally(|ran| ran.memory));
        report.add(Figure::new(name, &contestant.rate(), "events/s"));
        report.add(Figure::new(format!("{name}/memory of the relay, peak"), &memory, "MiB"));
    }
    let ratio = large.rate().over(&small.rate());
    let name = format!("rate at {} over {} events", size.large, size.small);
    report.add(Figure::new(name, &ratio, "ratio").target(Target::AtLeast(0.9)));
    let ratio = old.rate().over(&young.rate());
    report.add(Figure::new("rate under an old snapshot", &ratio, "ratio").target(Target::AtLeast(0.8)));
    Ok(())
}
