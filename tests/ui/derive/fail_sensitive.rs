//! Options that would give a sensitive field away, or that have no use beside it.
use outbox::EventLog;

#[derive(EventLog)]
struct Login {
    #[event_log(sensitive, key)]
    user: String,
    #[event_log(sensitive, timestamp)]
    at: std::time::SystemTime,
    #[event_log(sensitive, with = str::len)]
    password: String,
    #[event_log(sensitive, flatten)]
    device: String,
    #[event_log(sensitive, skip)]
    token: String,
    #[event_log(sensitive = "yes")]
    pin: u16,
    #[event_log(sensitve)]
    cookie: String,
}

#[derive(EventLog)]
struct Wrapped(#[event_log(sensitive)] String);

fn main() {}
