//! One case: tables, events in an outbox, the real relay and sink, the faults, and a comparison by ids.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use diesel::result::Error as DieselError;
use diesel::{Connection, SqliteConnection};
use outbox::clickhouse::{ClickHouseSettings, ClickHouseSink};
use outbox::prelude::*;
use outbox::sqlite::SqliteStore;
use outbox::{
    Frozen, Part, Recovery, Relay, RelayOptions, Route, RouteStatus, SchemaRecord, Sink, SinkError, Store, StoredEvent,
    Vars,
};
use outbox_test::databases::{ClickHouseDatabase, SqliteFile};
use outbox_test::proxy::FaultProxy;
use tokio::time::{Instant, sleep};
use uuid::Uuid;

use crate::Failure;
use crate::cases::{Case, Expect};
use crate::front::Front;
use crate::script::{POISON, ROW};
use crate::server::Server;
use crate::tally::Tally;

/// How many events a case has, and which of them are bad where some are.
const EVENTS: usize = 20;
const BAD: [usize; 2] = [6, 17];

/// Everything of a case is over long before, while the server answers; and what only comes back after a minute by itself has
/// not been noticed.
const DEADLINE: Duration = Duration::from_secs(45);
/// Between two looks at a state that sends no signal.
const POLL: Duration = Duration::from_millis(25);

/// Soon, so that much happens: as long as a test of a time-out has to wait.
const SETTINGS: [(&str, &str); 9] = [
    ("CLICKHOUSE_CONNECT_TIMEOUT", "2s"),
    ("CLICKHOUSE_INSERT_TIMEOUT", "2s"),
    ("CLICKHOUSE_QUERY_TIMEOUT", "2s"),
    ("OUTBOX_BATCH_ROWS", "20"),
    ("OUTBOX_LINGER", "0s"),
    ("OUTBOX_POLL_INTERVAL", "10ms"),
    ("OUTBOX_RETRY_MIN", "5ms"),
    ("OUTBOX_RETRY_MAX", "40ms"),
    ("OUTBOX_RETRY_PARKED", "100ms"),
];

/// Every row goes on into a second table: what doubles there, doubles for a person, too.
const MIRROR: [&str; 2] = [
    "CREATE TABLE mirror (event_id UUID) ENGINE = MergeTree ORDER BY event_id \
     SETTINGS non_replicated_deduplication_window = 1000",
    "CREATE MATERIALIZED VIEW mirror_view TO mirror AS SELECT event_id FROM event_log",
];

/// Knows nothing of what the start saw, as if that were long ago: the first part asks what the table looks like.
#[derive(Clone)]
struct Unprepared(ClickHouseSink);

impl Sink for Unprepared {
    async fn deliver(&self, part: &Part) -> Result<(), SinkError> {
        self.0.deliver(part).await
    }

    async fn check(&self) -> Result<(), SinkError> {
        ClickHouseSink::new(self.0.settings().clone()).check().await
    }

    async fn divide(&self, table: &str, events: &[&StoredEvent]) -> Result<Vec<Vec<usize>>, SinkError> {
        self.0.divide(table, events).await
    }

    fn learn(&self, schemas: &[SchemaRecord]) {
        self.0.learn(schemas);
    }

    async fn freeze(&self, table: &str, events: &[&StoredEvent]) -> Result<Frozen, SinkError> {
        self.0.freeze(table, events).await
    }

    async fn recover(&self, part: &Part) -> Result<Recovery, SinkError> {
        self.0.recover(part).await
    }
}

#[derive(EventLog)]
struct Probe {
    text: String,
}

#[transactional_event]
fn emit(conn: &mut SqliteConnection, probes: &[Probe]) -> Result<Vec<Uuid>, DieselError> {
    probes.iter().map(|probe| conn.emit(probe)).collect()
}

/// Plays a case.
///
/// # Errors
/// What was not as it should be, in words.
pub(crate) async fn play(case: &Case, server: &Server) -> Result<Tally, (Tally, Failure)> {
    let mut tally = Tally::default();
    let database = Arc::new(server.database().await);
    // Never dropped: DROP DATABASE waits for queries whose client was cut off, and the server goes away after the run.
    std::mem::forget(Arc::clone(&database));
    let played = tokio::select! {
        played = played(case, database, &mut tally) => played,
        () = server.answers_for(DEADLINE) => Err(format!("not within {DEADLINE:?}").into()),
    };
    match played {
        Ok(()) => Ok(tally),
        Err(failure) => Err((tally, failure)),
    }
}

async fn played(case: &Case, database: Arc<ClickHouseDatabase>, tally: &mut Tally) -> Result<(), Failure> {
    let direct = settings(database.url(), database.name())?;
    let made = async || ClickHouseSink::new(direct.clone()).ensure_table().await;
    until("the table is made", async || made().await.is_ok()).await;
    run_all(&database, MIRROR.iter().chain(&case.before)).await;

    let file = SqliteFile::create();
    let store = SqliteStore::new(&file.url());
    store.setup().await?;
    let front = Front::start(Arc::clone(&database)).await?;
    let proxy = FaultProxy::start(front.url().trim_start_matches("http://")).await;
    let sink = Unprepared(ClickHouseSink::new(settings(&proxy.http_url(), database.name())?));
    let options = RelayOptions::from_vars(&Vars::new(SETTINGS))?;
    // Another case's cut may just have brought the server down.
    let relay = loop {
        let relay = Relay::builder(store.clone()).sink(sink.clone()).options(options.clone());
        match relay.start().await {
            Ok(relay) => break relay,
            Err(error) => eprintln!("{}: {error}: again", case.name),
        }
        sleep(POLL).await;
    };

    run_all(&database, &case.spoil).await;
    front.arm(case.script.clone());
    let mut modes = case.proxy.iter();
    let mut cuts = proxy.cuts();
    if let Some(mode) = modes.next() {
        proxy.set_once(*mode);
    }
    let (sent, bad) = write(&file, case.poison)?;
    if !case.mend.is_empty() {
        // Some of it does no harm.
        let failed = async || relay.stats().failures > 0 || pending(&store).await == Some(0);
        until("something has failed", failed).await;
        run_all(&database, &case.mend).await;
    }
    for mode in modes {
        // The next one waits for the one before: whoever tries again meets it.
        if delivered_or(&store, async || proxy.cuts() > cuts).await {
            break;
        }
        cuts = proxy.cuts();
        proxy.set_once(*mode);
    }
    if case.proxy.contains(&outbox_test::proxy::Mode::Blackhole) {
        until("the silence was noticed", async || relay.stats().failures > 0).await;
        proxy.set(outbox_test::proxy::Mode::Pass);
    }
    until("everything is settled", async || pending(&store).await == Some(0)).await;
    relay.stop(outbox::Grace::secs(10)).await?;
    compare(case, &database, &store, &sent, &bad, tally).await?;
    if let Some(rest) = front.waits_for() {
        return Err(format!("the fault did not happen: {rest}").into());
    }
    let differing = front.differing();
    if !differing.is_empty() {
        return Err(format!("other bytes under the same token: {differing:?}").into());
    }
    Ok(())
}

fn settings(url: &str, database: &str) -> Result<ClickHouseSettings, Failure> {
    let vars = SETTINGS.map(|(name, value)| (name.to_owned(), value.to_owned()));
    let place = [("CLICKHOUSE_URL", url), ("CLICKHOUSE_DATABASE", database)];
    let place = place.map(|(name, value)| (name.to_owned(), value.to_owned()));
    Ok(ClickHouseSettings::from_vars(&Vars::new(vars.into_iter().chain(place)))?)
}

/// Commits the events, and says which are bad.
fn write(file: &SqliteFile, poison: bool) -> Result<(BTreeSet<Uuid>, BTreeSet<Uuid>), Failure> {
    let mut conn = SqliteConnection::establish(&file.path().display().to_string())?;
    let is_bad = |row: usize| poison && BAD.contains(&row);
    let text = |row: usize| format!("{ROW}{row} {}", if is_bad(row) { POISON } else { "good" });
    let probes: Vec<_> = (0..EVENTS).map(|row| Probe { text: text(row) }).collect();
    let ids = emit(&mut conn, &probes)?;
    let bad = ids.iter().enumerate().filter(|(row, _)| is_bad(*row)).map(|(_, id)| *id).collect();
    Ok((ids.into_iter().collect(), bad))
}

/// Each event once in the table and in the view's target, or held as dead with the reason.
async fn compare(
    case: &Case,
    database: &ClickHouseDatabase,
    store: &SqliteStore,
    sent: &BTreeSet<Uuid>,
    bad: &BTreeSet<Uuid>,
    tally: &mut Tally,
) -> Result<(), Failure> {
    let mut dead = BTreeSet::new();
    for batch in store.held(1000).await? {
        let events = store.held_events(batch.id()).await?.unwrap_or_default();
        dead.extend(events.iter().map(|stored| stored.event.id));
        if Expect::DeadLettered(batch.code.unwrap_or_default()) != case.expect || batch.error.is_empty() {
            return Err(format!("held for another reason: {} ({:?})", batch.error, batch.code).into());
        }
        if batch.error.contains("SECRET") {
            return Err(format!("the reason quotes a row: {}", batch.error).into());
        }
    }
    let rows = arrived(database, "event_log", sent).await?;
    *tally = Tally::of(sent, &rows, &dead);
    let mirrored = Tally::of(sent, &arrived(database, "mirror", sent).await?, &dead);
    if *tally != mirrored {
        return Err(format!("the view's target: {mirrored:?} instead of {tally:?}").into());
    }
    if !tally.is_good() || dead != *bad {
        return Err(format!("{tally:?}, and {} instead of {} dead", dead.len(), bad.len()).into());
    }
    Ok(())
}

/// How many rows each event has.
async fn arrived(
    database: &ClickHouseDatabase,
    table: &str,
    sent: &BTreeSet<Uuid>,
) -> Result<BTreeMap<Uuid, usize>, Failure> {
    let sql = format!("SELECT event_id FROM {table} FORMAT TSV");
    let mut text = String::new();
    until("the server answers", async || match database.try_query(sql.clone()).await {
        Ok(answer) => {
            text = answer;
            true
        }
        Err(_) => false,
    })
    .await;
    let mut rows = BTreeMap::new();
    for line in text.lines() {
        *rows.entry(line.parse::<Uuid>()?).or_default() += 1;
    }
    rows.retain(|id, _| sent.contains(id));
    Ok(rows)
}

/// Statements on the real server, each until it goes through: it may be on its way up again after a cut.
async fn run_all<'a>(database: &ClickHouseDatabase, statements: impl IntoIterator<Item = &'a &'static str>) {
    for sql in statements {
        until(sql, async || database.try_query(*sql).await.is_ok()).await;
    }
}

async fn pending(store: &SqliteStore) -> Option<u64> {
    let routes = store.status().await.ok()?.routes;
    let route = Route::default();
    routes.iter().find(|status| status.route == route.as_str()).map(RouteStatus::pending_events)
}

/// Waits until `holds`, and returns false; or until everything is settled, and returns true.
async fn delivered_or(store: &SqliteStore, mut holds: impl AsyncFnMut() -> bool) -> bool {
    loop {
        if holds().await {
            return false;
        }
        if pending(store).await == Some(0) {
            return true;
        }
        sleep(POLL).await;
    }
}

/// The case's own deadline ends what never holds; what it waits for is said.
async fn until(what: &str, mut holds: impl AsyncFnMut() -> bool) {
    const SLOW: Duration = Duration::from_secs(30);
    let (started, mut said) = (Instant::now(), false);
    while !holds().await {
        if !said && started.elapsed() > SLOW {
            said = true;
            eprintln!("still waiting: {what}");
        }
        sleep(POLL).await;
    }
}
