//! A database with a service's tables and the outbox, a ClickHouse database, and what lies between.

use std::collections::BTreeSet;
use std::process::Stdio;
use std::time::Duration;

use outbox::clickhouse::{ClickHouseSettings, ClickHouseSink};
use outbox::mysql::MySqlStore;
use outbox::postgres::PostgresStore;
use outbox::sqlite::SqliteStore;
use outbox::{Relay, RelayBuilder, Route, RouteStatus, Store, Vars};
use outbox_test::databases::{ClickHouseDatabase, MySqlDatabase, PostgresDatabase, SqliteFile};
use outbox_test::process::Process;
use outbox_test::servers::PrivateClickHouse;
use outbox_tests::crash::is_away;
use outbox_tests::service::{Conn, Mode, USERS};
use tokio::process::Command;
use tokio::sync::Mutex;
use tokio::time::{Instant, interval, timeout};

/// Which database, and which kind of connection to it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Postgres,
    #[cfg(feature = "postgres-sync")]
    BlockingPostgres,
    MySql,
    Sqlite,
    AsyncSqlite,
}

impl Kind {
    fn mode(self) -> Mode {
        match self {
            Self::Postgres | Self::MySql | Self::AsyncSqlite => Mode::Async,
            #[cfg(feature = "postgres-sync")]
            Self::BlockingPostgres => Mode::Blocking,
            Self::Sqlite => Mode::Blocking,
        }
    }
}

enum Database {
    Postgres(PostgresDatabase),
    MySql(MySqlDatabase),
    Sqlite(SqliteFile),
}

/// One test's surroundings.
pub(crate) struct World {
    kind: Kind,
    database: Database,
    pub(crate) clickhouse: ClickHouseDatabase,
    /// A server of this test's own, where there is one.
    server: Mutex<Option<PrivateClickHouse>>,
    /// Where the sink looks for ClickHouse: a proxy's address, where there is one.
    pub(crate) clickhouse_url: String,
    lease: &'static str,
}

/// Ends a test that would hang.
const DEADLINE: Duration = Duration::from_secs(90);
/// Without an answer for so long, a ClickHouse of our own is taken for one that is aborting.
const SILENT_FOR: Duration = Duration::from_secs(8);
/// So that a relay's first claim of a batch is its only one, unless the machine stands still for a minute; and so that what a
/// relay lets go of, because its database did not answer, comes back within [`DEADLINE`].
const LONG_LEASE: &str = "60s";
/// So that what a killed relay held comes back soon.
const SHORT_LEASE: &str = "1s";

impl World {
    pub(crate) async fn new(kind: Kind) -> Self {
        Self::with_clickhouse(kind, ClickHouseDatabase::create().await).await
    }

    /// With a ClickHouse of its own and short leases, for tests that kill its clients or cut their connections: version 26.7
    /// aborts at times when that happens, and what is started again then is nobody else's.
    pub(crate) async fn alone(kind: Kind) -> Self {
        let server = PrivateClickHouse::start().await;
        let world = Self::with_clickhouse(kind, ClickHouseDatabase::create_on(&server).await).await;
        Self { server: Mutex::new(Some(server)), lease: SHORT_LEASE, ..world }
    }

    /// The server that [`alone`](Self::alone) started.
    pub(crate) fn server(&mut self) -> &mut PrivateClickHouse {
        self.server.get_mut().as_mut().expect("a server of its own")
    }

    pub(crate) async fn with_clickhouse(kind: Kind, clickhouse: ClickHouseDatabase) -> Self {
        let world = Self::bare(kind, clickhouse).await;
        match &world.database {
            Database::Postgres(_) => world.postgres().await.setup().await,
            Database::MySql(_) => world.mysql().setup().await,
            Database::Sqlite(_) => world.sqlite().setup().await,
        }
        .expect("the outbox tables install");
        world
    }

    /// Without the outbox tables.
    pub(crate) async fn bare(kind: Kind, clickhouse: ClickHouseDatabase) -> Self {
        let database = match kind {
            Kind::Sqlite | Kind::AsyncSqlite => Database::Sqlite(SqliteFile::create()),
            Kind::MySql => Database::MySql(MySqlDatabase::create().await),
            _ => Database::Postgres(PostgresDatabase::create().await),
        };
        let clickhouse_url = clickhouse.url().to_owned();
        let world = Self { kind, database, clickhouse, server: Mutex::new(None), clickhouse_url, lease: LONG_LEASE };
        world.conn().await.execute(USERS).await;
        world
    }

    pub(crate) fn database_url(&self) -> String {
        match &self.database {
            Database::Postgres(database) => database.url().to_owned(),
            Database::MySql(database) => database.url().to_owned(),
            Database::Sqlite(file) => file.url(),
        }
    }

    pub(crate) async fn conn(&self) -> Conn {
        Conn::open(&self.database_url(), self.kind.mode()).await
    }

    pub(crate) async fn postgres(&self) -> PostgresStore {
        PostgresStore::connect(&self.database_url()).await.expect("a pool")
    }

    pub(crate) fn mysql(&self) -> MySqlStore {
        MySqlStore::new(&self.database_url())
    }

    pub(crate) fn sqlite(&self) -> SqliteStore {
        SqliteStore::new(&self.database_url())
    }

    /// The environment of a program that belongs to this world.
    pub(crate) fn vars(&self) -> Vec<(&'static str, String)> {
        let mut vars = vec![
            ("DATABASE_URL", self.database_url()),
            ("CLICKHOUSE_URL", self.clickhouse_url.clone()),
            ("CLICKHOUSE_DATABASE", self.clickhouse.name().to_owned()),
            ("OUTBOX_CLICKHOUSE_CREATE_TABLE", "true".to_owned()),
            ("OUTBOX_ENVIRONMENT", "test".to_owned()),
            ("OUTBOX_LEASE", self.lease.to_owned()),
            ("OUTBOX_RETRY_MIN", "20ms".to_owned()),
            ("OUTBOX_RETRY_MAX", "200ms".to_owned()),
            ("OUTBOX_LINGER", "0s".to_owned()),
            ("OUTBOX_POLL_INTERVAL", "20ms".to_owned()),
        ];
        if let (Some(user), Some(password)) = (self.clickhouse.user(), self.clickhouse.password()) {
            vars.push(("CLICKHOUSE_USER", user.to_owned()));
            vars.push(("CLICKHOUSE_PASSWORD", password.to_owned()));
        }
        vars
    }

    pub(crate) fn sink(&self) -> ClickHouseSink {
        let settings = ClickHouseSettings::from_vars(&Vars::new(self.vars())).expect("good settings");
        ClickHouseSink::new(settings)
    }

    /// Starts a relay in this process.
    pub(crate) async fn relay(&self) -> Relay {
        match &self.database {
            Database::Postgres(_) => self.started(&self.postgres().await, |relay| relay).await,
            Database::MySql(_) => self.started(&self.mysql(), |relay| relay).await,
            Database::Sqlite(_) => self.started(&self.sqlite(), |relay| relay).await,
        }
    }

    /// Starts a relay in this process that keeps what it has delivered.
    pub(crate) async fn relay_that_keeps(&self, keep: Duration) -> Relay {
        self.started(&self.postgres().await, |relay| relay.keep_delivered(keep)).await
    }

    /// Starts a relay in this process that delivers small batches in several workers.
    pub(crate) async fn busy_relay(&self, workers: u32, rows: u32) -> Relay {
        match &self.database {
            Database::Postgres(_) => self.started(&self.postgres().await, |relay| small(relay, workers, rows)).await,
            Database::MySql(_) => self.started(&self.mysql(), |relay| small(relay, workers, rows)).await,
            Database::Sqlite(_) => self.started(&self.sqlite(), |relay| small(relay, workers, rows)).await,
        }
    }

    /// Starts a relay, again where a ClickHouse of our own is not there: the relay before may have been killed or cut off.
    async fn started<S: Store>(&self, store: &S, change: impl Fn(RelayBuilder<S>) -> RelayBuilder<S>) -> Relay {
        let begun = Instant::now();
        let mut ticks = interval(TICK);
        loop {
            ticks.tick().await;
            let relay = change(self.configured(Relay::builder(store.clone())));
            let error = match relay.start().await {
                Ok(relay) => return relay,
                Err(error) => error,
            };
            let again = is_away(&error) && begun.elapsed() < DEADLINE && self.revive().await;
            assert!(again, "the relay starts: {error}");
        }
    }

    pub(crate) fn configured<S: Store>(&self, builder: RelayBuilder<S>) -> RelayBuilder<S> {
        let options = outbox::RelayOptions::from_vars(&Vars::new(self.vars())).expect("good options");
        builder.sink(self.sink()).options(options)
    }

    /// Delivers what is there, like `outbox run --once`, and prunes.
    pub(crate) async fn drain(&self) {
        let mut relay = match &self.database {
            Database::Postgres(_) => self.started(&self.postgres().await, RelayBuilder::once).await,
            Database::MySql(_) => self.started(&self.mysql(), RelayBuilder::once).await,
            Database::Sqlite(_) => self.started(&self.sqlite(), RelayBuilder::once).await,
        };
        relay.ended().await.expect("everything is delivered");
    }

    pub(crate) async fn status(&self) -> outbox::Status {
        match &self.database {
            Database::Postgres(_) => self.postgres().await.status().await,
            Database::MySql(_) => self.mysql().status().await,
            Database::Sqlite(_) => self.sqlite().status().await,
        }
        .expect("a status")
    }

    pub(crate) async fn route_status(&self) -> RouteStatus {
        let route = Route::default();
        let routes = self.status().await.routes;
        routes.into_iter().find(|status| status.route == route.as_str()).unwrap_or_default()
    }

    /// Waits until everything committed is delivered, however long that takes, as long as something moves.
    pub(crate) async fn delivered(&self) {
        let (mut last, mut moved) = (u64::MAX, Instant::now());
        let mut ticks = interval(TICK);
        loop {
            ticks.tick().await;
            self.revive().await;
            let pending = self.route_status().await.pending_events();
            if pending == 0 {
                return;
            }
            if pending != last {
                (last, moved) = (pending, Instant::now());
            }
            assert!(moved.elapsed() < DEADLINE, "{pending} events wait, and nothing has moved for {DEADLINE:?}");
        }
    }

    /// Starts a ClickHouse of our own again that is aborting because a client was cut off, as a service manager's health check
    /// would: by itself it takes ten seconds to end, in which it says so or nothing at all. False where there is none of our own.
    async fn revive(&self) -> bool {
        let mut server = self.server.lock().await;
        let Some(server) = server.as_mut() else { return false };
        let answer = timeout(SILENT_FOR, self.clickhouse.try_query("SELECT 1")).await;
        if answer.map_or(true, |answer| answer.is_err_and(|error| error.contains("Code: 236"))) {
            server.kill();
            server.restart().await;
        }
        true
    }

    /// The ids of the events in ClickHouse, and how many rows there are.
    pub(crate) async fn arrived(&self) -> (BTreeSet<String>, usize) {
        let text = self.clickhouse.query("SELECT event_id FROM event_log").await;
        let rows: Vec<String> = text.lines().map(str::to_owned).collect();
        let count = rows.len();
        (rows.into_iter().collect(), count)
    }

    /// Compares ids: none lost, none doubled, none made up.
    pub(crate) async fn assert_exactly_once(&self, committed: &BTreeSet<String>) {
        let (arrived, rows) = self.arrived().await;
        let lost = committed.difference(&arrived).count();
        let phantom = arrived.difference(committed).count();
        let doubled = rows - arrived.len();
        assert_eq!((lost, phantom, doubled), (0, 0, 0), "(lost, phantom, doubled) of {} events", committed.len());
    }

    /// The `outbox` command in this world.
    pub(crate) fn command(&self, arguments: &[&str]) -> Command {
        self.program(env!("CARGO_BIN_EXE_outbox_under_test"), arguments)
    }

    /// A helper program in this world.
    pub(crate) fn program(&self, program: &str, arguments: &[&str]) -> Command {
        let mut command = Command::new(program);
        for (name, _) in std::env::vars() {
            if ["OUTBOX_", "CLICKHOUSE_", "DATABASE_"].iter().any(|prefix| name.starts_with(prefix)) {
                command.env_remove(name);
            }
        }
        command.args(arguments).envs(self.vars()).stdin(Stdio::null());
        command
    }

    pub(crate) fn spawn(&self, program: &str, arguments: &[&str]) -> Process {
        Process::spawn(self.program(program, arguments))
    }

    /// Spawns a relay and waits for a line that contains `text`: as [`started`](Self::started), for a process.
    pub(crate) async fn spawn_until(&self, relay: impl Fn() -> Command, text: &str) -> Process {
        let begun = Instant::now();
        loop {
            let mut process = Process::spawn(relay());
            if process.wait_line_or_end(|line| line.contains(text)).await.is_some() {
                return process;
            }
            let refused = process.output().iter().any(|line| line.contains("the destination is not ready"));
            let again = refused && begun.elapsed() < DEADLINE && self.revive().await;
            assert!(again, "the relay ended before it said: {text}");
        }
    }
}

/// Small batches, in several workers.
fn small<S: Store>(relay: RelayBuilder<S>, workers: u32, rows: u32) -> RelayBuilder<S> {
    relay.batch_rows(1).batch_rows_max(rows).workers(workers)
}

/// Between two looks.
const TICK: Duration = Duration::from_millis(20);

/// Looks again and again until `holds`.
pub(crate) async fn eventually(what: &str, mut holds: impl AsyncFnMut() -> bool) {
    let mut ticks = interval(TICK);
    let waited = timeout(DEADLINE, async {
        while !holds().await {
            ticks.tick().await;
        }
    });
    waited.await.unwrap_or_else(|_| panic!("not within {DEADLINE:?}: {what}"));
}

/// Creates users `from..to` and returns the ids of their events.
pub(crate) async fn create_users(conn: &mut Conn, ids: std::ops::Range<i64>) -> BTreeSet<String> {
    let mut events = BTreeSet::new();
    for id in ids {
        events.insert(conn.create_user(id).await.expect("a new user").to_string());
    }
    events
}

/// Makes a test of each function for each kind of connection.
macro_rules! on_each_database {
    ($($test:ident),+ $(,)?) => {
        on_each_database!(@kind postgres Postgres $($test)+);
        on_each_database!(@kind mysql MySql $($test)+);
        on_each_database!(@kind sqlite Sqlite $($test)+);
        on_each_database!(@kind async_sqlite AsyncSqlite $($test)+);
    };
    (with blocking postgres: $($test:ident),+ $(,)?) => {
        on_each_database!($($test),+);
        #[cfg(feature = "postgres-sync")]
        on_each_database!(@kind blocking_postgres BlockingPostgres $($test)+);
    };
    (@kind $module:ident $kind:ident $($test:ident)+) => {
        mod $module {
            $(
                #[tokio::test(flavor = "multi_thread")]
                async fn $test() {
                    super::$test($crate::world::Kind::$kind).await;
                }
            )+
        }
    };
}
pub(crate) use on_each_database;
