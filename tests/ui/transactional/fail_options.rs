//! Options that do not exist, or are not built yet.
use diesel::{QueryResult, SqliteConnection};
use outbox::prelude::*;

#[transactional_event(con = db, isolation = "serializable", retries = 3, emit = 7)]
fn wrong(conn: &mut SqliteConnection) -> QueryResult<()> {
    Ok(())
}

#[transactional_event(conn = bd)]
fn typo(db: &mut SqliteConnection) -> QueryResult<()> {
    Ok(())
}

fn main() {
    let _ = (wrong, typo);
}
