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
//! The two macros are documented option by option: [`EventLog`](derive@EventLog), [`transactional_event`].

#[doc(inline)]
pub use outbox_core::EventLog;
pub use outbox_core::{
    Backoff, BatchId, BatchStatus, Claim, ClickHouseScalar, ClickHouseType, Clock, Column, ColumnRecord, ColumnType,
    Ddl, DdlRecord, DecodeError, EncodeError, Event, EventColumns, EventKey, EventSchema, EventTime, EventType, Frozen,
    HeldBatch, Hold, HoldReason, IntoEvents, Layout, Load, Moment, Part, PartDraft, PartId, PartRecord, PlanRequest,
    Planned, REDACTED, Recovery, Release, ReplayRequest, Replayed, Retry, Route, RouteSpec, RouteStart, RouteStatus,
    SchemaRecord, Sink, SinkError, SinkErrorKind, Status, Store, StoreError, StoreErrorKind, StoredEvent, Upcast,
    VarError, Vars, decode,
};
#[doc = include_str!("event_columns.md")]
#[doc(inline)]
pub use outbox_derive::EventColumns;
#[doc = include_str!("event_log.md")]
#[doc(inline)]
pub use outbox_derive::EventLog;
#[doc = include_str!("transactional_event.md")]
#[doc(inline)]
pub use outbox_derive::transactional_event;
#[doc(inline)]
pub use outbox_diesel::aio::{transaction, transaction_with};
#[cfg(feature = "mysql")]
#[doc(inline)]
pub use outbox_diesel::mysql;
#[cfg(feature = "postgres")]
#[doc(inline)]
pub use outbox_diesel::postgres;
#[cfg(feature = "sqlite")]
#[doc(inline)]
pub use outbox_diesel::sqlite;
pub use outbox_diesel::{
    EnvironmentError, Isolation, Nested, NoConnection, OutboxBackend, OutboxFull, Outcome, RETRIES_MAX, Tables,
    TransientError, TxOptions, UnsupportedOption, environment, is_outbox_full, is_transient, set_environment,
    set_tables, tables,
};
#[doc(inline)]
pub use outbox_diesel::{aio, headers, sync, wake};
#[cfg(feature = "relay")]
#[doc(inline)]
pub use outbox_relay::{Grace, Limits, OnFull, Relay, RelayBuilder, RelayError, RelayOptions, Stats};

/// The ClickHouse side: [`ClickHouseSink`](clickhouse::ClickHouseSink), and reading events back.
#[cfg(feature = "clickhouse")]
pub mod clickhouse {
    pub use outbox_clickhouse::{
        ClickHouseSettings, ClickHouseSink, Delivery, EventLogRow, TableName, create_table_sql,
    };
}

/// What a module that emits events needs: `use outbox::prelude::*`.
///
/// Both `emit` traits are here: which of them `conn.emit(..)` means follows from the connection's type.
pub mod prelude {
    pub use outbox_core::EventLog;
    pub use outbox_derive::{EventLog, transactional_event};
    pub use outbox_diesel::aio::Emit as _;
    pub use outbox_diesel::sync::Emit as _;
}

/// What the macros expand to. Not for other use: it changes without notice.
#[doc(hidden)]
pub mod __private {
    pub use outbox_core::{
        ClickHouseType, Column, ColumnType, Ddl, EncodeError, EventColumns, EventKey, EventLog, EventSchema, EventTime,
        EventType, KeyFallback, KeyOf, PayloadWriter, Upcast, columns_of, upcast_result,
    };
    pub use outbox_diesel::__private::{
        DateTime, Duration, Isolation, Nested, Next, Repeatable, Serialize, String, ToString, TxOptions, Utc, pinned,
        probe,
    };
    pub use outbox_diesel::{Outcome, aio, sync};
}

/// The front page's code is compiled with the tests.
#[cfg(all(doctest, feature = "postgres", feature = "clickhouse", feature = "relay"))]
#[doc = include_str!("../README.md")]
pub struct Readme;

/// So is that of PostgreSQL's page.
#[cfg(all(doctest, feature = "postgres"))]
#[doc = include_str!("../docs/postgres.md")]
pub struct PostgresPage;
