//! Keys without a text, and times that are none.
use outbox::EventLog;

struct Opaque;

#[derive(EventLog)]
struct NotAKey {
    #[event_log(key, skip)]
    key: Opaque,
}

#[derive(EventLog)]
struct NotMaybeAKey {
    #[event_log(key, skip)]
    key: Option<Vec<u8>>,
}

#[derive(EventLog)]
struct NotATime {
    #[event_log(timestamp)]
    at: u64,
}

#[derive(EventLog)]
struct NotMaybeATime {
    #[event_log(timestamp)]
    at: Option<String>,
}

#[derive(EventLog)]
struct Twice {
    #[event_log(key, timestamp)]
    a: std::time::SystemTime,
    #[event_log(key)]
    b: u8,
    #[event_log(timestamp)]
    c: std::time::SystemTime,
}

fn main() {}
