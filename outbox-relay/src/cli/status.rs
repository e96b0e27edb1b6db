//! `outbox status`: what waits, since when, and what stands in the way.

use std::io::Write;
use std::time::Duration;

use outbox_core::{Status, Store, Vars};

use super::Failure;
use super::database::with_store;

pub(super) async fn status(vars: &Vars, json: bool) -> Result<(), Failure> {
    let status = with_store!(vars, store => store.status().await?);
    let mut out = std::io::stdout().lock();
    match json {
        true => writeln!(out, "{}", serde_json::to_string(&status).map_err(|e| Failure::Failed(e.into()))?)?,
        false => write!(out, "{}", text(&status))?,
    }
    Ok(())
}

fn text(status: &Status) -> String {
    let mut text = String::new();
    if status.routes.is_empty() {
        text.push_str("no route yet: no relay has been started\n");
    }
    for route in &status.routes {
        // Whole seconds: humantime would print nanoseconds.
        let age = route.oldest_age.map(|age| Duration::from_secs(age.as_secs()));
        let oldest = age.map_or_else(|| "-".to_owned(), |age| humantime::format_duration(age).to_string());
        let ordered = if route.ordered { " (in order)" } else { "" };
        let types = route.event_types.as_ref().map(|types| format!(" ({})", types.join(", "))).unwrap_or_default();
        text.push_str(&format!(
            "route {}{ordered}{types}: {} pending ({} unsealed, {} in {} batches), oldest {oldest}, {} parked\n",
            route.route,
            route.pending_events(),
            route.unsealed_events,
            route.sealed_events,
            route.open_batches,
            route.parked_batches,
        ));
        if route.dead_events > 0 {
            text.push_str(&format!("  {} events wait for a person: see `outbox held list`\n", route.dead_events));
        }
        for batch in &route.failing {
            let parked = if batch.parked { ", parked" } else { "" };
            text.push_str(&format!(
                "  batch {}: {} events, {} attempts{parked}: {}\n",
                batch.batch, batch.events, batch.attempts, batch.error
            ));
        }
    }
    text.push_str(&format!("stored events: {}\n", status.stored_events));
    text
}

#[cfg(test)]
mod tests {
    use outbox_core::{BatchStatus, RouteStatus};

    use super::*;

    #[test]
    fn the_text_says_what_waits_and_why() {
        let status = Status {
            routes: vec![RouteStatus {
                route: "main".into(),
                unsealed_events: 5,
                sealed_events: 200,
                open_batches: 2,
                parked_batches: 1,
                dead_events: 3,
                ordered: true,
                event_types: Some(vec!["seen".into(), "left".into()]),
                oldest_age: Some(Duration::from_millis(61_500)),
                failing: vec![BatchStatus {
                    batch: 7,
                    attempts: 3,
                    events: 100,
                    parked: true,
                    error: "insert: no table".into(),
                }],
            }],
            stored_events: 205,
        };
        assert_eq!(
            text(&status),
            "route main (in order) (seen, left): 205 pending (5 unsealed, 200 in 2 batches), oldest 1m 1s, 1 parked\n  \
             3 events wait for a person: see `outbox held list`\n  \
             batch 7: 100 events, 3 attempts, parked: insert: no table\nstored events: 205\n"
        );
    }
}
