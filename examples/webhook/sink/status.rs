//! What a status means for the events.

use std::time::Duration;

use outbox::{SinkError, SinkErrorKind};
use serde::Deserialize;
use uuid::Uuid;

/// How a receiver names the events that it will never take: `{"rejected": ["0199..", ..]}`.
#[derive(Default, Deserialize)]
struct Rejected {
    #[serde(default)]
    rejected: Vec<Uuid>,
}

/// `Ok` when the receiver has the part for good.
///
/// # Errors
/// What the relay shall do with it. Nothing of the answer's text is quoted: it may repeat what was sent.
pub fn judge(status: u16, retry_after: Option<Duration>, text: &str) -> Result<(), SinkError> {
    let error = |kind, message: &'static str| SinkError::new(kind, "deliver", message).with_code(status.into());
    Err(match status {
        200..=299 => return Ok(()),
        // It is at the same key this moment, or was too early or too slow: nobody knows, so the same again.
        408 | 409 | 425 | 500 | 502 | 504 => error(SinkErrorKind::Unknown, "the webhook failed"),
        // It asks for less.
        429 | 503 | 507 => match retry_after {
            Some(wait) => error(SinkErrorKind::Busy, "the webhook asks for a pause").after(wait),
            None => error(SinkErrorKind::Busy, "the webhook asks for a pause"),
        },
        // It will never take these events. One that names none has the part taken apart until it is found.
        400 | 413 | 422 => {
            let rejected = serde_json::from_str::<Rejected>(text).unwrap_or_default().rejected;
            error(SinkErrorKind::BadRows, "the webhook rejects events").with_bad_ids(rejected)
        }
        300..=399 => error(SinkErrorKind::Stop, "the webhook has moved: set its new URL"),
        401 | 403 => error(SinkErrorKind::Stop, "the webhook does not believe the signature: compare the secrets"),
        404 | 405 | 410 => error(SinkErrorKind::Stop, "there is no webhook at this URL"),
        _ => error(SinkErrorKind::Unforeseen, "the webhook gives an answer that nobody has foreseen"),
    })
}
