//! All faults of a type show at once, each at its place, and its use as an event adds none.
use outbox::EventLog;

#[derive(EventLog)]
#[event_log(nam = "x", version = 0, tabel = "t", rename_all = "camelcase", table)]
struct Wrong {
    #[event_log(key, keyy, key = 1)]
    id: u8,
    #[event_log(renam = "a", with = 7)]
    other: u8,
    #[event_log(skip, rename = "b")]
    third: u8,
}

#[derive(EventLog)]
#[event_log]
enum Nothing {}

fn main() {
    let _ = Wrong { id: 1, other: 2, third: 3 }.event_type();
}
