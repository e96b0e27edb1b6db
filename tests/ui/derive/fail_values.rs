//! Options with a value of the wrong kind, twice, or with none.
use outbox::EventLog;

#[derive(EventLog)]
#[event_log(name = user_created, version = "2", table = 7, layout, rename_all = camelCase, crate = "no path", upcast)]
struct Container {
    #[event_log(key = true, timestamp(at), skip = "yes")]
    a: u8,
    #[event_log(rename, with, ch, flatten())]
    b: u8,
    #[event_log(rename = "x", rename = "y", with = f(), with = g)]
    c: u8,
    #[event_log(rename = "d" skip)]
    d: u8,
    #[event_log = "key"]
    e: u8,
    #[event_log(7, key)]
    f: u8,
}

#[derive(EventLog)]
#[event_log(version = 2147483648, name = "nul\0")]
struct TooLarge {}

fn main() {}
