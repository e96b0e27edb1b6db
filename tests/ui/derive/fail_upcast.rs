//! Upcasts without an older version, and at the wrong place.
use outbox::EventLog;
use serde_json::{Map, Value};

fn upgrade(_: i32, fields: Map<String, Value>) -> Result<Map<String, Value>, String> {
    Ok(fields)
}

#[derive(EventLog)]
#[event_log(upcast = upgrade)]
struct First {
    a: u8,
}

#[derive(EventLog)]
#[event_log(version = 2, upcast = upgrade)]
enum Several {
    One,
    #[event_log(version = 1, upcast = upgrade)]
    Two,
}

#[derive(EventLog)]
#[event_log(version = 2, upcast = |version, fields| upgrade(version, fields), upcats = upgrade)]
struct Closure {
    #[event_log(upcast = upgrade)]
    a: u8,
}

fn main() {}
