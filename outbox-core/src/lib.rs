//! The contract of the outbox: what an event is, what a store and a sink promise, and the pure decisions between them.
//!
//! Here are only traits, vocabulary and decisions. Nothing in this crate opens a socket, spawns a task, logs, or looks at a
//! clock: time comes in through [`Clock`], events come in through [`EventLog`], and everything else is done by the crates
//! that depend on this one.

mod batch;
mod clock;
mod column_type;
mod columns;
mod decode;
mod event;
mod hold;
mod into_events;
mod key;
mod log;
mod payload;
mod retry;
mod route;
mod schema;
mod sink;
mod status;
mod store;
mod vars;

pub use batch::{BatchId, Claim, Frozen, Part, PartDraft, PartId, PartRecord};
pub use clock::{Clock, Moment};
pub use column_type::{ClickHouseScalar, ClickHouseType, ColumnType};
pub use columns::{EventColumns, columns_of};
pub use decode::{DecodeError, Upcast, decode, upcast_result};
pub use event::{EVENT_BYTES_MAX, Event, NAME_BYTES_MAX, StoredEvent};
pub use hold::{HeldBatch, Hold, HoldReason};
pub use into_events::IntoEvents;
pub use key::{EventKey, EventTime, KeyFallback, KeyOf};
pub use log::{EncodeError, EventLog};
pub use payload::{PayloadWriter, REDACTED};
pub use retry::{Backoff, Retry};
pub use route::{Route, RouteSpec, RouteStart};
pub use schema::{Column, ColumnRecord, Ddl, DdlRecord, EventSchema, EventType, Layout, SchemaRecord};
pub use sink::{BoxFuture, DynSink, Recovery, Sink, SinkError, SinkErrorKind};
pub use status::{BatchStatus, RouteStatus, Status};
pub use store::{Load, PlanRequest, Planned, Release, ReplayRequest, Replayed, Store, StoreError, StoreErrorKind};
pub use vars::{VarError, Vars};
