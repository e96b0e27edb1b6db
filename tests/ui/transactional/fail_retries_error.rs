//! Errors of which nobody can tell whether they go away.
use diesel::SqliteConnection;
use diesel_async::AsyncPgConnection;
use outbox::prelude::*;

struct Refused;

impl From<diesel::result::Error> for Refused {
    fn from(_: diesel::result::Error) -> Self {
        Self
    }
}

#[transactional_event(retries = 3)]
fn blocking(conn: &mut SqliteConnection) -> Result<(), Refused> {
    Ok(())
}

#[transactional_event(retries = 3)]
async fn with_await(conn: &mut AsyncPgConnection) -> Result<(), Refused> {
    Ok(())
}

fn main() {}
