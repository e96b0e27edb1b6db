//! What a field's type lacks is said at the field.
use outbox::EventLog;

struct Opaque;

#[derive(EventLog)]
struct NotSerializable {
    fine: u8,
    opaque: Opaque,
}

#[derive(EventLog)]
struct NotAnEvent(Opaque);

fn main() {}
