//! Structs and enums of every shape, without a serde derive on them.
use outbox::EventLog;

#[derive(EventLog)]
struct Unit;

#[derive(EventLog)]
struct Borrowed<'a, T: ?Sized> {
    text: &'a str,
    value: &'a T,
}

#[derive(EventLog)]
struct Wrapper(Unit);

#[derive(EventLog)]
#[event_log(crate = outbox)]
enum Choice {
    One,
    Two(Unit),
    Three { #[event_log(key)] id: u8 },
}

fn main() {
    let _ = (Wrapper(Unit).event_type(), Choice::One.event_type());
    let _ = (Choice::Two(Unit), Choice::Three { id: 1 });
    let _ = Borrowed { text: "", value: "" }.payload();
}
