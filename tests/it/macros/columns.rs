//! The layout `columns` from the derive to ClickHouse and back: every Rust type that has a column, on every database.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use chrono::{DateTime, NaiveDate, NaiveDateTime, NaiveTime, Utc};
use diesel_async::AsyncConnection;
use outbox::prelude::*;
use outbox::{EventColumns, OutboxBackend, Relay, Store};
use outbox_test::databases::ClickHouseDatabase;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::every_store::{drain, on_every_store, sink};

on_every_store!(every_value_comes_back);

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, EventColumns)]
struct Place {
    #[event_log(ch(type = "FixedString(2)"))]
    country: String,
    lat: f64,
}

#[derive(Clone, Debug, PartialEq, EventLog, Deserialize)]
#[event_log(
    name = "every_type_seen",
    layout = "columns",
    table = "seen",
    ddl(order_by = "(id, event_id)", partition_by = "toYYYYMM(at)", ttl = "toDateTime(at) + INTERVAL 50 YEAR")
)]
struct Seen {
    #[event_log(key)]
    id: Uuid,
    #[event_log(timestamp)]
    at: DateTime<Utc>,
    flag: bool,
    maybe_flag: Option<bool>,
    letter: char,
    text: String,
    cow: Cow<'static, str>,
    boxed: Box<str>,
    tiny: i8,
    short: i16,
    int: i32,
    long: i64,
    huge: i128,
    size: isize,
    utiny: u8,
    ushort: u16,
    uint: u32,
    ulong: u64,
    uhuge: u128,
    usize: usize,
    single: f32,
    double: f64,
    day: NaiveDate,
    #[serde(deserialize_with = "without_zone")]
    local: NaiveDateTime,
    time: NaiveTime,
    v4: Ipv4Addr,
    v6: Ipv6Addr,
    ip: IpAddr,
    list: Vec<Option<i64>>,
    set: BTreeSet<String>,
    array: [u16; 3],
    map: HashMap<String, Vec<u8>>,
    numbered: BTreeMap<u32, String>,
    pair: (String, i64),
    none: Option<String>,
    #[event_log(ch(type = "LowCardinality(String)", codec = "ZSTD(3)", comment = "how it's \"paid\""))]
    kind: String,
    #[event_log(ch(type = "Decimal(18, 4)"))]
    #[serde(deserialize_with = "number_as_text")]
    amount: String,
    #[event_log(rename = "renamed field`")]
    #[serde(rename = "renamed field`")]
    renamed: u8,
    #[event_log(flatten)]
    #[serde(flatten)]
    place: Place,
    #[event_log(with = last_four)]
    card: String,
    #[event_log(sensitive)]
    password: String,
    #[event_log(skip)]
    #[serde(skip)]
    cache: u8,
}

fn last_four(card: &str) -> &str {
    card.get(card.len().saturating_sub(4)..).unwrap_or_default()
}

fn without_zone<'de, D: serde::Deserializer<'de>>(from: D) -> Result<NaiveDateTime, D::Error> {
    let text = String::deserialize(from)?;
    text.trim_end_matches('Z').parse().map_err(serde::de::Error::custom)
}

/// A decimal comes back as a number.
fn number_as_text<'de, D: serde::Deserializer<'de>>(from: D) -> Result<String, D::Error> {
    serde_json::Value::deserialize(from).map(|number| number.to_string())
}

fn seen(id: u128) -> Seen {
    Seen {
        id: Uuid::from_u128(id),
        at: DateTime::from_timestamp_micros(1_767_225_600_000_001).expect("a time"),
        flag: true,
        maybe_flag: Some(false),
        letter: 'ü',
        text: "it's \"\n\t\\ ü \u{1F600}".to_owned(),
        cow: Cow::Borrowed("cow"),
        boxed: "box".into(),
        tiny: i8::MIN,
        short: i16::MIN,
        int: i32::MIN,
        long: i64::MIN,
        huge: i128::MIN,
        size: isize::MIN,
        utiny: u8::MAX,
        ushort: u16::MAX,
        uint: u32::MAX,
        ulong: u64::MAX,
        uhuge: u128::MAX,
        usize: usize::MAX,
        single: 0.1,
        double: 1e-300,
        day: NaiveDate::from_ymd_opt(1905, 12, 31).expect("a day"),
        local: "2026-01-02T03:04:05.000006".parse().expect("a time"),
        time: "23:59:59.5".parse().expect("a time"),
        v4: Ipv4Addr::new(1, 2, 3, 4),
        v6: Ipv6Addr::LOCALHOST,
        ip: IpAddr::V6(Ipv6Addr::LOCALHOST),
        list: vec![Some(1), None, Some(i64::MAX)],
        set: ["a".to_owned(), "b".to_owned()].into(),
        array: [1, 2, 3],
        map: HashMap::from([("k".to_owned(), vec![1, 2])]),
        numbered: BTreeMap::from([(7, "seven".to_owned())]),
        pair: ("p".to_owned(), -1),
        none: None,
        kind: "card".to_owned(),
        amount: "12.3456".to_owned(),
        renamed: 9,
        place: Place { country: "AT".to_owned(), lat: 48.2 },
        card: "4111111111111234".to_owned(),
        password: "hunter2".to_owned(),
        cache: 5,
    }
}

/// What is stored of it.
fn stored(mut seen: Seen) -> Seen {
    seen.card = last_four(&seen.card).to_owned();
    seen.password = outbox::REDACTED.to_owned();
    seen.cache = 0;
    seen
}

async fn emit<C>(conn: &mut C, events: &[Seen])
where
    C: AsyncConnection<Backend: OutboxBackend>,
{
    outbox::transaction(conn, async |conn| conn.emit_all(events).await).await.expect("a commit");
}

async fn read(clickhouse: &ClickHouseDatabase) -> Vec<Seen> {
    let rows = clickhouse
        .query(
            "SELECT * FROM seen ORDER BY id FORMAT JSONEachRow \
             SETTINGS output_format_json_quote_64bit_integers = 0, date_time_output_format = 'iso'",
        )
        .await;
    rows.lines().map(|row| serde_json::from_str(row).unwrap_or_else(|e| panic!("{e}: {row}"))).collect()
}

/// A relay that has the Rust type registers it, and one that has it not delivers by what the outbox knows.
async fn every_value_comes_back<C, S>(mut conn: C, store: impl Fn() -> S)
where
    C: AsyncConnection<Backend: OutboxBackend>,
    S: Store,
{
    let clickhouse = ClickHouseDatabase::create().await;
    emit(&mut conn, &[seen(1), seen(2)]).await;
    drain(Relay::builder(store()).schema::<Seen>(), &clickhouse).await;
    assert_eq!(read(&clickhouse).await, [1, 2].map(|id| stored(seen(id))));

    emit(&mut conn, &[seen(3)]).await;
    drain(Relay::builder(store()), &clickhouse).await;
    assert_eq!(read(&clickhouse).await, [1, 2, 3].map(|id| stored(seen(id))));

    let made = clickhouse
        .query("SELECT sorting_key, partition_key, engine_full LIKE '%toIntervalYear(50)%' FROM system.tables WHERE name = 'seen' AND database = currentDatabase()")
        .await;
    assert_eq!(made, "id, event_id\ttoYYYYMM(at)\t1");
    let column = "SELECT type, compression_codec, comment FROM system.columns WHERE table = 'seen' AND name = 'kind' AND database = currentDatabase() FORMAT TSVRaw";
    assert_eq!(clickhouse.query(column).await, "LowCardinality(String)\tCODEC(ZSTD(3))\thow it's \"paid\"");
    let envelope =
        "SELECT countIf(event_type = 'every_type_seen' AND event_date_time = at AND key = toString(id)) FROM seen";
    assert_eq!(clickhouse.query(envelope).await, "3");
    let report = sink(&clickhouse).schema::<Seen>().report().await.expect("a report");
    assert!(report.iter().all(|table| table.findings.is_empty()), "{report:?}");
}
