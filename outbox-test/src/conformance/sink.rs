//! The contract of [`Sink`], as tests.
//!
//! # Examples
//! In a test crate of the sink's own, with tokio's `macros` and `rt-multi-thread`:
//! ```
//! use outbox_test::conformance::sink::SinkHarness;
//! use outbox_test::memory::MemorySink;
//! use uuid::Uuid;
//!
//! struct Memory(MemorySink);
//!
//! impl SinkHarness for Memory {
//!     type Sink = MemorySink;
//!
//!     async fn create() -> Self { Self(MemorySink::new()) }
//!     fn sink(&self) -> MemorySink { self.0.clone() }
//!     async fn arrived(&self) -> Vec<Uuid> { self.0.rows().into_iter().map(|row| row.id).collect() }
//! }
//!
//! outbox_test::sink_conformance!(Memory);
//! # fn main() {}
//! ```

use std::future::Future;

use outbox_core::{BatchId, EVENT_BYTES_MAX, Event, Part, PartId, Recovery, Route, Sink, StoredEvent};
use uuid::Uuid;

use super::store::Sample;

/// What the suite needs besides the sink.
pub trait SinkHarness: Send + Sync + Sized + 'static {
    /// The sink under test.
    type Sink: Sink;

    /// Whether an event that is sent again is there once. Otherwise it is there at least once.
    const EXACTLY_ONCE: bool = true;

    /// The destination table.
    const TABLE: &'static str = "event_log";

    /// A fresh destination, ready to take events of the type `sample` into the table.
    fn create() -> impl Future<Output = Self> + Send;

    /// A sink for it, as another process would make one.
    fn sink(&self) -> Self::Sink;

    /// The ids of the events that are there, an id for each row.
    fn arrived(&self) -> impl Future<Output = Vec<Uuid>> + Send;
}

/// Makes a test of every promise, for a [`SinkHarness`].
///
/// The crate that uses it needs `tokio` with its macros and the multi-threaded runtime.
#[macro_export]
macro_rules! sink_conformance {
    ($harness:ty) => {
        $crate::sink_conformance!(@tests $harness:
            a_part_arrives_whole,
            parts_do_not_get_in_each_others_way,
            a_part_that_is_sent_again_is_not_doubled,
            a_part_that_never_arrived_arrives_when_it_is_sent_again,
            a_part_that_two_relays_send_at_once_is_not_doubled,
            replayed_events_that_are_there_are_not_doubled,
            strange_and_large_events_arrive,
        );
    };
    (@tests $harness:ty: $($test:ident),+ $(,)?) => { $(
        #[tokio::test(flavor = "multi_thread")]
        async fn $test() {
            $crate::conformance::sink::$test::<$harness>().await;
        }
    )+ };
}

/// A part that is frozen, as a relay has it before the first send.
async fn frozen<H: SinkHarness>(sink: &H::Sink, samples: &[Sample]) -> Part {
    let stored = (1..).zip(samples).map(|(seq, sample)| {
        let event = Event::from_log(sample, "test").unwrap_or_else(|e| panic!("{e}"));
        StoredEvent { seq, event }
    });
    let events: Vec<StoredEvent> = stored.collect();
    let frozen = sink.freeze(H::TABLE, &events.iter().collect::<Vec<_>>()).await.expect("freezes");
    Part {
        id: PartId { batch: BatchId(1), no: 0 },
        route: Route::default(),
        table: H::TABLE.to_owned(),
        token: Uuid::new_v4(),
        fence: 1,
        events: events.into(),
        frozen,
        resend: false,
        replay: false,
    }
}

fn samples<H: SinkHarness>(prefix: &str, count: usize) -> Vec<Sample> {
    let table = |sample: Sample| Sample { table: H::TABLE.to_owned(), ..sample };
    Sample::many(prefix, count).into_iter().map(table).collect()
}

async fn ready<H: SinkHarness>() -> (H, H::Sink) {
    let harness = H::create().await;
    let sink = harness.sink();
    sink.check().await.expect("a ready destination");
    (harness, sink)
}

/// What a relay does with a part that an earlier claim may have sent.
async fn send_again<H: SinkHarness>(sink: &H::Sink, part: &Part) {
    let part = Part { fence: part.fence + 1, resend: true, ..part.clone() };
    match sink.recover(&part).await.expect("finds out") {
        Recovery::Delivered => {}
        Recovery::Resend => sink.deliver(&part).await.expect("delivers"),
        Recovery::Replace { landed } => {
            let missing: Vec<StoredEvent> =
                part.events.iter().filter(|stored| !landed.contains(&stored.event.id)).cloned().collect();
            if missing.is_empty() {
                return;
            }
            let frozen = sink.freeze(H::TABLE, &missing.iter().collect::<Vec<_>>()).await.expect("freezes");
            let token = Uuid::new_v4();
            let rest = Part { token, events: missing.into(), frozen, resend: false, replay: false, ..part };
            sink.deliver(&rest).await.expect("delivers");
        }
    }
}

/// Each event of `parts` is there, and, where the sink promises it, once.
async fn assert_arrived<H: SinkHarness>(harness: &H, parts: &[&Part]) {
    let mut arrived = harness.arrived().await;
    let mut sent: Vec<Uuid> = parts.iter().flat_map(|part| part.events.iter()).map(|stored| stored.event.id).collect();
    sent.sort();
    arrived.sort();
    if !H::EXACTLY_ONCE {
        arrived.dedup();
    }
    assert!(arrived == sent, "{} rows of {} events", arrived.len(), sent.len());
}

/// When `deliver` says so.
pub async fn a_part_arrives_whole<H: SinkHarness>() {
    let (harness, sink) = ready::<H>().await;
    let part = frozen::<H>(&sink, &samples::<H>("k", 10_000)).await;
    sink.deliver(&part).await.expect("delivers");
    assert_arrived(&harness, &[&part]).await;
}

/// Whatever their order.
pub async fn parts_do_not_get_in_each_others_way<H: SinkHarness>() {
    let (harness, sink) = ready::<H>().await;
    let mut parts = Vec::new();
    for n in 0..5 {
        parts.push(frozen::<H>(&sink, &samples::<H>(&format!("{n}-"), 10)).await);
    }
    for part in parts.iter().rev() {
        sink.deliver(part).await.expect("delivers");
    }
    assert_arrived(&harness, &parts.iter().collect::<Vec<_>>()).await;
}

/// By another relay, however often.
pub async fn a_part_that_is_sent_again_is_not_doubled<H: SinkHarness>() {
    let (harness, sink) = ready::<H>().await;
    let part = frozen::<H>(&sink, &samples::<H>("k", 100)).await;
    sink.deliver(&part).await.expect("delivers");
    for _ in 0..3 {
        send_again::<H>(&harness.sink(), &part).await;
    }
    assert_arrived(&harness, &[&part]).await;
}

/// Its relay had died before.
pub async fn a_part_that_never_arrived_arrives_when_it_is_sent_again<H: SinkHarness>() {
    let (harness, sink) = ready::<H>().await;
    let part = frozen::<H>(&sink, &samples::<H>("k", 100)).await;
    send_again::<H>(&harness.sink(), &part).await;
    assert_arrived(&harness, &[&part]).await;
}

/// One of them has lost its lease and does not know it yet.
pub async fn a_part_that_two_relays_send_at_once_is_not_doubled<H: SinkHarness>() {
    let (harness, sink) = ready::<H>().await;
    let part = frozen::<H>(&sink, &samples::<H>("k", 1000)).await;
    let late = Part { fence: 2, resend: true, ..part.clone() };
    let (first, second) = (harness.sink(), harness.sink());
    // One of them may be turned away.
    let sent = tokio::join!(first.deliver(&part), second.deliver(&late));
    assert!(sent.0.is_ok() || sent.1.is_ok(), "{sent:?}");
    assert_arrived(&harness, &[&part]).await;
}

/// Under a new token, for which they have to be looked for.
pub async fn replayed_events_that_are_there_are_not_doubled<H: SinkHarness>() {
    let (harness, sink) = ready::<H>().await;
    let part = frozen::<H>(&sink, &samples::<H>("k", 100)).await;
    let half = Part { events: part.events[..50].into(), ..part.clone() };
    sink.deliver(&half).await.expect("delivers");
    let again = Part { token: Uuid::new_v4(), replay: true, ..part.clone() };
    if H::EXACTLY_ONCE {
        send_again::<H>(&harness.sink(), &again).await;
    } else {
        sink.deliver(&again).await.expect("delivers");
    }
    assert_arrived(&harness, &[&part]).await;
}

/// Whatever a JSON text and a key can hold.
pub async fn strange_and_large_events_arrive<H: SinkHarness>() {
    let (harness, sink) = ready::<H>().await;
    let mut strange = samples::<H>("k", 4);
    strange[0].payload = format!("{{\"key\":\"{}\"}}", "\u{1F600}".repeat(EVENT_BYTES_MAX / 4 - 100));
    strange[1].payload = "{\"a\":\"\\u0000 \\\\ \\\" ' % _ \\n \\t {} ?\"}".into();
    strange[2].key = "'; DROP TABLE event_log; -- \u{e9}\u{10FFFF} ".into();
    strange[3].payload = "{}".into();
    let part = frozen::<H>(&sink, &strange).await;
    sink.deliver(&part).await.expect("delivers");
    assert_arrived(&harness, &[&part]).await;
}
