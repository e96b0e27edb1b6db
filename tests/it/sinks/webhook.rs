//! `examples/webhook`: signed requests, and answers that are taken at their word.

use std::collections::BTreeSet;
use std::convert::Infallible;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use diesel::result::Error as DieselError;
use diesel::{Connection, SqliteConnection};
use http_body_util::{BodyExt, Full};
use hyper::body::{Bytes, Incoming};
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use outbox::prelude::*;
use outbox::sqlite::SqliteStore;
use outbox::{Relay, Retry, Sink, SinkErrorKind, Store};
use outbox_test::conformance::sink::SinkHarness;
use outbox_test::databases::SqliteFile;
use tokio::net::TcpListener;
use uuid::Uuid;

use self::receiver::Receiver;
use self::sink::WebhookSink;
use self::sink::signature::{Forged, Secret, seconds, verify};
use super::{part, taken_over};

#[allow(unreachable_pub, dead_code, reason = "an example's module")]
#[path = "../../../examples/webhook/receiver/mod.rs"]
mod receiver;
#[allow(unreachable_pub, reason = "an example's module")]
#[path = "../../../examples/webhook/sink/mod.rs"]
mod sink;

fn secret() -> Secret {
    Secret::new("a secret for tests, 32 bytes long").expect("long enough")
}

struct Harness(Receiver);

impl SinkHarness for Harness {
    type Sink = WebhookSink;

    async fn create() -> Self {
        Self(Receiver::start(vec![secret()]).await.expect("a port"))
    }
    fn sink(&self) -> WebhookSink {
        WebhookSink::new(&self.0.url(), secret())
    }
    async fn arrived(&self) -> Vec<Uuid> {
        self.0.received().events.iter().map(|event| event.id).collect()
    }
}

mod conformance {
    outbox_test::sink_conformance!(super::Harness);
}

#[test]
fn only_what_was_signed_now_with_a_known_secret_is_believed() {
    let (old, new) = (secret(), Secret::new("another secret of the same length").expect("long enough"));
    let now = SystemTime::now();
    let at = |offset: i64| seconds(now).saturating_add_signed(offset);
    let header = old.sign(at(0), "key", b"body");
    let check = |secrets: &[Secret], header: Option<&str>, key: &str, body: &[u8]| {
        verify(secrets, header, key, body, now, Duration::from_secs(300))
    };
    let ours = std::slice::from_ref(&old);
    assert_eq!(check(ours, Some(&header), "key", b"body"), Ok(()));
    assert_eq!(check(ours, Some(&header), "key", b"bodY"), Err(Forged::Strange), "altered");
    assert_eq!(check(ours, Some(&header), "other", b"body"), Err(Forged::Strange), "under another key");
    assert_eq!(check(std::slice::from_ref(&new), Some(&header), "key", b"body"), Err(Forged::Strange));
    assert_eq!(check(&[new, old.clone()], Some(&header), "key", b"body"), Ok(()), "while a secret is replaced");
    for offset in [-301, 301] {
        assert_eq!(check(ours, Some(&old.sign(at(offset), "key", b"body")), "key", b"body"), Err(Forged::Stale));
    }
    for none in [None, Some(""), Some("t=1"), Some("v1=00"), Some("t=x,v1=00"), Some("t=1,v1=zz")] {
        assert_eq!(check(ours, none, "key", b"body"), Err(Forged::Unsigned), "{none:?}");
    }
    assert_eq!(check(ours, Some(&format!("v2=future,{header}")), "key", b"body"), Ok(()));
    assert_eq!(format!("{old:?}"), "Secret(..)");
    assert!(Secret::new("short").is_none());
}

/// A vector that any other implementation can check itself by (computed with Python's `hmac`).
#[test]
fn a_signature_is_hmac_sha256_of_time_key_and_body() {
    let secret = Secret::new("0123456789abcdef0123456789abcdef").expect("long enough");
    assert_eq!(
        secret.sign(1_700_000_000, "key", b"{}"),
        "t=1700000000,v1=cf0cbb8831aa8f2450791325e18bde9e5a5f77c86483026f362e22876ce06968"
    );
}

#[tokio::test]
async fn a_receiver_believes_no_stranger_and_the_relay_is_told_why() {
    let receiver = Receiver::start(vec![secret()]).await.expect("a port");
    let stranger = WebhookSink::new(&receiver.url(), Secret::new("0123456789abcdef").expect("long enough"));
    let refused = stranger.deliver(&part(1)).await.expect_err("another secret");
    assert_eq!((refused.kind(), refused.code()), (SinkErrorKind::Stop, Some(401)), "{refused}");
    let received = receiver.received();
    assert_eq!((received.events.len(), received.forged), (0, 1));
}

#[tokio::test]
async fn the_token_is_the_idempotency_key_and_an_older_fence_is_turned_away() {
    let receiver = Receiver::start(vec![secret()]).await.expect("a port");
    let sink = WebhookSink::new(&receiver.url(), secret());
    let first = part(3);
    sink.deliver(&first).await.expect("delivers");
    sink.deliver(&taken_over(&first)).await.expect("a repeat is welcome");
    let received = receiver.received();
    assert_eq!((received.events.len(), received.repeats), (3, 1));
}

/// Answers everything with this status, header and text; the requests' bodies come out of the channel.
async fn answering(
    status: u16,
    header: (&'static str, &'static str),
    text: impl Fn(&[u8]) -> (u16, String) + Send + Sync + 'static,
) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let url = format!("http://{}/", listener.local_addr().expect("bound"));
    let text = Arc::new(text);
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let text = Arc::clone(&text);
            let service = service_fn(move |request: Request<Incoming>| {
                let text = Arc::clone(&text);
                async move {
                    let body = request.into_body().collect().await.map(|body| body.to_bytes()).unwrap_or_default();
                    let (chosen, text) = text(&body);
                    let status = if chosen == 0 { status } else { chosen };
                    let answer = Response::builder().status(status).header(header.0, header.1);
                    Ok::<_, Infallible>(answer.body(Full::new(Bytes::from(text))).expect("an answer"))
                }
            });
            tokio::spawn(hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(stream), service));
        }
    });
    url
}

#[tokio::test]
async fn each_status_means_what_it_says_and_nothing_of_the_answer_is_quoted() {
    use SinkErrorKind::{BadRows, Busy, Stop, Unforeseen, Unknown};
    for (kind, statuses) in [
        (Unknown, &[408, 409, 425, 500, 502, 504][..]),
        (Busy, &[429, 503, 507]),
        (BadRows, &[400, 413, 422]),
        (Stop, &[301, 302, 401, 403, 404, 405, 410]),
        (Unforeseen, &[402, 418, 451, 501, 599]),
    ] {
        for status in statuses {
            let url = answering(*status, ("location", "/elsewhere"), |_| (0, "SECRET".into())).await;
            let error = WebhookSink::new(&url, secret()).deliver(&part(2)).await.expect_err("refused");
            assert_eq!((error.kind(), error.code()), (kind, Some(i32::from(*status))), "{error}");
            assert!(!format!("{error} {error:?}").contains("SECRET"), "{error:?}");
        }
    }
    for status in [200, 201, 202, 204] {
        let url = answering(status, ("x", "y"), |_| (0, String::new())).await;
        WebhookSink::new(&url, secret()).deliver(&part(2)).await.expect("delivered");
    }
}

#[tokio::test]
async fn a_pause_that_is_asked_for_is_made() {
    let url = answering(429, ("retry-after", "7"), |_| (0, String::new())).await;
    let error = WebhookSink::new(&url, secret()).deliver(&part(1)).await.expect_err("busy");
    assert_eq!(error.retry(), Retry::After(Duration::from_secs(7)));
}

#[tokio::test]
async fn nobody_there_is_an_unknown_outcome() {
    let port = std::net::TcpListener::bind("127.0.0.1:0").expect("a port").local_addr().expect("bound").port();
    let sink = WebhookSink::new(&format!("http://127.0.0.1:{port}/"), secret());
    assert_eq!(sink.deliver(&part(1)).await.expect_err("nobody").kind(), SinkErrorKind::Unknown);
}

#[derive(EventLog)]
struct Ordered {
    row: u32,
}

#[transactional_event]
fn emit(conn: &mut SqliteConnection, rows: u32) -> Result<Vec<Uuid>, DieselError> {
    (0..rows).map(|row| conn.emit(&Ordered { row })).collect()
}

/// Whether it names them or not, the relay finds them.
#[tokio::test]
async fn events_that_the_receiver_rejects_are_held_as_dead_and_the_others_are_delivered() {
    for names_them in [true, false] {
        let database = SqliteFile::create();
        let store = SqliteStore::new(&database.url());
        store.setup().await.expect("the outbox tables install");
        let mut conn = SqliteConnection::establish(&database.path().display().to_string()).expect("the file opens");
        let ids = emit(&mut conn, 50).expect("commits");
        let bad: BTreeSet<Uuid> = [ids[7], ids[33]].into();
        let wanted = bad.clone();
        let url = answering(200, ("x", "y"), move |body| {
            let text = String::from_utf8_lossy(body);
            let found: Vec<_> = wanted.iter().filter(|id| text.contains(&id.to_string())).collect();
            match (found.is_empty(), names_them) {
                (true, _) => (0, String::new()),
                (_, true) => (422, format!(r#"{{"rejected":["{}"]}}"#, found[0])),
                (_, false) => (422, "no".into()),
            }
        })
        .await;
        let sink = WebhookSink::new(&url, secret());
        let mut relay = Relay::builder(store.clone()).sink(sink).once().start().await.expect("starts");
        // It says that not everything was delivered.
        let _ = relay.ended().await;
        let mut dead = BTreeSet::new();
        for held in store.held(10).await.expect("held") {
            assert!(held.dead && held.code == Some(422), "{held:?}");
            let events = store.held_events(held.id()).await.expect("readable").unwrap_or_default();
            dead.extend(events.iter().map(|stored| stored.event.id));
        }
        assert_eq!(dead, bad, "named: {names_them}");
        assert_eq!(relay.stats().delivered_events, 48);
    }
}
