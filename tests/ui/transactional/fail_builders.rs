//! The functions without the attribute: what a source, an error or a body must be.
use diesel::SqliteConnection;
use outbox::{TxOptions, sync};

struct Refused;

impl From<diesel::result::Error> for Refused {
    fn from(_: diesel::result::Error) -> Self {
        Self
    }
}

fn no_source(url: &str) -> diesel::QueryResult<()> {
    sync::transaction_with(TxOptions::new(), url, |_| Ok(()))
}

fn no_transient_error(conn: &mut SqliteConnection) -> Result<(), Refused> {
    sync::transaction_with(TxOptions::new().retries(3), conn, |_| Ok(()))
}

fn no_connection(name: &mut String) -> diesel::QueryResult<()> {
    sync::transaction(name, |_| Ok(()))
}

fn main() {}
