//! Generic connections without the bounds that they need.
use diesel::{Connection, QueryResult};
use diesel_async::AsyncConnection;
use outbox::prelude::*;

#[transactional_event]
fn any_backend<C: Connection>(conn: &mut C) -> QueryResult<()> {
    Ok(())
}

#[transactional_event]
async fn nothing_known<C>(conn: &mut C) -> QueryResult<()> {
    Ok(())
}

#[transactional_event]
async fn any_async_backend<C: AsyncConnection>(conn: &mut C) -> QueryResult<()> {
    Ok(())
}

fn main() {}
