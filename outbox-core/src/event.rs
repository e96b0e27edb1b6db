//! The envelope: an event as the outbox stores it and as a sink receives it.

use std::sync::Arc;

use chrono::{DateTime, SubsecRound, Utc};
use serde::de::DeserializeOwned;
use uuid::Uuid;

use crate::{DecodeError, EncodeError, EventLog, EventSchema};

/// The largest event that the outbox takes, in bytes of [`Event::bytes`]: 1 MiB.
///
/// A batch holds up to 16 MiB, and a relay holds a batch in memory: one event must stay a small part of it.
pub const EVENT_BYTES_MAX: usize = 1 << 20;

/// The longest event type, table, environment or key, in bytes: what MySQL can index in any row format.
pub const NAME_BYTES_MAX: usize = 255;

/// What the envelope costs beside the texts it holds, in bytes: id, version, time, and the store's own columns.
const ENVELOPE_BYTES: usize = 64;

/// An event in its envelope. `Debug` leaves the payload out.
#[derive(Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Event {
    /// UUIDv7, made by the application when the event is emitted.
    pub id: Uuid,
    /// The stored name of its type. Events of one batch share it, as they do the other names.
    pub event_type: Arc<str>,
    /// The version of the payload's shape.
    pub version: i32,
    /// When it happened: microseconds, UTC, the application's clock.
    pub occurred_at: DateTime<Utc>,
    /// Where it happened: `production`, `staging`.
    pub environment: Arc<str>,
    /// The destination table.
    pub table: Arc<str>,
    /// What it is about.
    pub key: Option<String>,
    /// A JSON object of headers (`traceparent`).
    pub headers: Option<String>,
    /// The text of one JSON object: the event's fields.
    pub payload: String,
}

impl Event {
    /// Puts `log` into an envelope: a new id, the current time unless the event knows its own.
    ///
    /// # Errors
    /// [`EncodeError`] when a field cannot be JSON, a name is empty or over [`NAME_BYTES_MAX`], the payload is no JSON
    /// object, or the event is larger than [`EVENT_BYTES_MAX`].
    pub fn from_log<E: EventLog + ?Sized>(log: &E, environment: &str) -> Result<Self, EncodeError> {
        Self {
            id: Uuid::now_v7(),
            event_type: log.event_type().into(),
            version: log.version(),
            occurred_at: log.occurred_at().unwrap_or_else(Utc::now).trunc_subsecs(6),
            environment: environment.into(),
            table: log.table().into(),
            key: log.key(),
            headers: None,
            payload: log.payload()?,
        }
        .checked()
    }

    /// The same with headers: the text of a JSON object.
    ///
    /// # Errors
    /// [`EncodeError`] when the event is larger than [`EVENT_BYTES_MAX`] with them.
    pub fn with_headers(self, headers: &str) -> Result<Self, EncodeError> {
        Self { headers: Some(headers.to_owned()), ..self }.checked()
    }

    /// An event from its stored parts, unchecked. For stores.
    #[must_use]
    pub fn stored(id: Uuid, event_type: Arc<str>, version: i32, occurred_at: DateTime<Utc>) -> Self {
        Self {
            id,
            event_type,
            version,
            occurred_at,
            environment: Arc::default(),
            table: Arc::default(),
            key: None,
            headers: None,
            payload: String::new(),
        }
    }

    /// The event that this was emitted from, for a sink of one's own: see [`decode`](crate::decode).
    ///
    /// # Errors
    /// [`DecodeError`].
    pub fn decode<T: EventSchema + DeserializeOwned>(&self) -> Result<T, DecodeError> {
        crate::decode(&self.event_type, self.version, &self.payload)
    }

    /// The size that limits count: the texts' bytes plus a fixed share for the envelope.
    #[must_use]
    pub fn bytes(&self) -> usize {
        let optional = |text: &Option<String>| text.as_ref().map_or(0, String::len);
        ENVELOPE_BYTES
            + self.event_type.len()
            + self.environment.len()
            + self.table.len()
            + optional(&self.key)
            + optional(&self.headers)
            + self.payload.len()
    }

    fn checked(self) -> Result<Self, EncodeError> {
        let named = |text: &str| !text.is_empty() && text.len() <= NAME_BYTES_MAX;
        for (what, text) in [("type", &self.event_type), ("table", &self.table)] {
            if !named(text) {
                return Err(EncodeError::bad_name(what, NAME_BYTES_MAX));
            }
        }
        if self.environment.len() > NAME_BYTES_MAX {
            return Err(EncodeError::bad_name("environment", NAME_BYTES_MAX));
        }
        if self.key.as_ref().is_some_and(|key| key.len() > NAME_BYTES_MAX) {
            return Err(EncodeError::bad_name("key", NAME_BYTES_MAX));
        }
        for (what, text) in [
            ("type", Some(&*self.event_type)),
            ("table", Some(&*self.table)),
            ("environment", Some(&*self.environment)),
            ("key", self.key.as_deref()),
            ("headers", self.headers.as_deref()),
        ] {
            // PostgreSQL refuses NUL in text. JSON text escapes it, so the payload needs no look.
            if text.is_some_and(|text| text.contains('\0')) {
                return Err(EncodeError::nul(&self.event_type, what));
            }
        }
        if !(self.payload.starts_with('{') && self.payload.ends_with('}')) {
            return Err(EncodeError::not_json(&self.event_type));
        }
        match self.bytes() {
            bytes if bytes > EVENT_BYTES_MAX => Err(EncodeError::too_large(&self.event_type, bytes, EVENT_BYTES_MAX)),
            _ => Ok(self),
        }
    }
}

impl std::fmt::Debug for Event {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Event")
            .field("id", &self.id)
            .field("event_type", &self.event_type)
            .field("version", &self.version)
            .field("occurred_at", &self.occurred_at)
            .field("table", &self.table)
            .field("payload_bytes", &self.payload.len())
            .finish_non_exhaustive()
    }
}

/// An event as a store gave it back.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoredEvent {
    /// Its place in the outbox: grows with the order of the emits, may have gaps.
    pub seq: i64,
    /// The event.
    pub event: Event,
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Log {
        event_type: &'static str,
        key: Option<String>,
        payload: String,
    }

    impl EventLog for Log {
        fn event_type(&self) -> &str {
            self.event_type
        }
        fn key(&self) -> Option<String> {
            self.key.clone()
        }
        fn payload(&self) -> Result<String, EncodeError> {
            Ok(self.payload.clone())
        }
    }

    fn log(payload: &str) -> Log {
        Log { event_type: "log", key: None, payload: payload.to_owned() }
    }

    #[test]
    fn ids_grow_and_times_have_microseconds() {
        let first = Event::from_log(&log("{}"), "test").expect("a small event fits");
        let second = Event::from_log(&log("{}"), "test").expect("a small event fits");
        assert!(first.id < second.id, "UUIDv7 of one process are monotonic");
        assert_eq!(first.occurred_at.timestamp_subsec_nanos() % 1000, 0);
    }

    #[test]
    fn too_large_an_event_is_a_named_error() {
        let text = "x".repeat(EVENT_BYTES_MAX);
        let refused = Event::from_log(&log(&format!("{{\"a\":\"{text}\"}}")), "test").expect_err("over the limit");
        assert!(refused.is_too_large());
        assert!(refused.to_string().contains("1048576"), "{refused}");
    }

    #[test]
    fn names_that_no_store_can_hold_are_refused() {
        for bad in [
            Log { event_type: "", key: None, payload: "{}".into() },
            Log { event_type: "a\0b", key: None, payload: "{}".into() },
            Log { event_type: "log", key: Some("k".repeat(256)), payload: "{}".into() },
            log("not json"),
        ] {
            assert!(Event::from_log(&bad, "test").is_err());
        }
    }

    #[test]
    fn debug_never_shows_the_payload() {
        let event = Event::from_log(&log(r#"{"secret":"hunter2"}"#), "test").expect("a small event fits");
        assert!(!format!("{event:?}").contains("hunter2"));
    }
}
