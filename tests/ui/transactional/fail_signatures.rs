//! Functions that cannot be wrapped: what to do is said, and calls of them add nothing.
use std::future::Future;
use std::pin::Pin;

use diesel::{QueryResult, SqliteConnection};
use diesel_async::AsyncPgConnection;
use outbox::prelude::*;

#[transactional_event]
fn no_connection(name: &str) -> QueryResult<()> {
    let _ = name;
    Ok(())
}

#[transactional_event]
fn other_name(db: &mut SqliteConnection) -> QueryResult<()> {
    let _ = db;
    Ok(())
}

#[transactional_event]
fn shared(conn: &SqliteConnection) -> QueryResult<()> {
    let _ = conn;
    Ok(())
}

#[transactional_event]
fn no_result(conn: &mut SqliteConnection) {
    let _ = conn;
}

#[transactional_event]
fn boxed<'a>(conn: &'a mut AsyncPgConnection) -> Pin<Box<dyn Future<Output = QueryResult<()>> + Send + 'a>> {
    let _ = conn;
    Box::pin(async { Ok(()) })
}

#[transactional_event]
fn opaque(conn: &mut AsyncPgConnection) -> impl Future<Output = QueryResult<()>> {
    let _ = conn;
    async { Ok(()) }
}

trait Declared {
    #[transactional_event]
    fn no_body(&self, conn: &mut SqliteConnection) -> QueryResult<()>;
}

#[transactional_event]
struct NotAFunction;

fn main() {
    let _ = (no_connection("a"), other_name, NotAFunction);
}
