//! Compares what is committed in the database with what arrived in ClickHouse.

use std::collections::{HashMap, HashSet};
use std::error::Error;
use std::process::ExitCode;

use clickhouse::{Client, Row};
use outbox::Vars;
use outbox::clickhouse::{ClickHouseSettings, EventLogRow};
use serde::Deserialize;

use crate::app::UserCreated;
use crate::database::Database;

#[derive(Row, Deserialize)]
struct Count {
    event_type: String,
    count: u64,
}

pub async fn report(database: Database, seconds: f64) -> Result<ExitCode, Box<dyn Error>> {
    let mut conn = database.connect().await?;
    let settings = ClickHouseSettings::from_vars(&Vars::from_process())?;
    let client: Client = settings.client();

    let events: Vec<EventLogRow> =
        client.query("SELECT ?fields FROM event_log ORDER BY event_date_time, event_id").fetch_all().await?;
    println!("a few rows of event_log:");
    for row in events.iter().take(3) {
        let user: UserCreated = row.decode()?;
        println!("  {} {} {} {}", row.event_date_time.format("%FT%T%.6fZ"), row.event_type, row.event_id, user.email);
    }
    println!("by type:");
    let counts: Vec<Count> = client
        .query("SELECT toString(event_type) AS event_type, count() AS count FROM event_log GROUP BY ALL ORDER BY ALL")
        .fetch_all()
        .await?;
    for Count { event_type, count } in counts {
        println!("  {event_type}: {count}");
    }

    let committed: HashSet<String> = conn.emails().await?.into_iter().collect();
    let mut arrived: HashMap<String, u64> = HashMap::new();
    for row in &events {
        *arrived.entry(row.decode::<UserCreated>()?.email).or_default() += 1;
    }
    let delivered = committed.iter().filter(|email| arrived.contains_key(*email)).count();
    let lost = committed.len() - delivered;
    let phantom = arrived.keys().filter(|email| !committed.contains(*email)).count();
    let duplicated: u64 = arrived.values().map(|times| times - 1).sum();
    let inserts: u64 = client
        .query(
            "SELECT toUInt64(greatest(max(max_block_number), 0)) FROM system.parts \
             WHERE database = currentDatabase() AND table = 'event_log'",
        )
        .fetch_one()
        .await?;
    if phantom > 0 {
        println!("phantom={phantom}: events of users that are not committed");
    }
    println!(
        "committed={} delivered={delivered} lost={lost} duplicated={duplicated} batches={} inserts={inserts} seconds={seconds:.1}",
        committed.len(),
        conn.batches().await?,
    );
    Ok(if lost == 0 && phantom == 0 && duplicated == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}
