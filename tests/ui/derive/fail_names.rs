//! Names that are taken, missing or impossible.
use outbox::EventLog;

#[derive(EventLog)]
#[event_log(name = "")]
struct Twice {
    user_id: u8,
    #[event_log(rename = "user_id")]
    id: u8,
}

#[derive(EventLog)]
struct Pair(u8, u8);

#[derive(EventLog)]
enum Choice {
    First,
    #[event_log(name = "choice.first")]
    Second,
}

#[derive(EventLog)]
union Either {
    a: u8,
    b: i8,
}

fn main() {}
