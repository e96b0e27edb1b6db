//! The other side: believes only what is signed, and takes each part and each event once.
//!
//! A receiver of one's own keeps keys and events in its database, in one transaction with what it does about them. This one
//! keeps them in memory.

use std::collections::{HashMap, HashSet};
use std::convert::Infallible;
use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime};

use http_body_util::{BodyExt, Full, Limited};
use hyper::body::{Bytes, Incoming};
use hyper::service::service_fn;
use hyper::{HeaderMap, Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use serde::Deserialize;
use tokio::net::TcpListener;
use tokio::task::JoinHandle;
use uuid::Uuid;

use super::sink::signature::{Secret, verify};
use super::sink::{FENCE_HEADER, KEY_HEADER, SIGNATURE_HEADER};

/// How far the clocks of both sides may be apart, and how long a request may be under way.
const TOLERANCE: Duration = Duration::from_secs(300);
/// The most that is read: a batch's 16 MiB, and what names and quotes add.
const BODY_BYTES_MAX: usize = 64 << 20;

/// What arrived.
#[derive(Debug, Default)]
pub struct Received {
    /// The highest fence of each key.
    fences: HashMap<String, i64>,
    /// The keys of parts that are done with.
    done: HashSet<String>,
    ids: HashSet<Uuid>,
    /// The events, in the order of arrival.
    pub events: Vec<Event>,
    /// How many requests had a key that was known.
    pub repeats: usize,
    /// How many were not believed.
    pub forged: usize,
}

/// An event, as far as this receiver looks at it.
#[derive(Clone, Debug, Deserialize)]
pub struct Event {
    /// Its id: the same however often it comes.
    pub id: Uuid,
    /// Its type.
    pub event_type: String,
    /// Its fields.
    pub payload: serde_json::Value,
}

#[derive(Deserialize)]
struct Body {
    events: Vec<Event>,
}

/// A running receiver. Dropping it ends it.
#[derive(Debug)]
pub struct Receiver {
    address: SocketAddr,
    received: Arc<Mutex<Received>>,
    serving: JoinHandle<()>,
}

impl Receiver {
    /// Listens on a port of its own on 127.0.0.1. `secrets` are all that count: while one is replaced by another, both.
    ///
    /// # Errors
    /// When no port can be had.
    pub async fn start(secrets: Vec<Secret>) -> io::Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let (address, received) = (listener.local_addr()?, Arc::<Mutex<Received>>::default());
        let (secrets, shared) = (Arc::new(secrets), Arc::clone(&received));
        let serving = tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let (secrets, received) = (Arc::clone(&secrets), Arc::clone(&shared));
                let service = service_fn(move |request| answer(request, Arc::clone(&secrets), Arc::clone(&received)));
                // A connection that breaks is the sender's to open again.
                tokio::spawn(
                    hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(stream), service),
                );
            }
        });
        Ok(Self { address, received, serving })
    }

    /// Where to send to.
    #[must_use]
    pub fn url(&self) -> String {
        format!("http://{}/events", self.address)
    }

    /// What arrived until now.
    pub fn received(&self) -> MutexGuard<'_, Received> {
        locked(&self.received)
    }
}

impl Drop for Receiver {
    fn drop(&mut self) {
        self.serving.abort();
    }
}

fn locked(received: &Mutex<Received>) -> MutexGuard<'_, Received> {
    received.lock().unwrap_or_else(PoisonError::into_inner)
}

async fn answer(
    request: Request<Incoming>,
    secrets: Arc<Vec<Secret>>,
    received: Arc<Mutex<Received>>,
) -> Result<Response<Full<Bytes>>, Infallible> {
    let (head, body) = request.into_parts();
    let status = match Limited::new(body, BODY_BYTES_MAX).collect().await {
        Ok(body) => take(&head.headers, &body.to_bytes(), &secrets, &mut locked(&received)),
        Err(_) => StatusCode::PAYLOAD_TOO_LARGE,
    };
    let mut response = Response::new(Full::default());
    *response.status_mut() = status;
    Ok(response)
}

fn take(headers: &HeaderMap, body: &[u8], secrets: &[Secret], received: &mut Received) -> StatusCode {
    let header = |name| headers.get(name).and_then(|value| value.to_str().ok());
    let Some(key) = header(KEY_HEADER) else { return StatusCode::BAD_REQUEST };
    // Before anything of it is read.
    if verify(secrets, header(SIGNATURE_HEADER), key, body, SystemTime::now(), TOLERANCE).is_err() {
        received.forged += 1;
        return StatusCode::UNAUTHORIZED;
    }
    if received.done.contains(key) {
        received.repeats += 1;
        return StatusCode::OK;
    }
    let fence = header(FENCE_HEADER).and_then(|fence| fence.parse().ok()).unwrap_or(0);
    let highest = received.fences.entry(key.to_owned()).or_insert(fence);
    if *highest > fence {
        // A relay that has lost its lease and does not know it yet.
        return StatusCode::CONFLICT;
    }
    *highest = fence;
    let Ok(Body { events }) = serde_json::from_slice(body) else { return StatusCode::UNPROCESSABLE_ENTITY };
    for event in events {
        // The same event under another key: it was replayed.
        if received.ids.insert(event.id) {
            received.events.push(event);
        }
    }
    received.done.insert(key.to_owned());
    StatusCode::OK
}
