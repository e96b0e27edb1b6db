//! [`WebhookSink`]: every part a signed POST, and an answer that is taken at its word.
//!
//! * The **token** goes along as `Idempotency-Key`: the same part has the same one however often it comes, and a receiver that
//!   remembers keys has each part once. See the module `receiver` beside this one.
//! * The **signature** is HMAC-SHA256 over the time, the key and the body, with a secret that both sides know: [`signature`].
//! * The **status** decides what the relay does next: [`status::judge`].

pub mod signature;
pub mod status;

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use outbox::{Part, Sink, SinkError, SinkErrorKind, StoredEvent};
use serde::Serialize;
use serde_json::value::RawValue;
use uuid::Uuid;

use self::signature::Secret;

/// The header of the part's token.
pub const KEY_HEADER: &str = "idempotency-key";
/// The header of the part's fence: it grows with every relay that takes the part over.
pub const FENCE_HEADER: &str = "outbox-fence";
/// The header of the time and the signature: `t=1700000000,v1=9a0f..`.
pub const SIGNATURE_HEADER: &str = "outbox-signature";

/// How long an answer may take. Shorter than a lease, so that a slow receiver is asked again by the same relay.
const TIMEOUT: Duration = Duration::from_secs(20);
/// The most of an answer that is read: it only has to name rows.
const ANSWER_BYTES_MAX: u64 = 64 << 10;

/// Delivers parts to a URL. Clones share it.
#[derive(Clone)]
pub struct WebhookSink {
    agent: ureq::Agent,
    url: Arc<str>,
    secret: Secret,
}

/// An event, as the receiver sees it.
#[derive(Serialize)]
struct Sent<'a> {
    id: Uuid,
    event_type: &'a str,
    version: i32,
    occurred_at: String,
    environment: &'a str,
    key: Option<&'a str>,
    payload: &'a RawValue,
}

impl WebhookSink {
    /// A sink for `url` (`http://` here: the feature `rustls` of `ureq` adds `https://`), signing with `secret`.
    #[must_use]
    pub fn new(url: &str, secret: Secret) -> Self {
        let config = ureq::Agent::config_builder().http_status_as_error(false).timeout_global(Some(TIMEOUT));
        // Where a receiver sends its callers is not where events were meant to go.
        let config = config.max_redirects(0).max_redirects_will_error(false).build();
        Self { agent: config.new_agent(), url: url.into(), secret }
    }
}

impl Sink for WebhookSink {
    async fn deliver(&self, part: &Part) -> Result<(), SinkError> {
        let (token, fence) = (part.token.to_string(), part.fence.to_string());
        let body = body(part)?;
        let signed = self.secret.sign(signature::seconds(SystemTime::now()), &token, &body);
        let (agent, url) = (self.agent.clone(), Arc::clone(&self.url));
        // The client blocks. What it sends after the relay has lost its patience carries the same key.
        let asked = tokio::task::spawn_blocking(move || {
            let request = agent.post(&*url).content_type("application/json");
            let request = request.header(KEY_HEADER, token).header(FENCE_HEADER, fence);
            let mut answer = request.header(SIGNATURE_HEADER, signed).send(&body[..])?;
            let retry_after = answer.headers().get("retry-after").and_then(|value| value.to_str().ok()?.parse().ok());
            let text = answer.body_mut().with_config().limit(ANSWER_BYTES_MAX).read_to_string().unwrap_or_default();
            Ok::<_, ureq::Error>((answer.status().as_u16(), retry_after.map(Duration::from_secs), text))
        });
        match asked.await {
            Ok(Ok((status, retry_after, text))) => status::judge(status, retry_after, &text),
            Ok(Err(error)) => Err(unanswered(error)),
            Err(panicked) => Err(SinkError::unknown("deliver", "the sender has ended").with_source(panicked)),
        }
    }
}

/// The same bytes each time: a receiver may compare them.
fn body(part: &Part) -> Result<Vec<u8>, SinkError> {
    #[derive(Serialize)]
    struct Body<'a> {
        table: &'a str,
        events: Vec<Sent<'a>>,
    }
    let raw = |stored: &StoredEvent| serde_json::from_str::<&RawValue>(&stored.event.payload).is_ok();
    // An event that is no JSON never will be: the others shall not wait for it.
    let bad: Vec<Uuid> = part.events.iter().filter(|stored| !raw(stored)).map(|stored| stored.event.id).collect();
    if !bad.is_empty() {
        return Err(SinkError::bad_rows("the payload is no JSON", bad));
    }
    let events = part.events.iter().filter_map(|stored| {
        let event = &stored.event;
        Some(Sent {
            id: event.id,
            event_type: &event.event_type,
            version: event.version,
            occurred_at: event.occurred_at.to_rfc3339(),
            environment: &event.environment,
            key: event.key.as_deref(),
            payload: serde_json::from_str(&event.payload).ok()?,
        })
    });
    let body = Body { table: &part.table, events: events.collect() };
    serde_json::to_vec(&body).map_err(|error| SinkError::stop("deliver", "the body is no JSON").with_source(error))
}

/// No answer: nobody knows whether the receiver has the part.
fn unanswered(error: ureq::Error) -> SinkError {
    match error {
        ureq::Error::BadUri(_) | ureq::Error::Http(_) => {
            SinkError::new(SinkErrorKind::Stop, "deliver", "the URL of the webhook is not usable")
        }
        error => SinkError::unknown("deliver", "the webhook did not answer").with_source(error),
    }
}
