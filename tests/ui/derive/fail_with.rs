//! Functions that do not fit the field, or whose result cannot be stored.
use outbox::EventLog;

struct Opaque;

fn opaque(_: &str) -> Opaque {
    Opaque
}

fn of_number(number: &u64) -> u64 {
    number + 1
}

#[derive(EventLog)]
struct NotSerializable {
    #[event_log(with = opaque)]
    email: String,
}

#[derive(EventLog)]
struct OtherArgument {
    #[event_log(with = of_number)]
    email: String,
}

#[derive(EventLog)]
struct NotAFunction {
    #[event_log(with = hash)]
    email: String,
}

#[derive(EventLog)]
struct NotAKey {
    #[event_log(key, skip, with = opaque)]
    email: String,
}

fn main() {}
