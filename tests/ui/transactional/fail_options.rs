//! Options that do not exist, and values that are none: all at once, with what was probably meant.
use diesel::{QueryResult, SqliteConnection};
use outbox::prelude::*;

#[transactional_event(con = db, isolaton = "serializable", retry = 3, propagation = "requires_new", emit = 7)]
fn wrong(conn: &mut SqliteConnection) -> QueryResult<()> {
    let _ = conn;
    Ok(())
}

#[transactional_event(conn = bd)]
fn typo(db: &mut SqliteConnection) -> QueryResult<()> {
    let _ = db;
    Ok(())
}

fn main() {
    let _ = (wrong, typo);
}
