//! Held events: what cannot be delivered now, put aside so that the rest can go on.

use std::time::Duration;

use chrono::{DateTime, Utc};
use serde::Serialize;

use crate::{BatchId, Route, StoredEvent};

/// Events of a claimed batch that are to be put aside.
#[derive(Clone, Debug)]
pub struct Hold {
    /// The frozen part that they were to go out in; None where they are in no part yet. A part moves whole, with its
    /// token, its statement and its mark, so that it comes back as the same part.
    pub part: Option<i32>,
    /// Their destination table.
    pub table: String,
    /// Their positions in the batch, ascending.
    pub ordinals: Vec<u32>,
    /// The events, in the same order.
    pub events: Vec<StoredEvent>,
    /// Why, and what for.
    pub reason: HoldReason,
    /// A parked batch is tried again after this time.
    pub delay: Duration,
}

/// Why events are held.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HoldReason {
    /// They wait for a person, who retries or discards them. Otherwise they are parked: they come again by themselves.
    pub dead: bool,
    /// The destination's own error number.
    pub code: Option<i32>,
    /// What happened, without payload or password.
    pub error: String,
}

/// A batch of held events, for an operator.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct HeldBatch {
    /// Its number.
    pub batch: i64,
    /// The route that could not deliver it.
    pub route: String,
    /// The destination table.
    pub table: String,
    /// How many events.
    pub events: u64,
    /// Their size, as [`Event::bytes`](crate::Event::bytes) counts it.
    pub bytes: u64,
    /// Whether it waits for a person; otherwise it is tried again by itself.
    pub dead: bool,
    /// The destination's own error number.
    pub code: Option<i32>,
    /// What happened.
    pub error: String,
    /// How often it was claimed since it was put aside.
    pub attempts: i32,
    /// When it was put aside, by the database's clock.
    pub held_at: DateTime<Utc>,
}

impl HeldBatch {
    /// Its number.
    #[must_use]
    pub fn id(&self) -> BatchId {
        BatchId(self.batch)
    }

    /// Its route.
    #[must_use]
    pub fn route(&self) -> Route {
        Route::new(&self.route)
    }
}
