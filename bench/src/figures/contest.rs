//! Everything that is compared, round by round.

use outbox::postgres::PostgresStore;
use outbox::{Route, Store, Tables};

use crate::Result;
use crate::place::Place;
use crate::race::{self, Ran};
use crate::roles::{At, Database, Limit, Role, To};
use crate::tally::Tally;

/// The prefix of the outboxes: of the usual backlog, of a small one, and of a large one.
pub(crate) const USUAL: &str = "usual_";
pub(crate) const SMALL: &str = "small_";
pub(crate) const LARGE: &str = "large_";

/// How a hand-written deliverer works.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Peer {
    SkipLocked,
    Lease,
    OneByOne,
}

/// What one of them does.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Task {
    /// So many relays drain an outbox.
    Relays {
        prefix: &'static str,
        relays: usize,
        workers: Option<u32>,
        rows: u32,
        into_clickhouse: bool,
        old_snapshot: bool,
    },
    /// So many hand-written deliverers drain a queue.
    Peers {
        peer: Peer,
        count: usize,
        rows: i64,
        into_clickhouse: bool,
    },
    Limit {
        limit: Limit,
        rows: i64,
    },
}

/// One that is compared, and what it did in each round.
pub(crate) struct Contestant {
    pub(crate) name: String,
    task: Task,
    events: u64,
    runs: Vec<Ran>,
}

impl Contestant {
    pub(crate) fn new(name: impl Into<String>, task: Task, events: u64) -> Self {
        Self { name: name.into(), task, events, runs: Vec::new() }
    }

    pub(crate) fn tally(&self, of: impl Fn(&Ran) -> f64) -> Tally {
        self.runs.iter().map(of).collect()
    }

    pub(crate) fn rate(&self) -> Tally {
        self.tally(Ran::rate)
    }

    /// Once more.
    pub(crate) async fn run(&mut self, place: &Place) -> Result<()> {
        eprintln!("  {}", self.name);
        let url = place.postgres.url();
        let ran = match &self.task {
            Task::Relays { prefix, relays, workers, rows, into_clickhouse, old_snapshot } => {
                let route = "bench";
                let to = if *into_clickhouse { To::ClickHouse(place.at()) } else { To::Nothing };
                let database = Database::Postgres(url.to_owned());
                let role = Role::Relay {
                    database,
                    prefix: (*prefix).to_owned(),
                    route: route.to_owned(),
                    rows: *rows,
                    workers: *workers,
                    to,
                };
                let roles = vec![role; *relays];
                if *old_snapshot {
                    let sql = "BEGIN ISOLATION LEVEL REPEATABLE READ; SELECT count(*) FROM pg_class";
                    place.client.batch_execute(sql).await?;
                    // It cannot be measured through the connection that holds the snapshot.
                    let ran = race::run_over(place, place.postgres.process(), &roles).await;
                    place.client.batch_execute("COMMIT").await?;
                    forget(place, prefix, route).await?;
                    ran?
                } else {
                    let ran = race::run(place, &roles).await?;
                    forget(place, prefix, route).await?;
                    ran
                }
            }
            Task::Peers { peer, count, rows, into_clickhouse } => {
                queue(place, self.events).await?;
                let (url, rows) = (url.to_owned(), *rows);
                let to: Option<At> = into_clickhouse.then(|| place.at());
                let role = match (peer, place.at()) {
                    (Peer::SkipLocked, _) => Role::SkipLocked { url, rows, to },
                    (Peer::Lease, _) => Role::Lease { url, rows, to },
                    (Peer::OneByOne, to) => Role::OneByOne { url, to },
                };
                race::run(place, &vec![role; *count]).await?
            }
            Task::Limit { limit, rows } => {
                let (events, to) = (i64::try_from(self.events)?, place.at());
                let role = Role::Limit { url: url.to_owned(), events, rows: *rows, limit: *limit, to };
                race::run(place, &[role]).await?
            }
        };
        if ran.events != self.events as f64 {
            return Err(format!("{}: {} events were delivered of {}", self.name, ran.events, self.events).into());
        }
        match &self.task {
            Task::Limit { limit: Limit::Pipe, .. }
            | Task::Relays { into_clickhouse: true, .. }
            | Task::Peers { into_clickhouse: true, .. } => place.check_and_clear(self.events).await?,
            Task::Limit { .. } => drop(place.database.query("TRUNCATE TABLE event_log").await),
            _ => {}
        }
        self.runs.push(ran);
        Ok(())
    }
}

/// Removes the route, so that the next one begins at the first event, and what it leaves behind.
async fn forget(place: &Place, prefix: &str, route: &str) -> Result<()> {
    let tables = Tables::new().with_prefix(prefix)?;
    let store = PostgresStore::new(place.postgres.url()).with_tables(tables.clone());
    store.remove_route(&Route::new(route)).await?;
    let vacuum = tables.sql("VACUUM outbox_batch, outbox_part, outbox_cursor").into_owned();
    Ok(place.client.batch_execute(&vacuum).await?)
}

/// The events of the usual outbox as a queue of the common kind.
async fn queue(place: &Place, events: u64) -> Result<()> {
    let tables = Tables::new().with_prefix(USUAL)?;
    let sql = format!(
        "SET synchronous_commit = off; DROP TABLE IF EXISTS bench_queue; CREATE TABLE bench_queue ( \
            seq bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, id uuid NOT NULL, event_type text NOT NULL, \
            version integer NOT NULL, occurred_at timestamptz NOT NULL, environment text NOT NULL, key text, headers text, \
            payload text NOT NULL, leased_until timestamptz NOT NULL DEFAULT '-infinity'); \
         INSERT INTO bench_queue (id, event_type, version, occurred_at, environment, key, headers, payload) \
            SELECT id, event_type, version, occurred_at, environment, key, headers, payload FROM outbox_event \
            ORDER BY xid, seq LIMIT {events}; \
         RESET synchronous_commit"
    );
    place.client.batch_execute(&tables.sql(&sql)).await?;
    Ok(place.client.batch_execute("VACUUM ANALYZE bench_queue").await?)
}
