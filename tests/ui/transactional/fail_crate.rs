//! A path that does not lead to the crate.
use diesel::{QueryResult, SqliteConnection};
use outbox::prelude::*;

#[transactional_event(crate = "not a path", retries = 1)]
fn no_path(conn: &mut SqliteConnection) -> QueryResult<()> {
    let _ = conn;
    Ok(())
}

fn main() {
    let _ = no_path;
}
