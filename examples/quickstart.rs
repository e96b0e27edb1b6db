//! The smallest whole program: a SQLite file, one wrapped function, a relay in the same process, rows in ClickHouse.
//!
//! Needs a ClickHouse, named by the `CLICKHOUSE_*` variables (default: localhost:8123); `cargo xtask up --clickhouse` starts one.
//! Then: `cargo run --example quickstart`.

#![allow(clippy::print_stdout, reason = "a program that talks to its user")]
#![allow(unreachable_pub, missing_docs, reason = "a program has no outside")]

use std::error::Error;

use diesel::connection::SimpleConnection;
use diesel::prelude::*;
use outbox::clickhouse::{ClickHouseSettings, ClickHouseSink, EventLogRow};
use outbox::prelude::*;
use outbox::sqlite::SqliteStore;
use outbox::{Relay, Store, Vars};
use serde::Deserialize;

diesel::table! { orders (id) { id -> BigInt, customer -> Text, cents -> BigInt, } }

/// Stored as `order_placed`, version 1, for the table `event_log`.
#[derive(Debug, EventLog, Deserialize)]
struct OrderPlaced {
    id: i64,
    customer: String,
    cents: i64,
}

/// The order and its event, or neither.
#[transactional_event]
fn place_order(conn: &mut SqliteConnection, customer: &str, cents: i64) -> QueryResult<i64> {
    let order = (orders::customer.eq(customer), orders::cents.eq(cents));
    let id = diesel::insert_into(orders::table).values(order).returning(orders::id).get_result(conn)?;
    conn.emit(&OrderPlaced { id, customer: customer.to_owned(), cents })?;
    Ok(id)
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let folder = std::env::temp_dir().join(format!("outbox-quickstart-{}", std::process::id()));
    std::fs::create_dir_all(&folder)?;
    let file = folder.join("shop.db").display().to_string();

    let store = SqliteStore::new(&file);
    store.setup().await?;
    let mut conn = SqliteConnection::establish(&file)?;
    conn.batch_execute(
        "CREATE TABLE orders (id INTEGER PRIMARY KEY NOT NULL, customer TEXT NOT NULL, cents BIGINT NOT NULL)",
    )?;

    for (customer, cents) in [("Ada", 1250), ("Grace", 300), ("Edsger", 99_900)] {
        place_order(&mut conn, customer, cents)?;
    }

    let settings = ClickHouseSettings::from_vars(&Vars::from_process())?.create_table(true);
    let client = settings.client();
    let mut relay = Relay::builder(store).sink(ClickHouseSink::new(settings)).once().start().await?;
    relay.ended().await?;
    println!("delivered {} events", relay.stats().delivered_events);

    let query = "SELECT ?fields FROM event_log WHERE event_type = 'order_placed' ORDER BY event_id DESC LIMIT 3";
    for row in client.query(query).fetch_all::<EventLogRow>().await? {
        println!("{} {:?}", row.event_date_time, row.decode::<OrderPlaced>()?);
    }
    std::fs::remove_dir_all(&folder)?;
    Ok(())
}
