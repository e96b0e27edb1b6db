//! Parameters that a second run would find changed or gone.
use diesel::{QueryResult, SqliteConnection};
use diesel_async::AsyncPgConnection;
use outbox::prelude::*;

struct Service;

impl Service {
    #[transactional_event(retries = 3)]
    fn by_value(self, conn: &mut SqliteConnection) -> QueryResult<()> {
        let _ = conn;
        Ok(())
    }

    #[transactional_event(retries = 3)]
    async fn exclusive(&mut self, conn: &mut AsyncPgConnection, names: &mut Vec<String>) -> QueryResult<()> {
        let _ = (conn, names);
        Ok(())
    }
}

fn main() {
    let _ = (Service::by_value, Service::exclusive);
}
