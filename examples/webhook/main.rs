//! A sink of one's own: events go to an HTTP endpoint, signed, and the endpoint believes nothing else. [`sink`] is the sender,
//! [`receiver`] the other side; this is a service and a relay around both.
//!
//! `cargo run --example webhook`. It needs no server: it has one.

#![allow(clippy::print_stdout, reason = "a program that talks to its user")]
#![allow(unreachable_pub, missing_docs, reason = "a program has no outside")]

mod receiver;
mod sink;

use std::error::Error;

use diesel::prelude::*;
use outbox::prelude::*;
use outbox::sqlite::SqliteStore;
use outbox::{Relay, Store};

use crate::receiver::Receiver;
use crate::sink::WebhookSink;
use crate::sink::signature::Secret;

#[derive(Debug, EventLog)]
struct UserCreated {
    email: String,
}

#[transactional_event]
fn create_user(conn: &mut SqliteConnection, email: &str) -> QueryResult<()> {
    // A real one writes a user, too.
    conn.emit(&UserCreated { email: email.to_owned() })?;
    Ok(())
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let folder = std::env::temp_dir().join(format!("outbox-webhook-{}", std::process::id()));
    std::fs::create_dir_all(&folder)?;
    let file = folder.join("shop.db").display().to_string();
    let store = SqliteStore::new(&file);
    store.setup().await?;
    let mut conn = SqliteConnection::establish(&file)?;
    for email in ["ada@example.org", "grace@example.org"] {
        create_user(&mut conn, email)?;
    }

    // Out of both sides' configuration, as a rule.
    let secret = Secret::new("thirty-two bytes nobody can guess").ok_or("the secret is too short")?;
    let receiver = Receiver::start(vec![secret.clone()]).await?;
    let mut relay = Relay::builder(store).sink(WebhookSink::new(&receiver.url(), secret)).once().start().await?;
    relay.ended().await?;
    println!("delivered {} events", relay.stats().delivered_events);
    {
        let received = receiver.received();
        for event in &received.events {
            println!("{} {} {}", event.id, event.event_type, event.payload);
        }
        println!("{} requests came again, {} were not believed", received.repeats, received.forged);
    }
    std::fs::remove_dir_all(&folder)?;
    Ok(())
}
