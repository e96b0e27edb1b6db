//! `#[derive(EventLog)]`: fields that are stored otherwise than they are: `with`, `sensitive`, keys and times.

use std::time::SystemTime;

use chrono::{DateTime, FixedOffset, Utc};
use outbox::{EventKey, EventLog, EventTime, REDACTED};
use serde::Serialize;

fn payload(event: &impl EventLog) -> String {
    event.payload().expect("it can be encoded")
}

fn short(text: &str) -> &str {
    text.get(..2).unwrap_or(text)
}

fn short_if_any(text: &Option<String>) -> Option<&str> {
    text.as_deref().map(short)
}

#[derive(EventLog)]
struct Hidden {
    #[event_log(key, with = short)]
    email: String,
}

#[derive(EventLog)]
struct HiddenIfAny {
    #[event_log(key, with = short_if_any)]
    email: Option<String>,
}

#[derive(EventLog)]
struct OnlyKey {
    #[event_log(key, with = short, skip)]
    email: String,
    id: u8,
}

#[test]
fn what_a_function_makes_of_a_key_is_stored_as_the_key_and_in_the_payload() {
    let event = Hidden { email: "ann@example.org".to_owned() };
    assert_eq!((event.key().as_deref(), payload(&event).as_str()), (Some("an"), r#"{"email":"an"}"#));
    let event = HiddenIfAny { email: Some("ann@example.org".to_owned()) };
    assert_eq!((event.key().as_deref(), payload(&event).as_str()), (Some("an"), r#"{"email":"an"}"#));
    let event = HiddenIfAny { email: None };
    assert_eq!((event.key(), payload(&event).as_str()), (None, r#"{"email":null}"#));
    let event = OnlyKey { email: "ann@example.org".to_owned(), id: 1 };
    assert_eq!((event.key().as_deref(), payload(&event).as_str()), (Some("an"), r#"{"id":1}"#));
}

/// Neither `Serialize` nor anything else.
struct Opaque;

#[derive(EventLog)]
struct Login<T> {
    user: &'static str,
    #[event_log(sensitive)]
    password: String,
    #[event_log(sensitive, rename = "pin")]
    code: Option<u32>,
    #[event_log(sensitive)]
    secret: T,
}

#[derive(EventLog)]
enum Attempt {
    Failed(#[event_log(sensitive, rename = "password")] String),
}

#[test]
fn a_sensitive_field_is_a_placeholder_whatever_it_holds() {
    for code in [None, Some(7)] {
        let event = Login { user: "ann", password: "hunter2".to_owned(), code, secret: Opaque };
        assert_eq!(
            payload(&event),
            r#"{"user":"ann","password":"[redacted]","pin":"[redacted]","secret":"[redacted]"}"#
        );
    }
    let event = Attempt::Failed("hunter2".to_owned());
    assert_eq!(payload(&event), format!(r#"{{"password":"{REDACTED}"}}"#));
}

#[derive(EventLog, Serialize)]
struct SerdeSays {
    #[event_log(sensitive)]
    #[serde(skip_serializing_if = "Option::is_none")]
    nickname: Option<String>,
    #[event_log(sensitive)]
    #[serde(skip)]
    password: String,
    #[event_log(sensitive)]
    #[serde(serialize_with = "loud")]
    token: String,
}

fn loud<S: serde::Serializer>(token: &str, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(&token.to_uppercase())
}

#[test]
fn nothing_that_serde_says_gives_a_sensitive_field_away() {
    let event = SerdeSays { nickname: None, password: "hunter2".to_owned(), token: "t".to_owned() };
    assert_eq!(payload(&event), r#"{"nickname":"[redacted]","password":"[redacted]","token":"[redacted]"}"#);
}

struct AccountId(u32);

impl std::fmt::Display for AccountId {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "account-{}", self.0)
    }
}

struct Ticks(i64);

impl EventTime for Ticks {
    fn event_time(&self) -> Option<DateTime<Utc>> {
        DateTime::from_timestamp(self.0, 0)
    }
}

#[derive(EventLog)]
struct Timed<K, T> {
    #[event_log(key, skip)]
    key: K,
    #[event_log(timestamp, skip)]
    at: T,
}

#[test]
fn keys_have_a_text_and_times_may_come_in_every_form() {
    fn parts<K: EventKey, T: EventTime>(key: K, at: T) -> (Option<String>, Option<DateTime<Utc>>) {
        let event = Timed { key, at };
        (event.key(), event.occurred_at())
    }
    let second = DateTime::from_timestamp(1, 0);
    assert_eq!(parts(AccountId(7), Ticks(1)), (Some("account-7".to_owned()), second));
    assert_eq!(parts("k", SystemTime::UNIX_EPOCH), (Some("k".to_owned()), Some(DateTime::UNIX_EPOCH)));
    let zoned: DateTime<FixedOffset> = DateTime::parse_from_rfc3339("1970-01-01T01:00:01+01:00").expect("a time");
    assert_eq!(parts(1, Some(zoned)), (Some("1".to_owned()), second));
    assert_eq!(parts('k', None::<SystemTime>), (Some("k".to_owned()), None));
}

#[derive(EventLog)]
#[allow(deprecated, reason = "the mark is what is tested")]
struct WithOldField {
    #[deprecated = "use `email`"]
    mail: &'static str,
    email: &'static str,
}

#[test]
#[allow(deprecated, reason = "the mark is what is tested")]
fn a_deprecated_field_is_stored_as_before_and_the_derive_itself_warns_of_nothing() {
    assert_eq!(payload(&WithOldField { mail: "a", email: "b" }), r#"{"mail":"a","email":"b"}"#);
}
