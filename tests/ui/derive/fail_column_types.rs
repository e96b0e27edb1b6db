//! Fields that no column is known for.
use std::collections::HashMap;

use outbox::EventLog;

#[derive(serde::Serialize)]
struct Opaque;

#[derive(EventLog)]
#[event_log(layout = "columns")]
struct NoType {
    fine: u8,
    opaque: Opaque,
    many: Vec<Opaque>,
}

#[derive(EventLog)]
#[event_log(layout = "columns")]
struct NoNull {
    list: Option<Vec<u8>>,
}

#[derive(EventLog)]
#[event_log(layout = "columns")]
struct NoColumns {
    #[event_log(flatten)]
    opaque: Opaque,
    #[event_log(flatten)]
    map: HashMap<String, u8>,
}

fn opaque(_: &u8) -> Opaque {
    Opaque
}

#[derive(EventLog)]
#[event_log(layout = "columns")]
struct NoTypeOfResult {
    #[event_log(with = opaque)]
    a: u8,
}

fn main() {}
