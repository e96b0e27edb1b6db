//! What is returned is no result, or has no place for the database's error.
use diesel::SqliteConnection;
use outbox::prelude::*;

struct Refused;

#[transactional_event]
fn option(conn: &mut SqliteConnection) -> Option<u8> {
    Some(1)
}

#[transactional_event]
fn error(conn: &mut SqliteConnection) -> Result<u8, Refused> {
    Ok(1)
}

fn main() {}
