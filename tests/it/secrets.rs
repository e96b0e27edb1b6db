//! What is marked as sensitive appears nowhere: not in the database, in ClickHouse, in an error, in `Debug`, in a log at TRACE, nor
//! in what Diesel tells its instrumentation; also when everything fails. Each place is shown to be looked at by something that
//! is found there.

use std::collections::BTreeMap;
use std::error::Error;
use std::io::Write;
use std::sync::{Arc, Mutex, OnceLock};
use std::time::Duration;

use diesel::query_builder::SqlQuery;
use diesel_async::AsyncConnection;
use diesel_async::methods::LoadQuery;
use outbox::clickhouse::{ClickHouseSettings, ClickHouseSink};
use outbox::prelude::*;
use outbox::{Event, Grace, OutboxBackend, Relay, Store, Vars};
use outbox_test::databases::ClickHouseDatabase;
use outbox_test::proxy::{FaultProxy, Mode};
use outbox_test::servers::PrivateClickHouse;
use serde::{Serialize, Serializer};

use crate::every_store::{TextRow, on_every_store, texts};
use crate::world::eventually;

on_every_store!(a_sensitive_field_appears_nowhere);

/// What must not be found.
const SECRETS: [&str; 6] =
    ["pass-7d1f0c", "pin-93ab61", "token-5e02d8", "4111-1111-1111", "ann-c44e@example.org", "cache-0b77fa"];
/// What is stored, and found in tables, but in no log and no error.
const STORED: &str = "note-18e6b3";

/// Not `Serialize`, and no `Debug` that would hide anything.
#[derive(Debug)]
struct Pin(#[allow(dead_code, reason = "it is there to be shown, if anything shows it")] &'static str);

#[derive(Debug, Serialize)]
struct Device {
    model: String,
    #[serde(skip)]
    #[allow(dead_code, reason = "it is there to be left out")]
    cache: &'static str,
}

#[derive(Debug, EventLog)]
struct LoginFailed {
    #[event_log(key, with = domain)]
    email: &'static str,
    note: String,
    #[event_log(sensitive)]
    password: &'static str,
    #[event_log(sensitive)]
    pin: Pin,
    #[event_log(skip)]
    #[allow(dead_code, reason = "it is there to be left out")]
    token: &'static str,
    #[event_log(with = last_four)]
    card: &'static str,
    #[event_log(flatten)]
    device: Device,
}

/// To a table that nobody can make.
#[derive(EventLog)]
#[event_log(table = "no_such_database.logins")]
struct Misdirected(LoginFailed);

/// Its `port` does not fit into its column.
#[derive(EventLog)]
#[event_log(layout = "columns")]
struct PortRefused {
    #[event_log(ch(type = "UInt8"))]
    port: &'static str,
    #[event_log(sensitive)]
    password: &'static str,
    #[event_log(sensitive, ch(type = "LowCardinality(String)"))]
    pin: Option<Pin>,
    #[event_log(with = domain)]
    email: &'static str,
    note: &'static str,
}

#[derive(EventLog)]
struct Unwritable {
    #[event_log(sensitive)]
    password: &'static str,
    broken: Broken,
}

struct Broken;

impl Serialize for Broken {
    fn serialize<S: Serializer>(&self, _: S) -> Result<S::Ok, S::Error> {
        Err(serde::ser::Error::custom("it never can"))
    }
}

fn domain(email: &str) -> &str {
    email.split('@').next_back().unwrap_or_default()
}

fn last_four(card: &str) -> &str {
    card.get(card.len().saturating_sub(4)..).unwrap_or_default()
}

fn login(note: &str) -> LoginFailed {
    let [password, pin, token, _, email, cache] = SECRETS;
    let device = Device { model: "m1".to_owned(), cache };
    LoginFailed { email, note: note.to_owned(), password, pin: Pin(pin), token, card: "4111-1111-1111-1234", device }
}

fn port_refused() -> PortRefused {
    let [password, pin, .., email, _] = SECRETS;
    PortRefused { port: "no number", password, pin: Some(Pin(pin)), email, note: STORED }
}

/// Everything that was seen, by place.
#[derive(Clone, Default)]
struct Seen(Arc<Mutex<BTreeMap<&'static str, String>>>);

impl Seen {
    fn add(&self, place: &'static str, text: &str) {
        let mut seen = self.0.lock().expect("nothing panics in between");
        let seen = seen.entry(place).or_default();
        seen.push_str(text);
        seen.push('\n');
    }

    /// Text, `Debug` and sources.
    fn error(&self, error: impl Error) {
        let mut text = format!("{error} {error:?} {error:#?}");
        let mut source = error.source();
        while let Some(cause) = source {
            text.push_str(&format!(" {cause} {cause:?}"));
            source = cause.source();
        }
        self.add("errors", &text);
    }

    fn all(&self) -> BTreeMap<&'static str, String> {
        self.0.lock().expect("nothing panics in between").clone()
    }
}

/// The log of this process, at TRACE, with what libraries say through `log`. The ClickHouse client's own debug lines quote the
/// server's errors, and those quote rows: they are left out, as the command leaves them out.
fn log() -> &'static Arc<Mutex<Vec<u8>>> {
    struct Writer(Arc<Mutex<Vec<u8>>>);
    impl Write for Writer {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            self.0.lock().expect("nothing panics in between").extend_from_slice(bytes);
            Ok(bytes.len())
        }
        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }
    static LOG: OnceLock<Arc<Mutex<Vec<u8>>>> = OnceLock::new();
    LOG.get_or_init(|| {
        let log: Arc<Mutex<Vec<u8>>> = Arc::default();
        let writer = Arc::clone(&log);
        tracing_subscriber::fmt()
            .with_env_filter("trace,clickhouse=info,tokio_postgres=info")
            .with_ansi(false)
            .with_writer(move || Writer(Arc::clone(&writer)))
            .init();
        log
    })
}

/// As text, and as the bytes that a `Debug` of a buffer, or a hexadecimal dump, would show.
fn disguises(secret: &str) -> [String; 5] {
    let each =
        |byte: fn(&u8) -> String, between: &str| secret.as_bytes().iter().map(byte).collect::<Vec<_>>().join(between);
    [
        secret.to_owned(),
        each(|byte| byte.to_string(), ", "),
        each(|byte| byte.to_string(), ",\n"),
        each(|byte| format!("{byte:02x}"), ""),
        each(|byte| format!("{byte:02X}"), ""),
    ]
}

/// A database whose tables can be written out.
trait Dump: OutboxBackend {
    /// Gives the statements that do it.
    const STATEMENTS: &'static str;
}

impl Dump for diesel::pg::Pg {
    const STATEMENTS: &'static str = "SELECT format('SELECT t::text AS text FROM %I t', relname) AS text FROM pg_class \
        WHERE relkind IN ('r', 'p') AND relnamespace = current_schema()::regnamespace";
}

impl Dump for diesel::mysql::Mysql {
    const STATEMENTS: &'static str = "SELECT CONCAT('SELECT CONCAT_WS(''|'', ', GROUP_CONCAT(CASE \
        WHEN data_type IN ('binary', 'varbinary') THEN CONCAT('HEX(`', column_name, '`)') \
        ELSE CONCAT('CAST(`', column_name, '` AS CHAR)') END), ') AS text FROM `', table_name, '`') AS text \
        FROM information_schema.columns WHERE table_schema = DATABASE() GROUP BY table_name";
}

impl Dump for diesel::sqlite::Sqlite {
    const STATEMENTS: &'static str = "SELECT 'SELECT ' || group_concat('quote(\"' || c.name || '\")', ' || ''|'' || ') || \
        ' AS text FROM \"' || t.name || '\"' AS text FROM sqlite_master t, pragma_table_info(t.name) c \
        WHERE t.type = 'table' GROUP BY t.name";
}

async fn dump<C>(conn: &mut C, seen: &Seen)
where
    C: AsyncConnection<Backend: Dump>,
    SqlQuery: LoadQuery<'static, C, TextRow>,
{
    for statement in texts(conn, <C::Backend as Dump>::STATEMENTS).await {
        for row in texts(conn, &statement.expect("a statement")).await {
            seen.add("database", &row.unwrap_or_default());
        }
    }
}

/// Every way in which an event cannot be emitted.
async fn emit_in_vain<C>(conn: &mut C, seen: &Seen)
where
    C: AsyncConnection<Backend: Dump>,
{
    let [password, ..] = SECRETS;
    let event = login(STORED);
    seen.error(conn.emit(&event).await.expect_err("not in a transaction"));
    for refused in [
        outbox::transaction(conn, async |conn| conn.emit(&login(&STORED.repeat(200_000))).await).await,
        outbox::transaction(conn, async |conn| conn.emit(&Unwritable { password, broken: Broken }).await).await,
    ] {
        seen.error(refused.expect_err("it cannot be encoded"));
    }
    conn.batch_execute("ALTER TABLE outbox_event RENAME TO outbox_away").await.expect("it is there");
    let refused = outbox::transaction(conn, async |conn| conn.emit(&event).await).await;
    seen.error(refused.expect_err("the table is gone"));
    conn.batch_execute("ALTER TABLE outbox_away RENAME TO outbox_event").await.expect("it is there");
    seen.add("debug", &format!("{:?}", Event::from_log(&event, "test").expect("a small event")));
}

fn sink(url: String, clickhouse: &ClickHouseDatabase) -> ClickHouseSink {
    let vars = [
        ("CLICKHOUSE_URL", url),
        ("CLICKHOUSE_DATABASE", clickhouse.name().to_owned()),
        ("OUTBOX_CLICKHOUSE_CREATE_TABLE", "true".to_owned()),
    ];
    ClickHouseSink::new(ClickHouseSettings::from_vars(&Vars::new(vars)).expect("good settings"))
}

async fn arrived(clickhouse: &ClickHouseDatabase) -> String {
    clickhouse.query("SELECT count() FROM event_log").await
}

async fn a_sensitive_field_appears_nowhere<C, S>(mut conn: C, store: impl Fn() -> S)
where
    C: AsyncConnection<Backend: Dump>,
    SqlQuery: LoadQuery<'static, C, TextRow>,
    S: Store,
{
    let (log, seen) = (log(), Seen::default());
    let told = seen.clone();
    conn.set_instrumentation(move |event: diesel::connection::InstrumentationEvent<'_>| {
        told.add("instrumentation", &format!("{event:?}"));
    });
    emit_in_vain(&mut conn, &seen).await;

    let mut server = PrivateClickHouse::start().await;
    let clickhouse = ClickHouseDatabase::create_on(&server).await;
    let nowhere = sink("http://127.0.0.1:1".to_owned(), &clickhouse);
    let refused = Relay::builder(store()).sink(nowhere).start().await;
    seen.error(refused.expect_err("nobody answers there"));

    let emitted = outbox::transaction(&mut conn, async |conn| {
        conn.emit(&login(STORED)).await?;
        conn.emit(&Misdirected(login(STORED))).await?;
        conn.emit(&port_refused()).await
    });
    emitted.await.expect("a commit");
    dump(&mut conn, &seen).await;

    let proxy = FaultProxy::start(clickhouse.address()).await;
    let relay = Relay::builder(store())
        .sink(sink(proxy.http_url(), &clickhouse))
        .schema::<LoginFailed>()
        .schema::<PortRefused>()
        .linger(Duration::ZERO)
        .poll_interval(Duration::from_millis(20))
        .retry(Duration::from_millis(20), Duration::from_millis(200));
    let relay = relay.start().await.expect("the relay starts");
    eventually("the first event is delivered", async || arrived(&clickhouse).await == "1").await;
    eventually("the others are put aside", async || store().held(10).await.expect("it answers").len() == 2).await;
    for (mode, rows) in [(Mode::CutAfter(300), "2"), (Mode::LoseReply, "3")] {
        let cuts = proxy.cuts();
        proxy.set_once(mode);
        let emitted = outbox::transaction(&mut conn, async |conn| conn.emit(&login(STORED)).await);
        emitted.await.expect("a commit");
        proxy.wait_for(cuts + 1).await;
        // This ClickHouse may abort when a client is cut off; a service manager would start it again.
        server.kill();
        server.restart().await;
        eventually("what was cut is delivered", async || arrived(&clickhouse).await == rows).await;
    }
    for held in store().held(10).await.expect("it answers") {
        let events = store().held_events(held.id()).await.expect("it answers");
        seen.add("held", &format!("{held:?} {} {events:?}", held.error));
    }
    seen.add("debug", &format!("{:?}", store().status().await.expect("it answers")));
    dump(&mut conn, &seen).await;
    relay.stop(Grace::secs(10)).await.expect("it stops");
    // Before this test's own client reads what is in the tables, and logs what it reads.
    seen.add("log", &String::from_utf8_lossy(&log.lock().expect("nothing panics in between")));

    for table in ["event_log", "port_refused"] {
        let rows = clickhouse.query(format!("SELECT * FROM {table} FORMAT TSVRaw")).await;
        let made = clickhouse.query(format!("SHOW CREATE TABLE {table} FORMAT TSVRaw")).await;
        seen.add("clickhouse", &format!("{rows}\n{made}"));
    }
    seen.add("clickhouse", &clickhouse.query("SELECT * FROM system.errors FORMAT TSVRaw").await);

    let all = seen.all();
    for (place, found) in [
        ("database", STORED),
        ("database", "[redacted]"),
        ("clickhouse", STORED),
        ("clickhouse", "[redacted]"),
        ("held", "port_refused"),
        ("held", "no_such_database"),
        ("debug", "login_failed"),
        ("errors", "broken"),
        ("errors", "1048576"),
        ("instrumentation", "INSERT INTO"),
        ("log", "TRACE"),
        ("log", "put aside"),
    ] {
        assert!(all[place].contains(found), "{place} is not looked at: {found} is not found");
    }
    for (place, text) in &all {
        for secret in SECRETS.iter().flat_map(|secret| disguises(secret)) {
            let at = text.find(&secret);
            assert_eq!(at, None, "{secret} is in the {place}: {:?}", at.map(|at| text.get(at.saturating_sub(300)..at)));
        }
    }
    // Diesel tells the application's own instrumentation what is bound, as it does for the application's own statements.
    for place in ["errors", "debug", "held", "log"] {
        for stored in disguises(STORED) {
            let at = all[place].find(&stored);
            let before = at.map(|at| all[place].get(at.saturating_sub(300)..at));
            assert_eq!(at, None, "a payload is in the {place}: {before:?}");
        }
    }
}
