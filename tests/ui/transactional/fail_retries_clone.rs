//! Parameters that cannot be cloned for a second run.
use diesel::{QueryResult, SqliteConnection};
use diesel_async::AsyncPgConnection;
use outbox::prelude::*;

struct Order;

#[transactional_event(retries = 3)]
fn blocking(conn: &mut SqliteConnection, order: Order) -> QueryResult<Order> {
    Ok(order)
}

#[transactional_event(retries = 3)]
async fn generic<T: Send>(conn: &mut AsyncPgConnection, (value, _): (T, u8)) -> QueryResult<T> {
    Ok(value)
}

fn main() {}
