//! A sink of one's own: events become lines of JSON in files, exactly once, through any crash. [`sink`] has all of it; this is
//! a service and a relay around it.
//!
//! `cargo run --example ndjson -- DIRECTORY`. It needs no server. Run it again, and kill it in between: the files grow by three
//! orders each time, and no line is ever there twice or in half.

#![allow(clippy::print_stdout, reason = "a program that talks to its user")]
#![allow(unreachable_pub, missing_docs, reason = "a program has no outside")]

mod sink;

use std::error::Error;
use std::path::PathBuf;

use diesel::connection::SimpleConnection;
use diesel::prelude::*;
use outbox::prelude::*;
use outbox::sqlite::SqliteStore;
use outbox::{Relay, Store};

use crate::sink::NdjsonSink;

diesel::table! { orders (id) { id -> BigInt, cents -> BigInt, } }

#[derive(Debug, EventLog)]
struct OrderPlaced {
    #[event_log(key)]
    id: i64,
    cents: i64,
}

#[transactional_event]
fn place_order(conn: &mut SqliteConnection, cents: i64) -> QueryResult<i64> {
    let order = diesel::insert_into(orders::table).values(orders::cents.eq(cents));
    let id = order.returning(orders::id).get_result(conn)?;
    conn.emit(&OrderPlaced { id, cents })?;
    Ok(id)
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let directory = std::env::args().nth(1).map(PathBuf::from).ok_or("which directory?")?;
    std::fs::create_dir_all(&directory)?;
    let file = directory.join("shop.db").display().to_string();
    let store = SqliteStore::new(&file);
    store.setup().await?;
    let mut conn = SqliteConnection::establish(&file)?;
    conn.batch_execute("CREATE TABLE IF NOT EXISTS orders (id INTEGER PRIMARY KEY NOT NULL, cents BIGINT NOT NULL)")?;
    for cents in [1250, 300, 99_900] {
        place_order(&mut conn, cents)?;
    }
    let mut relay = Relay::builder(store).sink(NdjsonSink::new(directory.join("log"))).once().start().await?;
    relay.ended().await?;
    println!("delivered {} events into {}", relay.stats().delivered_events, directory.join("log").display());
    Ok(())
}
