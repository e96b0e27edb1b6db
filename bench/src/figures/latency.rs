//! How long an event takes from its COMMIT to ClickHouse's answer.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use diesel_async::{AsyncConnection, AsyncPgConnection};
use outbox::clickhouse::ClickHouseSink;
use outbox::postgres::PostgresStore;
use outbox::prelude::*;
use outbox::{Frozen, Grace, Part, Recovery, Relay, SchemaRecord, Sink, SinkError, Store, StoredEvent};
use tokio::sync::Notify;
use uuid::Uuid;

use crate::business::OrderPlaced;
use crate::disk::Disk;
use crate::figure::{Figure, Target};
use crate::place::Place;
use crate::report::Report;
use crate::size::Size;
use crate::tally::Tally;
use crate::{Failure, Result, data, roles};

/// How many connections emit: one commits about 300 times a second.
const CONNECTIONS: u64 = 8;

/// Ends a run that would hang.
const DEADLINE: Duration = Duration::from_secs(60);

/// Events a second, and whether the relay is woken up.
const RUNS: [(u64, bool); 4] = [(20, true), (20, false), (1_000, true), (1_000, false)];

/// Of what was measured in each round.
#[derive(Default)]
struct Quantiles {
    p50: Tally,
    p99: Tally,
}

impl Quantiles {
    fn push(&mut self, taken: &Tally) {
        self.p50.push(taken.quantile(0.5));
        self.p99.push(taken.quantile(0.99));
    }
}

/// Of one rate and way, milliseconds.
#[derive(Default)]
struct Measured {
    claimed: Quantiles,
    answered: Quantiles,
    fsync: Quantiles,
}

pub(crate) async fn measure(place: &Place, size: &Size, report: &mut Report) -> Result<()> {
    PostgresStore::new(place.postgres.url()).setup().await?;
    let mut alone = Quantiles::default();
    let mut runs = RUNS.map(|run| (run, Measured::default()));
    for round in 1..=size.rounds {
        eprintln!("latency, round {round} of {}", size.rounds);
        alone.push(&inserts_alone(place, size.latency).await?);
        for ((rate, wakes), measured) in &mut runs {
            let disk = Disk::watch();
            let (claimed, answered) = run(place, *rate, *wakes, size.latency).await?;
            measured.claimed.push(&claimed);
            measured.answered.push(&answered);
            measured.fsync.push(&disk.ended()?);
        }
        place.database.query("TRUNCATE TABLE event_log").await;
    }
    report.add(Figure::new("latency/limit/20 inserts of one row a second, p50", &alone.p50, "ms"));
    report.add(Figure::new("latency/limit/20 inserts of one row a second, p99", &alone.p99, "ms"));
    for ((rate, wakes), Measured { claimed, answered, fsync }) in &runs {
        let name = format!("latency/{rate} events/s/{}", if *wakes { "wake-up" } else { "polling" });
        let mut add = |what: &str, tally: &Tally, target: Option<(f64, f64)>| {
            let figure = Figure::new(format!("{name}/{what}"), tally, "ms");
            let target = target.filter(|_| *rate == 20).map(|(woken, polled)| if *wakes { woken } else { polled });
            report.add(match target {
                Some(target) => figure.target(Target::AtMost(target)),
                None => figure,
            });
        };
        add("commit to claim, p50", &claimed.p50, Some((15.0, 50.0)));
        add("commit to claim, p99", &claimed.p99, None);
        add("commit to answer, p50", &answered.p50, None);
        add("commit to answer, p99", &answered.p99, Some((30.0, 100.0)));
        add("limit: an fsync meanwhile, p50", &fsync.p50, None);
        add("limit: an fsync meanwhile, p99", &fsync.p99, None);
    }
    Ok(())
}

/// What ClickHouse alone takes for it: an INSERT of one ready-made row after the other, 20 a second at random moments, into the table that
/// the events go into. Milliseconds.
async fn inserts_alone(place: &Place, during: Duration) -> Result<Tally> {
    let (client, mut taken) = (place.at().client(), Tally::default());
    let mut rng = fastrand::Rng::with_seed(0);
    let (started, mut next, mut no) = (Instant::now(), Instant::now(), 0);
    while started.elapsed() < during {
        next += Duration::from_millis(50).mul_f64(rng.f64() * 2.0);
        tokio::time::sleep_until(next.into()).await;
        no += 1;
        let mut row = Vec::new();
        data::row_binary(no, chrono::Utc::now().timestamp_micros(), &mut row);
        let before = Instant::now();
        roles::insert(&client, row.into()).await?;
        taken.push(before.elapsed().as_secs_f64() * 1e3);
    }
    Ok(taken)
}

/// Milliseconds from the commit to the claim (just after it: when the batch has been read), and to the answer.
async fn run(place: &Place, rate: u64, wakes: bool, during: Duration) -> Result<(Tally, Tally)> {
    let seen = Arc::<Seen>::default();
    let store = PostgresStore::connect(place.postgres.url()).await?;
    let sink = Timed { sink: place.at().sink()?, seen: Arc::clone(&seen) };
    let relay = Relay::builder(store).sink(sink).linger(Duration::ZERO);
    let relay = if wakes { relay.wake_on(outbox::wake::notified) } else { relay };
    let relay = relay.start().await?;
    let connections = CONNECTIONS.min(rate / 20);
    let mut emitting = tokio::task::JoinSet::new();
    for no in 0..connections {
        let mean = Duration::from_secs(connections) / u32::try_from(rate)?;
        let conn = AsyncPgConnection::establish(place.postgres.url()).await?;
        emitting.spawn(emit(conn, no, mean, during));
    }
    let mut committed = Vec::new();
    while let Some(events) = emitting.join_next().await {
        committed.extend(events??);
    }
    tokio::time::timeout(DEADLINE, seen.all(&committed)).await?;
    relay.stop(Grace::secs(10)).await?;
    Ok(seen.since(&committed))
}

/// Emits at random moments, this far apart in the mean.
async fn emit(mut conn: AsyncPgConnection, no: u64, mean: Duration, during: Duration) -> Result<Vec<(Uuid, Instant)>> {
    let mut rng = fastrand::Rng::with_seed(no);
    let (started, mut next, mut committed) = (Instant::now(), Instant::now(), Vec::new());
    while started.elapsed() < during {
        next += mean.mul_f64(rng.f64() * 2.0);
        tokio::time::sleep_until(next.into()).await;
        let event = OrderPlaced::new(rng.i64(..), 1);
        let id = outbox::transaction(&mut conn, async |conn| conn.emit(&event).await).await;
        committed.push((id.map_err(Failure::from)?, Instant::now()));
    }
    Ok(committed)
}

/// When each event was seen.
#[derive(Default)]
struct Seen {
    claimed: Mutex<HashMap<Uuid, Instant>>,
    answered: Mutex<HashMap<Uuid, Instant>>,
    changed: Notify,
}

impl Seen {
    fn note<'a>(&self, into: &Mutex<HashMap<Uuid, Instant>>, events: impl Iterator<Item = &'a StoredEvent>) {
        let now = Instant::now();
        let mut seen = into.lock().unwrap_or_else(PoisonError::into_inner);
        for stored in events {
            seen.entry(stored.event.id).or_insert(now);
        }
        self.changed.notify_one();
    }

    /// Waits until all of them have been answered.
    async fn all(&self, committed: &[(Uuid, Instant)]) {
        let missing = || {
            let answered = self.answered.lock().unwrap_or_else(PoisonError::into_inner);
            committed.iter().any(|(id, _)| !answered.contains_key(id))
        };
        while missing() {
            self.changed.notified().await;
        }
    }

    fn since(&self, committed: &[(Uuid, Instant)]) -> (Tally, Tally) {
        let tally = |seen: &Mutex<HashMap<Uuid, Instant>>| {
            let seen = seen.lock().unwrap_or_else(PoisonError::into_inner);
            // It may be seen before the committing task gets to look at the time.
            let ms =
                |(id, at): &(Uuid, Instant)| Some(seen.get(id)?.saturating_duration_since(*at).as_secs_f64() * 1e3);
            committed.iter().filter_map(ms).collect()
        };
        (tally(&self.claimed), tally(&self.answered))
    }
}

/// The ClickHouse sink, with a look at the time.
struct Timed {
    sink: ClickHouseSink,
    seen: Arc<Seen>,
}

impl Sink for Timed {
    async fn deliver(&self, part: &Part) -> std::result::Result<(), SinkError> {
        self.sink.deliver(part).await?;
        self.seen.note(&self.seen.answered, part.events.iter());
        Ok(())
    }

    async fn check(&self) -> std::result::Result<(), SinkError> {
        self.sink.check().await
    }

    async fn freeze(&self, table: &str, events: &[&StoredEvent]) -> std::result::Result<Frozen, SinkError> {
        self.sink.freeze(table, events).await
    }

    async fn divide(&self, table: &str, events: &[&StoredEvent]) -> std::result::Result<Vec<Vec<usize>>, SinkError> {
        self.seen.note(&self.seen.claimed, events.iter().copied());
        self.sink.divide(table, events).await
    }

    fn learn(&self, schemas: &[SchemaRecord]) {
        self.sink.learn(schemas);
    }

    async fn recover(&self, part: &Part) -> std::result::Result<Recovery, SinkError> {
        self.sink.recover(part).await
    }
}
