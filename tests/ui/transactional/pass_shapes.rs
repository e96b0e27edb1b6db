//! Functions of every shape, without a warning.
#![deny(warnings)]
use diesel::{QueryResult, SqliteConnection};
use diesel_async::AsyncPgConnection;
use outbox::prelude::*;

#[derive(EventLog)]
struct Noted;

pub struct Service;

impl Service {
    /// Documented.
    #[transactional_event(conn = db, emit = |_| Noted)]
    pub(crate) async fn method(&self, mut db: &mut AsyncPgConnection) -> QueryResult<()> {
        let again = &mut db;
        again.emit(&Noted).await?;
        Ok(())
    }
}

#[transactional_event]
#[inline]
pub fn unused(conn: &mut SqliteConnection) -> Result<(), Box<dyn std::error::Error>> {
    Ok(())
}

#[transactional_event(emit = |n| (0..*n).map(|_| Noted).collect::<Vec<_>>(), crate = outbox)]
pub fn many<const N: usize>(conn: &mut SqliteConnection, _unused: [u8; N]) -> QueryResult<usize> {
    let n = N;
    conn.emit(&Noted)?;
    Ok(n)
}

mod reexported {
    pub use outbox as under_another_name;
}

#[transactional_event(crate = reexported::under_another_name)]
pub async fn elsewhere(conn: &mut AsyncPgConnection) -> QueryResult<()> {
    conn.emit(&Noted).await.map(drop)
}

fn main() {
    let _ = (unused, many::<1>, elsewhere, Service::method, Service);
}
