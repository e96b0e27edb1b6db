//! A transactional outbox for Diesel services: events are committed with the business rows, and a relay delivers them.
//!
//! An event is a row in the service's own database, written in the transaction of the business write. So it is there
//! exactly when the business rows are, whatever happens to the process, the connection or the sink.
//!
//! ```
//! use diesel::prelude::*;
//! use outbox::prelude::*;
//!
//! diesel::table! { users { id -> Integer, email -> Text, } }
//!
//! #[derive(EventLog)] // stored as "user_created", version 1, for the table "event_log"
//! struct UserCreated {
//!     email: String,
//! }
//!
//! #[transactional_event]
//! fn create_user(conn: &mut SqliteConnection, email: &str) -> QueryResult<()> {
//!     diesel::insert_into(users::table).values(users::email.eq(email)).execute(conn)?;
//!     conn.emit(&UserCreated { email: email.to_owned() })?;
//!     Ok(())
//! }
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # use diesel::connection::SimpleConnection;
//! # let mut conn = SqliteConnection::establish(":memory:")?;
//! # conn.batch_execute(include_str!("../outbox-diesel/migrations/sqlite/0001_outbox.sql"))?;
//! # conn.batch_execute("CREATE TABLE users (id INTEGER PRIMARY KEY, email TEXT NOT NULL UNIQUE)")?;
//! # create_user(&mut conn, "ann@example.org")?;
//! # assert!(create_user(&mut conn, "ann@example.org").is_err(), "the e-mail is taken");
//! # diesel::table! { outbox_event (seq) { seq -> BigInt, event_type -> Text, } }
//! # let stored: Vec<String> = outbox_event::table.select(outbox_event::event_type).load(&mut conn)?;
//! # assert_eq!(stored, ["user_created"]);
//! # Ok(())
//! # }
//! ```
//!
//! [`EventLog`](derive@EventLog) and [`transactional_event`] document the two macros, option by option.

pub mod aio;
mod macros;
pub mod prelude;
pub mod sync;

pub use aio::transaction;
pub use macros::{EventLog, transactional_event};
pub use outbox_core::{EncodeError, Event, EventSchema, EventType};
pub use outbox_diesel::{
    EnvironmentError, IntoEvents, OutboxBackend, Outcome, environment, set_environment, wake,
};

/// What the macros expand to. Not for other use: it changes without notice.
#[doc(hidden)]
pub mod __private {
    pub use outbox_core::{EncodeError, EventLog, EventSchema, EventType, PayloadWriter};
    pub use outbox_diesel::__private::{DateTime, Serialize, String, ToString, Utc};
    pub use outbox_diesel::{Outcome, aio, sync};
}
