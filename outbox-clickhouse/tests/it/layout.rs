//! The layout `columns`: a column for each field, in a table that the sink makes from the schema.

use std::collections::BTreeMap;

use outbox_clickhouse::{ClickHouseSink, Drift, EnsureTable};
use outbox_core::{ColumnRecord, Event, SchemaRecord, Sink, SinkErrorKind, StoredEvent};
use outbox_test::databases::ClickHouseDatabase;

use crate::support::{again, deliver_like_a_relay, part_for, settings, visit, visits_schema};

async fn visits_sink(database: &ClickHouseDatabase) -> ClickHouseSink {
    let sink = ClickHouseSink::new(settings(database).create_table(true));
    sink.learn(&[visits_schema()]);
    sink.check().await.unwrap();
    sink
}

#[tokio::test]
async fn each_field_arrives_in_its_column_once() {
    let database = ClickHouseDatabase::create().await;
    let sink = visits_sink(&database).await;
    let part = part_for(&sink, "page_seen", (0..100).map(visit).collect()).await.unwrap();
    sink.deliver(&part).await.unwrap();
    sink.deliver(&again(&part)).await.unwrap();
    let read = database
        .query(
            "SELECT count(), uniqExact(event_id), sum(visits), any(path), any(event_type), any(environment), max(seq), \
             any(metadata_version) FROM page_seen",
        )
        .await;
    assert_eq!(read, "100\t100\t4950\t/\tpage_seen\ttest\t100\t1");
    assert_eq!(database.query("EXISTS TABLE event_log").await, "0", "no event is bound for it");
    // Reading back finds them, after an alteration.
    database.query("ALTER TABLE page_seen ADD COLUMN more String").await;
    assert_eq!(sink.recover(&again(&part)).await.unwrap(), outbox_core::Recovery::Delivered);
}

#[tokio::test]
async fn every_kind_of_type_goes_through_json() {
    let database = ClickHouseDatabase::create().await;
    let columns = BTreeMap::from([
        ("a_big", ("UInt64", "18446744073709551615", "18446744073709551615")),
        ("b_neg", ("Int8", "-128", "-128")),
        ("c_float", ("Float64", "0.1", "0.1")),
        ("d_flag", ("Bool", "true", "true")),
        ("e_text", ("String", r#""it's \"\n\t\\ ü 😀""#, r#"it\'s "\n\t\\ ü 😀"#)),
        ("f_none", ("Nullable(String)", "null", r"\N")),
        ("g_list", ("Array(UInt8)", "[1,2]", "[1,2]")),
        ("h_map", ("Map(String, UInt8)", r#"{"k":1}"#, "{'k':1}")),
        ("i_tuple", ("Tuple(x UInt8, y String)", r#"{"x":1,"y":"z"}"#, "(1,'z')")),
        ("j_uuid", ("UUID", r#""00112233-4455-6677-8899-aabbccddeeff""#, "00112233-4455-6677-8899-aabbccddeeff")),
        ("k_date", ("Date32", r#""1999-12-31""#, "1999-12-31")),
        ("l_time", ("DateTime64(3, 'UTC')", r#""2026-01-02T03:04:05.678+01:00""#, "2026-01-02 02:04:05.678")),
        ("m_money", ("Decimal(18, 4)", r#""12.3456""#, "12.3456")),
        ("n_ip", ("IPv6", r#""::1""#, "::1")),
        ("o_kind", ("Enum8('a' = 1, 'b' = 2)", r#""b""#, "b")),
        ("p_nested", ("Array(Array(Nullable(Int32)))", "[[1,null],[]]", r"[[1,NULL],[]]")),
        ("q_low", ("LowCardinality(Nullable(String))", r#""l""#, "l")),
        ("r_object", ("String", r#"{"free":[1]}"#, r#"{"free":[1]}"#)),
    ]);
    let mut schema = visits_schema();
    let column = |(name, (ty, ..)): (&&str, &(&str, &str, &str))| ColumnRecord {
        name: (*name).into(),
        ty: (*ty).into(),
        codec: None,
        default: None,
        comment: None,
    };
    schema.columns = columns.iter().map(column).collect();
    let sink = ClickHouseSink::new(settings(&database).create_table(true));
    sink.learn(&[schema]);
    sink.check().await.unwrap();
    let mut seen = visit(1);
    let fields: Vec<_> = columns.iter().map(|(name, (_, json, _))| format!("\"{name}\":{json}")).collect();
    seen.event.payload = format!("{{{}}}", fields.join(","));
    sink.deliver(&part_for(&sink, "page_seen", vec![seen]).await.unwrap()).await.unwrap();
    for (name, (_, _, expected)) in &columns {
        assert_eq!(database.query(format!("SELECT {name} FROM page_seen")).await, *expected, "{name}");
    }
}

#[tokio::test]
async fn a_field_that_the_schema_does_not_know_is_refused_and_its_row_named() {
    let database = ClickHouseDatabase::create().await;
    let sink = visits_sink(&database).await;
    let mut rows: Vec<StoredEvent> = (0..10).map(visit).collect();
    rows[6].event.payload = rows[6].event.payload.replace("\"path\"", "\"secret_field\"");
    let id = rows[6].event.id;
    let refused = sink.deliver(&part_for(&sink, "page_seen", rows).await.unwrap()).await.unwrap_err();
    assert_eq!((refused.kind(), refused.code()), (SinkErrorKind::BadRows, Some(117)), "{refused}");
    assert_eq!(refused.bad_ids(), [id]);
    assert!(!format!("{refused} {refused:?}").contains("secret"), "{refused}");
    assert_eq!(database.query("SELECT count() FROM page_seen").await, "0");
}

#[tokio::test]
async fn a_value_that_its_column_does_not_take_is_its_row_s_fault() {
    let database = ClickHouseDatabase::create().await;
    // Each with values that it does not take, as the database's own server says.
    let columns = [
        ("a_ip", "IPv4", r#""127.0.0.1""#, [r#""unknown""#, r#""1.2.3.400""#]),
        ("b_ip", "IPv6", r#""::1""#, [r#""unknown""#, "[]"]),
        ("c_flag", "Bool", "true", [r#""perhaps""#, "[1]"]),
        ("d_money", "Decimal(9, 2)", r#""0.5""#, [r#""12345678901234567890""#, r#""half""#]),
        ("e_list", "Array(UInt8)", "[1]", [r#""[1""#, r#"{"a":1}"#]),
        ("f_map", "Map(String, UInt8)", r#"{"k":1}"#, [r#""k""#, r#"{"k":"v"}"#]),
        ("g_kind", "Enum8('a' = 1)", r#""a""#, [r#""z""#, "[]"]),
        ("h_uuid", "UUID", r#""00112233-4455-6677-8899-aabbccddeeff""#, [r#""none""#, "1.5"]),
        ("i_day", "Date", r#""2026-01-02""#, [r#""someday""#, "{}"]),
    ];
    let mut schema = visits_schema();
    schema.columns = columns
        .iter()
        .map(|(name, ty, ..)| ColumnRecord {
            name: (*name).into(),
            ty: (*ty).into(),
            codec: None,
            default: None,
            comment: None,
        })
        .collect();
    let sink = ClickHouseSink::new(settings(&database).create_table(true));
    sink.learn(&[schema]);
    sink.check().await.unwrap();
    let row = |value_of: &dyn Fn(&str, &'static str) -> &'static str| {
        let mut seen = visit(1);
        let fields: Vec<_> =
            columns.iter().map(|(name, _, good, _)| format!("\"{name}\":{}", value_of(name, good))).collect();
        seen.event.payload = format!("{{{}}}", fields.join(","));
        seen
    };
    for (at, _, _, bad) in columns {
        for bad in bad {
            let mut rows: Vec<_> = (0..3).map(|_| row(&|_, good| good)).collect();
            rows[1] = row(&|name, good| if name == at { bad } else { good });
            let id = rows[1].event.id;
            let refused = sink.deliver(&part_for(&sink, "page_seen", rows).await.unwrap()).await.unwrap_err();
            assert_eq!(refused.kind(), SinkErrorKind::BadRows, "{bad} in {at}: {refused}");
            assert_eq!(refused.bad_ids(), [id], "{bad} in {at}: {refused}");
        }
    }
    assert_eq!(database.query("SELECT count() FROM page_seen").await, "0");
}

#[tokio::test]
async fn old_events_leave_new_columns_to_their_defaults() {
    let database = ClickHouseDatabase::create().await;
    let sink = visits_sink(&database).await;
    let mut newer = visits_schema();
    newer.version = 2;
    newer.columns.push(ColumnRecord {
        name: "referrer".into(),
        ty: "String".into(),
        codec: Some("ZSTD(3)".into()),
        default: Some("'none'".into()),
        comment: Some("where they came from".into()),
    });
    sink.learn(&[newer.clone()]);
    let missing = sink.ensure("page_seen", EnsureTable::Check).await.unwrap();
    assert_eq!(missing.findings[0].drift, Drift::MissingColumn("referrer".into()));
    assert!(missing.to_string().contains("ADD COLUMN IF NOT EXISTS `referrer` String DEFAULT 'none'"), "{missing}");
    // Events of the version before go on meanwhile; those of the new one wait.
    sink.deliver(&part_for(&sink, "page_seen", vec![visit(1)]).await.unwrap()).await.unwrap();
    let mut new = visit(2);
    new.event.version = 2;
    let waits = part_for(&sink, "page_seen", vec![new.clone()]).await.unwrap_err();
    assert_eq!(waits.kind(), SinkErrorKind::Stop, "{waits}");
    let left = sink.ensure("page_seen", EnsureTable::AddColumns).await.unwrap();
    assert!(left.findings.is_empty(), "{left}");
    new.event.payload = new.event.payload.replacen('{', r#"{"referrer":"search","#, 1);
    for event in [visit(3), new] {
        sink.deliver(&part_for(&sink, "page_seen", vec![event]).await.unwrap()).await.unwrap();
    }
    assert_eq!(
        database.query("SELECT groupArray(referrer) FROM (SELECT * FROM page_seen ORDER BY visits)").await,
        "['none','search','none']"
    );
}

#[tokio::test]
async fn two_column_lists_are_two_parts() {
    let database = ClickHouseDatabase::create().await;
    let mut other = SchemaRecord { event_type: "page_left".into(), ..visits_schema() };
    other.columns.truncate(1);
    let sink = ClickHouseSink::new(settings(&database).create_table(true));
    sink.learn(&[visits_schema(), other]);
    sink.check().await.unwrap();
    let left = |number| {
        let mut left = visit(number);
        left.event.event_type = "page_left".into();
        left.event.payload = format!(r#"{{"visits":{number}}}"#);
        left
    };
    let events = [visit(1), left(2), visit(3), left(4)];
    let refs: Vec<&StoredEvent> = events.iter().collect();
    let groups = sink.divide("page_seen", &refs).await.unwrap();
    assert_eq!(groups, [[0, 2], [1, 3]]);
    sink.freeze("page_seen", &refs).await.expect_err("one token is one statement");
    for group in groups {
        let events = group.into_iter().map(|at| events[at].clone()).collect();
        assert_eq!(deliver_like_a_relay(&sink, part_for(&sink, "page_seen", events).await.unwrap()).await, 0);
    }
    assert_eq!(database.query("SELECT count(), uniqExact(event_type) FROM page_seen").await, "4\t2");
}

#[tokio::test]
async fn add_columns_turns_windows_on_and_adds_the_id_and_touches_nothing_else() {
    let database = ClickHouseDatabase::create().await;
    database
        .query(
            "CREATE TABLE event_log (event_type String, event_date_time DateTime64(6), environment String, event_context String, \
             metadata_version UInt8) ENGINE = MergeTree ORDER BY event_type",
        )
        .await;
    let sink = ClickHouseSink::new(settings(&database));
    let left = sink.ensure("event_log", EnsureTable::AddColumns).await.unwrap();
    let drifts: Vec<_> = left.findings.iter().map(|finding| finding.drift.clone()).collect();
    assert_eq!(drifts, [Drift::ColumnType("metadata_version".into())], "types are for a person to change");
    assert!(!left.is_usable());
    database.query(left.findings[0].mend.clone().unwrap()).await;
    assert!(sink.report().await.unwrap()[0].is_exactly_once());
}

#[tokio::test]
async fn payloads_that_are_no_columns_and_unknown_types_stay_in_the_event_log() {
    let database = ClickHouseDatabase::create().await;
    let sink = visits_sink(&database).await;
    let mut stranger: Event = visit(1).event;
    stranger.event_type = "stranger".into();
    stranger.table = "event_log".into();
    sink.ensure("event_log", EnsureTable::Create).await.unwrap();
    let part = part_for(&sink, "event_log", vec![StoredEvent { seq: 1, event: stranger }]).await.unwrap();
    sink.deliver(&part).await.unwrap();
    assert_eq!(database.query("SELECT JSONExtractInt(event_context, 'visits') FROM event_log").await, "1");
}

#[tokio::test]
async fn one_unfit_table_does_not_keep_the_others_from_starting() {
    let database = ClickHouseDatabase::create().await;
    let sink = visits_sink(&database).await;
    let lost = SchemaRecord { event_type: "lost".into(), table: "lost".into(), ..visits_schema() };
    let without = ClickHouseSink::new(settings(&database));
    without.learn(&[visits_schema(), lost.clone()]);
    without.check().await.unwrap();
    let alone = ClickHouseSink::new(settings(&database));
    alone.learn(&[lost]);
    let refused = alone.check().await.unwrap_err();
    assert_eq!(refused.kind(), SinkErrorKind::Stop, "{refused}");
    drop(sink);
}
