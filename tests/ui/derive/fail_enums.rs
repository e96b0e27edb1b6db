//! Enums whose variants cannot be told apart, or have nothing to store.
use outbox::EventLog;

struct Opaque;

#[derive(EventLog)]
enum Nothing {}

#[derive(EventLog)]
#[event_log(name = "a")]
enum SameName {
    HttpSeen,
    HTTPSeen,
    #[event_log(name = "a.http_seen")]
    Named,
}

#[derive(EventLog)]
enum Unnamed {
    Pair(u8, u8),
    One(#[event_log(key)] u8),
}

#[derive(EventLog)]
enum WrapsNoEvent {
    One(Opaque),
    Two(String),
}

fn main() {}
