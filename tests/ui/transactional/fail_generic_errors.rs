//! Generic errors without the bounds that they need.
use diesel::SqliteConnection;
use diesel_async::AsyncPgConnection;
use outbox::prelude::*;

#[transactional_event]
fn no_from<E>(conn: &mut SqliteConnection) -> Result<(), E> {
    Ok(())
}

#[transactional_event(retries = 1)]
async fn no_source<E: From<diesel::result::Error> + Send>(conn: &mut AsyncPgConnection) -> Result<(), E> {
    Ok(())
}

fn main() {}
