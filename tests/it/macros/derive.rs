//! `#[derive(EventLog)]`: names, fields and payloads.

use std::collections::BTreeMap;
use std::marker::PhantomData;

use chrono::{DateTime, TimeZone, Utc};
use outbox::{EventLog, EventSchema, EventType};
use serde::Serialize;

fn payload(event: &impl EventLog) -> String {
    event.payload().expect("it can be encoded")
}

#[derive(EventLog)]
struct HTTPRequestSeen {
    r#type: &'static str,
    status: Option<u16>,
}

#[test]
fn a_struct_needs_no_options() {
    let event = HTTPRequestSeen { r#type: "GET", status: None };
    assert_eq!((event.event_type(), event.version(), event.table()), ("http_request_seen", 1, "event_log"));
    assert_eq!((event.key(), event.occurred_at()), (None, None));
    assert_eq!(payload(&event), r#"{"type":"GET","status":null}"#);
    let types = [EventType::new("http_request_seen", 1, "event_log")];
    assert_eq!(HTTPRequestSeen::EVENT_TYPES, types);
}

#[derive(Serialize)]
struct Address {
    city: String,
}

fn last_four(card: &str) -> &str {
    card.get(card.len().saturating_sub(4)..).unwrap_or_default()
}

#[derive(EventLog)]
#[event_log(name = "paid", version = 3, table = "payments", rename_all = "camelCase")]
struct Payment<'a> {
    #[event_log(key)]
    order_id: u64,
    #[event_log(timestamp, skip)]
    paid_at: DateTime<Utc>,
    #[event_log(rename = "amount")]
    cents: i64,
    #[event_log(flatten)]
    address: Address,
    #[event_log(with = last_four)]
    card_number: &'a str,
    #[event_log(skip)]
    _secret: fn(),
}

#[test]
fn every_option_of_a_struct_does_what_it_says() {
    let paid_at = Utc.with_ymd_and_hms(2026, 5, 4, 3, 2, 1).single().expect("a time");
    let event = Payment {
        order_id: 7,
        paid_at,
        cents: 250,
        address: Address { city: "Wien".to_owned() },
        card_number: "4111111111111234",
        _secret: || {},
    };
    assert_eq!((event.event_type(), event.version(), event.table()), ("paid", 3, "payments"));
    assert_eq!((event.key().as_deref(), event.occurred_at()), (Some("7"), Some(paid_at)));
    assert_eq!(payload(&event), r#"{"orderId":7,"amount":250,"city":"Wien","cardNumber":"1234"}"#);
}

#[derive(EventLog)]
struct Maybe {
    #[event_log(key)]
    key: Option<String>,
    #[event_log(timestamp)]
    at: Option<DateTime<Utc>>,
}

#[test]
fn key_and_time_may_be_absent() {
    let event = Maybe { key: None, at: None };
    assert_eq!((event.key(), event.occurred_at()), (None, None));
    let event = Maybe { key: Some("k".to_owned()), at: Some(DateTime::UNIX_EPOCH) };
    assert_eq!((event.key().as_deref(), event.occurred_at()), (Some("k"), Some(DateTime::UNIX_EPOCH)));
}

#[derive(EventLog)]
struct Empty;

#[derive(EventLog)]
#[event_log(table = "ledger")]
#[allow(dead_code)]
enum LedgerEvent {
    Opened {
        #[event_log(key)]
        account: u32,
    },
    #[event_log(version = 2, table = "transfers")]
    Moved(Maybe),
    Noted(#[event_log(rename = "text")] String),
    Measured(#[event_log(flatten)] Address),
    #[event_log(name = "ledger_closed")]
    Closed,
}

#[test]
fn each_variant_is_an_event() {
    let names: Vec<_> = LedgerEvent::EVENT_TYPES.iter().map(|each| (each.name, each.version, each.table)).collect();
    assert_eq!(
        names,
        [
            ("ledger_event.opened", 1, "ledger"),
            ("ledger_event.moved", 2, "transfers"),
            ("ledger_event.noted", 1, "ledger"),
            ("ledger_event.measured", 1, "ledger"),
            ("ledger_closed", 1, "ledger"),
        ]
    );
    let opened = LedgerEvent::Opened { account: 3 };
    assert_eq!((opened.event_type(), opened.key().as_deref()), ("ledger_event.opened", Some("3")));
    assert_eq!(payload(&opened), r#"{"account":3}"#);
    let moved = LedgerEvent::Moved(Maybe { key: Some("k".to_owned()), at: Some(DateTime::UNIX_EPOCH) });
    assert_eq!((moved.version(), moved.table()), (2, "transfers"));
    assert_eq!((moved.key().as_deref(), moved.occurred_at()), (Some("k"), Some(DateTime::UNIX_EPOCH)));
    assert_eq!(payload(&moved), r#"{"key":"k","at":"1970-01-01T00:00:00Z"}"#);
    assert_eq!(payload(&LedgerEvent::Noted("x".to_owned())), r#"{"text":"x"}"#);
    assert_eq!(payload(&LedgerEvent::Measured(Address { city: "Wien".to_owned() })), r#"{"city":"Wien"}"#);
    assert_eq!(payload(&LedgerEvent::Closed), "{}");
    assert_eq!(payload(&Empty), "{}");
}

/// Neither `Serialize` nor anything else.
struct Opaque;

#[derive(EventLog)]
struct Generic<T, U, const N: usize>
where
    T: Clone,
{
    value: T,
    nothing: PhantomData<U>,
    many: Vec<T>,
    #[event_log(skip)]
    _hidden: [Option<U>; N],
}

#[test]
fn a_skipped_type_parameter_needs_no_bound() {
    let event = Generic::<_, Opaque, 1> { value: 1, nothing: PhantomData, many: vec![2], _hidden: [None] };
    assert_eq!(payload(&event), r#"{"value":1,"nothing":null,"many":[2]}"#);
}

#[derive(EventLog, Serialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
struct AsSerde {
    first_name: &'static str,
    #[serde(rename = "last")]
    last_name: &'static str,
    #[serde(skip)]
    #[allow(dead_code, reason = "it is there to be left out")]
    password: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    nickname: Option<&'static str>,
    #[serde(flatten)]
    more: BTreeMap<&'static str, u8>,
}

#[test]
fn serde_options_are_the_default_and_give_what_serde_gives() {
    let event = AsSerde {
        first_name: "Ann",
        last_name: "Lee",
        password: "hunter2",
        nickname: None,
        more: BTreeMap::from([("a", 1), ("b", 2)]),
    };
    assert_eq!(payload(&event), serde_json::to_string(&event).expect("serde agrees"));
}

#[derive(EventLog, Serialize)]
#[event_log(rename_all = "kebab-case")]
#[serde(rename_all = "camelCase")]
struct OwnWins {
    first_name: u8,
    #[serde(rename = "theirs")]
    #[event_log(rename = "ours")]
    last_name: u8,
}

#[test]
fn own_options_win_over_those_of_serde() {
    assert_eq!(payload(&OwnWins { first_name: 1, last_name: 2 }), r#"{"first-name":1,"ours":2}"#);
}

#[derive(EventLog)]
struct Clash {
    a: u8,
    #[event_log(flatten)]
    more: BTreeMap<&'static str, u8>,
}

#[test]
fn a_name_that_a_flatten_brings_again_is_an_error_that_names_it() {
    let refused = Clash { a: 1, more: BTreeMap::from([("a", 42)]) }.payload().expect_err("`a` is there already");
    assert!(refused.to_string().contains("`a`") && !refused.to_string().contains("42"), "{refused}");
}
