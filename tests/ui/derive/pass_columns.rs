//! The layout `columns` for structs and enums of every shape.
use std::borrow::Cow;
use std::collections::HashMap;

use outbox::{EventColumns, EventLog, EventSchema};

fn first<T: Clone>(many: &[T]) -> Option<T> {
    many.first().cloned()
}

fn length(text: &str) -> usize {
    text.len()
}

#[derive(serde::Serialize, EventColumns)]
#[event_log(crate = outbox)]
struct Inner<'a, T> {
    text: &'a str,
    more: Vec<T>,
}

#[derive(EventLog)]
#[event_log(layout = "columns", ddl(order_by = "tuple()"))]
struct Everything<'a, T: Clone + outbox::ClickHouseScalar + 'a, const N: usize>
where
    T: serde::Serialize,
{
    text: Cow<'a, str>,
    many: &'a [T],
    exactly: [u8; 4],
    #[event_log(sensitive)]
    hidden: [u8; N],
    map: HashMap<&'a str, T>,
    #[event_log(with = first)]
    first: Vec<T>,
    #[event_log(with = length)]
    length: &'a str,
    #[event_log(flatten)]
    inner: Inner<'a, T>,
    #[event_log(sensitive, ch(type = "LowCardinality(String)"))]
    secret: fn(T),
    #[event_log(skip, key)]
    key: Option<&'a str>,
}

#[derive(EventLog)]
#[event_log(layout = "columns")]
struct Unit;

#[derive(EventLog)]
#[event_log(layout = "columns")]
enum Choice {
    One,
    Two(Unit),
    Three(#[event_log(flatten)] Inner<'static, u8>),
    #[event_log(layout = "context", table = "shared")]
    Four { anything: serde_json::Map<String, serde_json::Value> },
}

fn main() {
    let _ = Everything::<'static, u8, 3>::EVENT_TYPES;
    let _ = Choice::EVENT_TYPES;
}
