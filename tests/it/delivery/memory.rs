//! What a relay holds in memory: a batch per worker, however much waits.

use outbox_test::process::Process;
use tokio::time::{Duration, Instant, sleep};

use crate::world::{Kind, World, on_each_database};

on_each_database!(memory_is_bounded_by_the_bytes_of_a_batch);

/// How many events of [`TEXT_BYTES`]; set `OUTBOX_TEST_MEMORY_EVENTS` for a long run.
const EVENTS: u64 = 6_000;
/// 10 KiB: 320 times the 32 digits of an MD5.
const TEXT_BYTES: u64 = 320 * 32;
/// Committed at once by the test.
const CHUNK: u64 = 2_000;

const BATCH_BYTES: u64 = 2 << 20;
const WORKERS: u64 = 2;
/// The events as they are read from the database, the body of the INSERT, and what drivers and the allocator keep of both: glibc
/// has an arena for each thread, and each keeps what it had once. Measured: 5.
const COPIES: u64 = 10;

/// Without any movement for so long, something is broken.
const STUCK_AFTER: Duration = Duration::from_secs(90);

async fn memory_is_bounded_by_the_bytes_of_a_batch(kind: Kind) {
    if kind == Kind::AsyncSqlite {
        // The same store: a relay's memory knows no kind of connection of the service.
        return;
    }
    let events = std::env::var("OUTBOX_TEST_MEMORY_EVENTS").map_or(EVENTS, |events| events.parse().expect("a number"));
    let world = World::new(kind).await;
    let mut command = world.command(&["run"]);
    command.envs([("OUTBOX_BATCH_BYTES_MAX", BATCH_BYTES.to_string()), ("OUTBOX_WORKERS", WORKERS.to_string())]);
    command.env("OUTBOX_LOG", "outbox_relay::relay=info,warn");
    let mut relay = Process::spawn(command);
    relay.wait_line(|line| line.contains("relay started")).await;
    let idle = peak_bytes(&relay);
    let started = Instant::now();
    for chunk in 0..events.div_ceil(CHUNK) {
        world.conn().await.execute(&insert(kind, chunk * CHUNK, events.min((chunk + 1) * CHUNK))).await;
    }
    drained(&world).await;
    let peak = peak_bytes(&relay);
    let seconds = started.elapsed().as_secs();
    assert!(relay.terminate().await.success(), "{:?}", relay.output());

    let arrived =
        world.clickhouse.query("SELECT count(), uniqExact(event_id), sum(length(event_context)) FROM event_log");
    let payload = TEXT_BYTES + r#"{"text":""}"#.len() as u64;
    assert_eq!(arrived.await, format!("{events}\t{events}\t{}", events * payload));
    report(kind, events, idle, peak, seconds);
    let bound = idle + COPIES * BATCH_BYTES * WORKERS;
    assert!(peak <= bound, "{peak} bytes at the peak; {idle} before, and {bound} would do");
    assert!(events * payload > bound - idle, "or the test shows nothing");
}

/// Events as `emit` writes them, made by the database.
fn insert(kind: Kind, from: u64, to: u64) -> String {
    let columns =
        "INSERT INTO outbox_event (id, event_type, version, occurred_at, environment, destination, payload, bytes)";
    let bytes = TEXT_BYTES + 100;
    match kind {
        Kind::Sqlite | Kind::AsyncSqlite => format!(
            "WITH RECURSIVE n (i) AS (SELECT {from} UNION ALL SELECT i + 1 FROM n WHERE i + 1 < {to}) {columns} \
             SELECT substr(id, 1, 8) || '-' || substr(id, 9, 4) || '-' || substr(id, 13, 4) || '-' || substr(id, 17, 4) || '-' || substr(id, 21), \
             'large', 1, 1700000000000000, 'test', 'event_log', '{{\"text\":\"' || hex(randomblob({TEXT_BYTES} / 2)) || '\"}}', {bytes} \
             FROM (SELECT lower(hex(randomblob(16))) AS id FROM n)"
        ),
        // A recursion of fifty, twice: a thousand are the most that a server does unasked.
        Kind::MySql => format!(
            "{columns} WITH RECURSIVE n (i) AS (SELECT 0 UNION ALL SELECT i + 1 FROM n WHERE i < 49) \
             SELECT UUID(), 'large', 1, 1700000000000000, 'test', 'event_log', CONCAT('{{\"text\":\"', REPEAT(MD5(a.i * 50 + b.i), 320), '\"}}'), {bytes} \
             FROM n AS a, n AS b WHERE a.i * 50 + b.i < {}",
            to - from
        ),
        _ => format!(
            "{columns} SELECT gen_random_uuid(), 'large', 1, now(), 'test', 'event_log', \
             '{{\"text\":\"' || repeat(md5(i::text), 320) || '\"}}', {bytes} FROM generate_series({from}, {to} - 1) AS i"
        ),
    }
}

/// Waits until nothing waits, however long that takes, as long as it becomes less.
async fn drained(world: &World) {
    let (mut last, mut moved) = (u64::MAX, Instant::now());
    loop {
        let pending = world.route_status().await.pending_events();
        if pending == 0 {
            return;
        }
        if pending != last {
            (last, moved) = (pending, Instant::now());
        }
        assert!(moved.elapsed() < STUCK_AFTER, "{pending} events wait and nothing moves");
        sleep(Duration::from_millis(100)).await;
    }
}

/// The most memory that the process has had, by the kernel's count.
fn peak_bytes(process: &Process) -> u64 {
    let path = format!("/proc/{}/status", process.id().expect("it runs"));
    let status = std::fs::read_to_string(path).expect("readable");
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).expect("Linux has it");
    let kib: u64 = line.trim().trim_end_matches(" kB").parse().expect("a number");
    kib * 1024
}

#[allow(clippy::print_stderr, reason = "a long run wants its numbers")]
fn report(kind: Kind, events: u64, idle: u64, peak: u64, seconds: u64) {
    eprintln!(
        "{kind:?}: {events} events of 10 KiB in {seconds} s; peak RSS {} MiB, {} MiB before the first, batches of {} MiB, {WORKERS} workers",
        peak >> 20,
        idle >> 20,
        BATCH_BYTES >> 20,
    );
}
