//! `#[derive(EventLog)]` in the layout `columns`: what it knows without a value.

use std::collections::HashMap;

use outbox::{EventColumns, EventLog, EventSchema, EventType, Layout, SchemaRecord};
use serde::Serialize;

/// Name and type of each column of the only record.
fn columns<E: EventSchema>() -> Vec<(String, String)> {
    let mut records = SchemaRecord::of::<E>();
    assert_eq!(records.len(), 1);
    records.remove(0).columns.into_iter().map(|column| (column.name, column.ty)).collect()
}

fn pairs(of: &[(&str, &str)]) -> Vec<(String, String)> {
    of.iter().map(|(name, ty)| ((*name).to_owned(), (*ty).to_owned())).collect()
}

fn domain(email: &str) -> Option<&str> {
    email.split('@').nth(1)
}

#[derive(EventLog)]
#[event_log(
    layout = "columns",
    rename_all = "camelCase",
    ddl(
        engine = "ReplacingMergeTree",
        order_by = "(userId, event_id)",
        partition_by = "toYYYYMM(at)",
        ttl = "at + INTERVAL 1 YEAR"
    )
)]
struct PageSeen<'a, T> {
    user_id: u64,
    #[event_log(ch(type = "LowCardinality(String)", codec = "ZSTD(3)", default = "'/'", comment = "where"))]
    path: &'a str,
    #[event_log(with = domain)]
    email: String,
    #[event_log(sensitive)]
    cookie: &'a [u8],
    #[event_log(skip)]
    _internal: fn(),
    tags: HashMap<String, Vec<T>>,
}

#[test]
fn the_schema_holds_names_types_and_the_table_s_ddl() {
    let [record] = &SchemaRecord::of::<PageSeen<'_, i8>>()[..] else { panic!("one event type") };
    assert_eq!((&*record.event_type, record.version, &*record.table), ("page_seen", 1, "page_seen"));
    assert_eq!(record.layout, Layout::Columns);
    let ddl = &record.ddl;
    assert_eq!(
        [&ddl.engine, &ddl.order_by, &ddl.partition_by, &ddl.ttl].map(|text| text.as_deref().unwrap_or_default()),
        ["ReplacingMergeTree", "(userId, event_id)", "toYYYYMM(at)", "at + INTERVAL 1 YEAR"]
    );
    assert_eq!(
        columns::<PageSeen<'_, i8>>(),
        pairs(&[
            ("userId", "UInt64"),
            ("path", "LowCardinality(String)"),
            ("email", "Nullable(String)"),
            ("cookie", "String"),
            ("tags", "Map(String, Array(Int8))"),
        ])
    );
    let path = &record.columns[1];
    assert_eq!(
        [&path.codec, &path.default, &path.comment].map(|text| text.as_deref().unwrap_or_default()),
        ["ZSTD(3)", "'/'", "where"]
    );
    let event = PageSeen {
        user_id: 1,
        path: "/",
        email: "ann@example.org".to_owned(),
        cookie: b"secret",
        _internal: || {},
        tags: HashMap::from([("t".to_owned(), vec![1])]),
    };
    assert_eq!(
        event.payload().expect("it can be encoded"),
        r#"{"userId":1,"path":"/","email":"example.org","cookie":"[redacted]","tags":{"t":[1]}}"#
    );
}

#[derive(Serialize, EventColumns)]
#[serde(rename_all = "camelCase")]
struct Address<T> {
    city: String,
    #[event_log(ch(type = "FixedString(2)"))]
    country_code: T,
    #[serde(flatten)]
    more: Place,
    #[serde(skip)]
    #[allow(dead_code, reason = "it is there to be left out")]
    cache: u8,
}

#[derive(Serialize, EventColumns)]
struct Place {
    #[serde(rename = "lat")]
    latitude: f64,
}

#[derive(EventLog)]
#[event_log(layout = "columns", table = "moves")]
struct Moved {
    id: u8,
    #[event_log(flatten)]
    to: Option<Address<&'static str>>,
    why: String,
}

#[test]
fn a_flattened_struct_is_its_columns_in_their_place() {
    assert_eq!(
        columns::<Moved>(),
        pairs(&[
            ("id", "UInt8"),
            ("city", "String"),
            ("countryCode", "FixedString(2)"),
            ("lat", "Float64"),
            ("why", "String"),
        ])
    );
    let to = Address { city: "Wien".into(), country_code: "AT", more: Place { latitude: 48.2 }, cache: 0 };
    let event = Moved { id: 1, to: Some(to), why: String::new() };
    let payload: serde_json::Value =
        serde_json::from_str(&event.payload().expect("it can be encoded")).expect("an object");
    for (column, _) in columns::<Moved>() {
        assert!(payload.get(&column).is_some(), "{column} in {payload}");
    }
}

#[derive(EventLog)]
#[event_log(layout = "columns", ddl(order_by = "cents"))]
struct Transfer {
    cents: i64,
}

#[derive(EventLog)]
#[event_log(layout = "columns", ddl(partition_by = "account"))]
#[allow(dead_code, reason = "only their schemas are looked at")]
enum Ledger {
    #[event_log(ddl(ttl = "never", order_by = "account"))]
    Opened {
        account: u32,
    },
    Booked(Transfer),
    #[event_log(layout = "context")]
    Noted(#[event_log(rename = "text")] String),
    #[event_log(table = "archive.closed")]
    Closed,
}

#[test]
fn each_variant_has_a_layout_a_table_and_a_ddl_of_its_own_and_a_wrapped_event_brings_its_columns() {
    let types: Vec<_> = Ledger::EVENT_TYPES.iter().map(|each| (each.name, each.table, each.layout)).collect();
    assert_eq!(
        types,
        [
            ("ledger.opened", "ledger_opened", Layout::Columns),
            ("ledger.booked", "ledger_booked", Layout::Columns),
            ("ledger.noted", "event_log", Layout::Context),
            ("ledger.closed", "archive.closed", Layout::Columns),
        ]
    );
    let ddl = |at: usize| {
        let EventType { ddl, .. } = Ledger::EVENT_TYPES[at];
        (ddl.order_by, ddl.partition_by, ddl.ttl)
    };
    assert_eq!(ddl(0), (Some("account"), Some("account"), Some("never")));
    assert_eq!(ddl(1), (Some("cents"), Some("account"), None));
    assert_eq!(Ledger::EVENT_TYPES[1].columns, Transfer::EVENT_TYPES[0].columns);
    assert_eq!((Ledger::EVENT_TYPES[2].columns, Ledger::EVENT_TYPES[3].columns), (&[][..], &[][..]));
}
