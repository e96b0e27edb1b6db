//! Wrapped events that have no columns to share.
use outbox::EventLog;

#[derive(EventLog)]
struct Shared {
    a: u8,
}

#[derive(EventLog)]
#[event_log(layout = "columns")]
struct Wraps(Shared);

#[derive(EventLog)]
#[event_log(layout = "columns")]
enum Several {
    One,
    Two,
}

#[derive(EventLog)]
#[event_log(layout = "columns")]
enum WrapsSeveral {
    All(Several),
}

fn main() {
    let _ = <Wraps as outbox::EventSchema>::EVENT_TYPES;
    let _ = <WrapsSeveral as outbox::EventSchema>::EVENT_TYPES;
}
