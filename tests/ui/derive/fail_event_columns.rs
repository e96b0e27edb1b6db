//! Structs whose columns would not be what their `Serialize` writes.
use outbox::EventColumns;
use serde::Serialize;

fn hide<S: serde::Serializer>(_: &str, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str("hidden")
}

#[derive(Serialize, EventColumns)]
struct Tuple(u8, u8);

#[derive(Serialize, EventColumns)]
enum Choice {
    One { a: u8 },
}

#[derive(Serialize, EventColumns)]
#[event_log(rename_all = "camelCase")]
struct Renamed {
    #[event_log(rename = "b")]
    a: u8,
    #[event_log(cch(type = "String"))]
    c: u8,
}

#[derive(Serialize, EventColumns)]
struct Hidden {
    #[serde(serialize_with = "hide")]
    password: String,
    #[serde(serialize_with = "hide")]
    #[event_log(ch(type = "String"))]
    token: String,
}

fn main() {}
