//! The stores beside each other: how fast each is drained without a delivery, and what an event costs.

use std::fmt::Write as _;
use std::time::{Duration, Instant};

use outbox::mysql::MySqlStore;
use outbox::{PlanRequest, Route, RouteSpec, Store};

use super::service::Service;
use crate::Result;
use crate::data::{self, ENVIRONMENT, EVENT_TYPE, TABLE};
use crate::figure::Figure;
use crate::place::Place;
use crate::race::{self, Ran};
use crate::report::Report;
use crate::roles::{Role, To};
use crate::size::Size;
use crate::tally::Tally;

const ROWS: [u32; 2] = [1_000, 10_000];

/// How many events a statement has that fills an outbox.
const STATEMENT: u64 = 500;

pub(crate) async fn measure(place: &Place, size: &Size, report: &mut Report) -> Result<()> {
    for service in Service::all(place).await? {
        for rows in ROWS {
            let mut runs = Vec::new();
            for _ in 0..size.rounds {
                eprintln!("store of {}, {rows} rows", service.name());
                service.empty().await?;
                fill(&service, size.small).await?;
                let role = Role::Relay {
                    database: service.database(),
                    prefix: "outbox_".to_owned(),
                    route: "main".to_owned(),
                    rows,
                    workers: None,
                    to: To::Nothing,
                };
                let ran = race::run_over(place, service.process(), &[role]).await?;
                if ran.events != size.small as f64 {
                    return Err(format!("{} events were delivered of {}", ran.events, size.small).into());
                }
                runs.push(ran);
            }
            let name = format!("store/{}/{rows} rows", service.name());
            let tally = |of: fn(&Ran) -> f64| runs.iter().map(of).collect::<Tally>();
            report.add(Figure::new(&name, &tally(Ran::rate), "events/s"));
            let cost = tally(|ran| ran.per_million(ran.database + ran.own));
            report.add(Figure::new(format!("{name}/CPU, database and relay"), &cost, "s per million"));
        }
        if let Service::MariaDb { database, .. } = &service {
            unsealed(&service, database.url(), size, report).await?;
        }
    }
    Ok(())
}

/// What it costs on MySQL to find the events that are in no batch yet, with so many that are.
async fn unsealed(service: &Service, url: &str, size: &Size, report: &mut Report) -> Result<()> {
    let store = MySqlStore::connect(url).await?;
    let route = Route::new("sealed");
    store.open(&RouteSpec::new(route.clone())).await?;
    let request = PlanRequest {
        route: route.clone(),
        rows: 1,
        linger: Duration::ZERO,
        rows_max: 100,
        bytes_max: u64::MAX,
        batches_max: 1_000,
    };
    for sealed in [0, size.sealed] {
        eprintln!("sealing on MariaDB, with {sealed} sealed events");
        fill(service, sealed).await?;
        while store.plan(&request).await?.rows > 0 {}
        let (mut some, mut none) = (Tally::default(), Tally::default());
        for _ in 0..size.rounds * 5 {
            fill(service, 10).await?;
            let started = Instant::now();
            let planned = store.plan(&request).await?;
            some.push(started.elapsed().as_secs_f64() * 1e3);
            if planned.rows != 10 {
                return Err(format!("{} events were sealed of 10", planned.rows).into());
            }
            let started = Instant::now();
            store.plan(&request).await?;
            none.push(started.elapsed().as_secs_f64() * 1e3);
        }
        let name = format!("store/MariaDB/seal with {sealed} sealed events");
        report.add(Figure::new(format!("{name}/10 new ones"), &some, "ms"));
        report.add(Figure::new(format!("{name}/none"), &none, "ms"));
    }
    store.remove_route(&route).await?;
    Ok(())
}

/// Writes so many events into the outbox.
async fn fill(service: &Service, events: u64) -> Result<()> {
    let (occurred_at, bytes) = match service.is_postgres() {
        true => ("now()".to_owned(), 64 + 200),
        false => (chrono::Utc::now().timestamp_micros().to_string(), 64 + 200),
    };
    let mut n = 0;
    while n < events {
        let mut sql = "INSERT INTO outbox_event \
            (id, event_type, version, occurred_at, environment, destination, payload, bytes) VALUES "
            .to_owned();
        for at in 0..STATEMENT.min(events - n) {
            n += 1;
            let data::Row { id, payload } = data::row(n);
            let comma = if at > 0 { ", " } else { "" };
            // Writing to a String cannot fail.
            let _ = write!(
                sql,
                "{comma}('{id}', '{EVENT_TYPE}', 1, {occurred_at}, '{ENVIRONMENT}', '{TABLE}', '{payload}', {bytes})"
            );
        }
        service.execute(&sql).await?;
    }
    Ok(())
}
