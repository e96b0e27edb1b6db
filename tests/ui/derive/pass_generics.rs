//! Bounds are those of what is stored: nothing else has to be `Serialize`.
use std::fmt::Debug;
use std::marker::PhantomData;

use outbox::{EventLog, EventSchema};

struct Opaque;

#[derive(EventLog)]
struct Everything<'a, 'b: 'a, T: ?Sized, U = u8, const N: usize = 2>
where
    U: Debug,
{
    borrowed: &'a T,
    twice: &'a &'b str,
    many: [U; N],
    nothing: PhantomData<Opaque>,
    #[event_log(skip)]
    hidden: Option<Box<dyn Fn(U) -> U>>,
    #[event_log(sensitive)]
    secret: fn(&T),
}

#[derive(EventLog)]
struct Keyed<K, T, S> {
    #[event_log(key, skip)]
    key: K,
    #[event_log(timestamp, skip)]
    at: T,
    #[event_log(sensitive)]
    secret: S,
}

#[derive(EventLog)]
struct Wraps<E>(E);

#[derive(EventLog)]
enum Choice<A, B> {
    One(A),
    Two { b: B },
    Three(#[event_log(skip)] PhantomData<B>, #[event_log(rename = "n")] u8),
}

fn main() {
    let event = Everything { borrowed: "", twice: &"", many: [1, 2], nothing: PhantomData, hidden: None, secret: |_: &str| {} };
    let _ = event.payload();
    let keyed = Keyed { key: 'k', at: std::time::SystemTime::now(), secret: Opaque };
    let _ = (keyed.key(), Wraps(&keyed).occurred_at(), Wraps(Box::new(keyed)).payload());
    let _ = <Wraps<Opaque> as EventSchema>::EVENT_TYPES;
}
