//! Old versions are read as the new struct: from the derive through a database into ClickHouse and back.

use std::error::Error as _;

use diesel_async::{AsyncConnection, AsyncPgConnection};
use outbox::clickhouse::{ClickHouseSettings, EventLogRow};
use outbox::prelude::*;
use outbox::{DecodeError, Event, Vars};
use serde::Deserialize;
use serde_json::{Map, Value};

use crate::world::{Kind, World};

type Fields = Map<String, Value>;

/// As the service wrote it a year ago,
#[derive(EventLog)]
#[event_log(name = "user_named")]
struct First {
    name: &'static str,
}

/// last month,
#[derive(EventLog)]
#[event_log(name = "user_named", version = 2)]
struct Second {
    first: &'static str,
    last: &'static str,
}

/// and now.
#[derive(Clone, Debug, PartialEq, EventLog, Deserialize)]
#[event_log(name = "user_named", version = 3, upcast = upgrade)]
struct Named {
    first: String,
    last: String,
    greeting: String,
}

/// Not known yet.
#[derive(EventLog)]
#[event_log(name = "user_named", version = 4)]
struct Next {
    id: u64,
}

fn upgrade(version: i32, mut fields: Fields) -> Result<Fields, &'static str> {
    match version {
        1 => {
            let name = fields.remove("name");
            let name = name.as_ref().and_then(Value::as_str).and_then(|name| name.split_once(' '));
            let (first, last) = name.ok_or("a name without a space")?;
            fields.extend([("first".to_owned(), first.into()), ("last".to_owned(), last.into())]);
        }
        2 => {
            let first = fields.get("first").and_then(Value::as_str).unwrap_or_default();
            let greeting = format!("Dear {first}");
            fields.insert("greeting".to_owned(), greeting.into());
        }
        _ => return Err("no such version"),
    }
    Ok(fields)
}

fn named() -> Named {
    Named { first: "Ann".into(), last: "Lee".into(), greeting: "Dear Ann".into() }
}

fn decode<T: EventLog>(event: &T) -> Result<Named, DecodeError> {
    Event::from_log(event, "test").expect("a small event").decode()
}

#[tokio::test(flavor = "multi_thread")]
async fn rows_of_every_version_are_read_as_the_newest_out_of_clickhouse() {
    let world = World::new(Kind::Postgres).await;
    let mut conn = AsyncPgConnection::establish(&world.database_url()).await.expect("PostgreSQL answers");
    let emitted = outbox::transaction(&mut conn, async |conn| {
        conn.emit(&First { name: "Ann Lee" }).await?;
        conn.emit(&Second { first: "Ann", last: "Lee" }).await?;
        conn.emit(&named()).await?;
        conn.emit(&Next { id: 1 }).await
    });
    emitted.await.expect("a commit");
    world.drain().await;

    let client = ClickHouseSettings::from_vars(&Vars::new(world.vars())).expect("good settings").client();
    let sql = "SELECT ?fields FROM event_log ORDER BY metadata_version";
    let rows: Vec<EventLogRow> = client.query(sql).fetch_all().await.expect("rows");
    assert_eq!(rows.iter().map(|row| row.metadata_version).collect::<Vec<_>>(), [1, 2, 3, 4]);
    for row in &rows[..3] {
        assert_eq!(row.decode::<Named>().expect("an older version"), named());
    }
    let newer = rows[3].decode::<Named>().expect_err("nobody knows it yet");
    assert!(newer.is_newer() && newer.to_string().contains("version 4"), "{newer}");
}

#[test]
fn a_sink_of_ones_own_reads_old_events_too() {
    assert_eq!(decode(&First { name: "Ann Lee" }).expect("version 1"), named());
    assert_eq!(decode(&named()).expect("version 3"), named());
    let refused = decode(&First { name: "Plato" }).expect_err("the function refuses it");
    assert!(refused.to_string().contains("from version 1 to 2") && !refused.to_string().contains("Plato"));
    assert_eq!(refused.source().map(ToString::to_string).as_deref(), Some("a name without a space"));
}

#[derive(Debug, PartialEq, EventLog, Deserialize)]
#[serde(untagged)]
enum Shelf {
    #[event_log(version = 2, upcast = plus_one)]
    Filled { books: u8 },
    #[event_log(version = 3)]
    Emptied { at_once: bool },
}

fn plus_one(_: i32, mut fields: Fields) -> Result<Fields, std::convert::Infallible> {
    let books = fields.get("books").and_then(Value::as_u64).unwrap_or_default();
    fields.insert("books".to_owned(), (books + 1).into());
    Ok(fields)
}

#[test]
fn each_variant_has_versions_of_its_own() {
    let read = |event_type, version, payload| outbox::decode::<Shelf>(event_type, version, payload);
    assert_eq!(read("shelf.filled", 1, r#"{"books":1}"#).expect("it is upgraded"), Shelf::Filled { books: 2 });
    assert_eq!(read("shelf.filled", 2, r#"{"books":1}"#).expect("it is current"), Shelf::Filled { books: 1 });
    assert_eq!(read("shelf.emptied", 1, r#"{"at_once":true}"#).expect("as it is"), Shelf::Emptied { at_once: true });
    assert!(read("shelf.filled", 3, "{}").expect_err("its own version counts").is_newer());
}
