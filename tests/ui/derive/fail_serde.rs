//! Serde options that would silently do nothing.
use outbox::EventLog;
use serde::Serialize;

fn hide<S: serde::Serializer>(_: &str, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str("hidden")
}

#[derive(EventLog, Serialize)]
struct Login {
    user: String,
    #[serde(serialize_with = "hide")]
    password: String,
    #[serde(serialize_with = "hide")]
    #[event_log(skip)]
    token: String,
}

fn main() {}
