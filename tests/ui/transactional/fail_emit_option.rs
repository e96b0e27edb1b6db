//! `emit = ..` that makes no events.
use diesel::{QueryResult, SqliteConnection};
use diesel_async::AsyncPgConnection;
use outbox::prelude::*;

struct Order;

#[transactional_event(emit = |order| order.clone())]
fn no_event(conn: &mut SqliteConnection) -> QueryResult<Order> {
    Ok(Order)
}

#[transactional_event(emit = |_| 7)]
async fn number(conn: &mut AsyncPgConnection) -> QueryResult<()> {
    Ok(())
}

#[transactional_event(emit = |a, b| ())]
fn two_parameters(conn: &mut SqliteConnection) -> QueryResult<()> {
    Ok(())
}

fn main() {}
