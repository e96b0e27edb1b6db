//! Headers: the trace and the fields of the span in which an event is emitted travel with it.

use std::cell::RefCell;

use diesel::query_builder::SqlQuery;
use diesel_async::AsyncConnection;
use diesel_async::methods::LoadQuery;
use opentelemetry::trace::{TraceContextExt, TracerProvider as _};
use opentelemetry_sdk::trace::SdkTracerProvider;
use outbox::headers::{SpanFields, set_headers};
use outbox::prelude::*;
use outbox::{OutboxBackend, Relay, Store};
use outbox_test::databases::ClickHouseDatabase;
use serde_json::{Map, Value};
use tracing::field::Empty;
use tracing::instrument::WithSubscriber;
use tracing::{Dispatch, Instrument, Span, info_span};
use tracing_opentelemetry::OpenTelemetrySpanExt;
use tracing_subscriber::prelude::*;

use crate::every_store::{TextRow, drain, on_every_store, texts};

on_every_store!(trace_and_allowed_fields_of_the_span_arrive_with_the_event, an_event_outside_of_spans_has_no_headers);

#[derive(EventLog)]
struct OrderPlaced {
    #[event_log(key)]
    id: u64,
}

async fn emit<C>(conn: &mut C, id: u64)
where
    C: AsyncConnection<Backend: OutboxBackend>,
{
    outbox::transaction(conn, async |conn| conn.emit(&OrderPlaced { id }).await).await.expect("a commit");
}

const STORED: &str = "SELECT headers AS text FROM outbox_event ORDER BY seq";
const DELIVERED: &str = "SELECT headers FROM event_log ORDER BY toUInt64(key) FORMAT TSVRaw";

/// An application's subscriber: OpenTelemetry, logs, and the fields that may be stored.
fn subscriber() -> Dispatch {
    let tracer = SdkTracerProvider::builder().build().tracer("test");
    tracing_subscriber::registry()
        .with(tracing_opentelemetry::layer().with_tracer(tracer))
        .with(SpanFields::new(["request_id", "user_id", "attempt", "tenant"]))
        .with(tracing_subscriber::fmt::layer().with_writer(std::io::sink))
        .into()
}

/// The `traceparent` of the current span, by OpenTelemetry's own propagator.
fn traceparent() -> String {
    use opentelemetry::propagation::TextMapPropagator as _;
    let mut carrier = std::collections::HashMap::new();
    let context = Span::current().context();
    assert!(context.span().span_context().is_valid(), "a real trace");
    opentelemetry_sdk::propagation::TraceContextPropagator::new().inject_context(&context, &mut carrier);
    carrier.remove("traceparent").expect("a traceparent")
}

fn headers(text: Option<&str>) -> Map<String, Value> {
    serde_json::from_str(text.expect("headers")).expect("an object")
}

fn object(pairs: &[(&str, &str)]) -> Map<String, Value> {
    pairs.iter().map(|(name, value)| ((*name).to_owned(), Value::from(*value))).collect()
}

async fn trace_and_allowed_fields_of_the_span_arrive_with_the_event<C, S>(mut conn: C, store: impl Fn() -> S)
where
    C: AsyncConnection<Backend: OutboxBackend>,
    SqlQuery: LoadQuery<'static, C, TextRow>,
    S: Store,
{
    let request = async {
        Span::current().record("user_id", 7);
        emit(&mut conn, 1).await;
        let outer = traceparent();
        let inner = async {
            emit(&mut conn, 2).await;
            traceparent()
        };
        let inner = inner.instrument(info_span!("retry", attempt = 2, request_id = %"r-2", note = "hunter2")).await;
        (outer, inner)
    };
    let traced = async {
        let span =
            info_span!("request", request_id = "r-1", user_id = Empty, tenant = ?Some("t\0\"1"), password = "hunter2");
        request.instrument(span).await
    };
    let (outer, inner) = traced.with_subscriber(subscriber()).await;
    let tenant = ("tenant", "Some(\"t\\0\\\"1\")");
    let expected = [
        object(&[("traceparent", &outer), ("request_id", "r-1"), ("user_id", "7"), tenant]),
        object(&[("traceparent", &inner), ("request_id", "r-2"), ("user_id", "7"), ("attempt", "2"), tenant]),
    ];
    let trace = |parent: &str| parent.split('-').nth(1).map(str::to_owned);
    assert!(outer != inner && trace(&outer) == trace(&inner), "two spans of one trace");

    let stored = texts(&mut conn, STORED).await;
    assert_eq!(stored.iter().map(|text| headers(text.as_deref())).collect::<Vec<_>>(), expected);
    let clickhouse = ClickHouseDatabase::create().await;
    drain(Relay::builder(store()), &clickhouse).await;
    let delivered = clickhouse.query(DELIVERED).await;
    assert_eq!(delivered.lines().map(|text| headers(Some(text))).collect::<Vec<_>>(), expected);
}

async fn an_event_outside_of_spans_has_no_headers<C, S>(mut conn: C, _: impl Fn() -> S)
where
    C: AsyncConnection<Backend: OutboxBackend>,
    SqlQuery: LoadQuery<'static, C, TextRow>,
    S: Store,
{
    emit(&mut conn, 1).await;
    emit(&mut conn, 2).with_subscriber(subscriber()).await;
    let span = info_span!("without OpenTelemetry", request_id = "r-1");
    emit(&mut conn, 3).instrument(span).with_subscriber(Dispatch::new(tracing_subscriber::registry())).await;
    assert_eq!(texts(&mut conn, STORED).await, [None, None, None]);
}

thread_local! {
    static REQUEST: RefCell<Option<&'static str>> = const { RefCell::new(None) };
}

#[tokio::test(flavor = "multi_thread")]
async fn an_application_s_own_source_has_the_last_word() {
    let (_file, mut conn, _) = crate::every_store::sqlite().await;
    set_headers(|headers| {
        if let Some(id) = REQUEST.take() {
            let before = headers.get("request_id").unwrap_or("none").to_owned();
            headers.insert("request_id", id);
            headers.insert("before", before);
        }
    })
    .expect("the first one");
    set_headers(|_| {}).expect_err("the second one");
    let subscriber = tracing_subscriber::registry().with(SpanFields::new(["request_id"]));
    let _subscriber = tracing::subscriber::set_default(subscriber);
    // The test's own future stays on this thread.
    REQUEST.set(Some("own"));
    emit(&mut conn, 1).instrument(info_span!("request", request_id = "of the span")).await;
    emit(&mut conn, 2).instrument(info_span!("request", request_id = "of the span")).await;
    let stored = texts(&mut conn, STORED).await;
    let expected =
        [object(&[("request_id", "own"), ("before", "of the span")]), object(&[("request_id", "of the span")])];
    assert_eq!(stored.iter().map(|text| headers(text.as_deref())).collect::<Vec<_>>(), expected);
}
