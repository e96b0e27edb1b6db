//! A type without the derive.
use outbox::prelude::*;

struct Plain {
    a: u8,
}

#[transactional_event]
fn emits(conn: &mut diesel::SqliteConnection) -> diesel::QueryResult<()> {
    conn.emit(&Plain { a: 1 })?;
    Ok(())
}

#[transactional_event(emit = |_ok| Plain { a: 1 })]
fn returns(conn: &mut diesel::SqliteConnection) -> diesel::QueryResult<()> {
    Ok(())
}

fn main() {}
