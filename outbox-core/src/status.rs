//! What a store can say about itself: the backlog, its age, and what stands in the way.

use std::time::Duration;

use serde::Serialize;

/// The state of an outbox, for `outbox status` and for alarms.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Status {
    /// Per route.
    pub routes: Vec<RouteStatus>,
    /// Rows in the event table, the delivered ones that are not pruned yet included.
    pub stored_events: u64,
}

/// One route's state.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct RouteStatus {
    /// The route's name.
    pub route: String,
    /// Committed events in no batch yet.
    pub unsealed_events: u64,
    /// Events in sealed batches that are not settled.
    pub sealed_events: u64,
    /// Sealed batches that are not settled.
    pub open_batches: u64,
    /// Of these, the ones that something stands in the way of: tried again at long intervals.
    pub parked_batches: u64,
    /// Held events that wait for a person. They count neither as sealed nor for the age.
    pub dead_events: u64,
    /// Whether it delivers in order.
    pub ordered: bool,
    /// The event types that it is limited to.
    pub event_types: Option<Vec<String>>,
    /// Age of the oldest event that is not delivered, by the database's clock.
    #[serde(rename = "oldest_age_seconds", serialize_with = "seconds")]
    pub oldest_age: Option<Duration>,
    /// The open batches that failed last, newest first, at most ten.
    pub failing: Vec<BatchStatus>,
}

impl RouteStatus {
    /// Events that are committed and not delivered.
    #[must_use]
    pub fn pending_events(&self) -> u64 {
        self.unsealed_events + self.sealed_events
    }
}

/// An open batch that failed.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct BatchStatus {
    /// Its number.
    pub batch: i64,
    /// How often it was claimed.
    pub attempts: i32,
    /// Its events.
    pub events: u64,
    /// Whether it waits for a person.
    pub parked: bool,
    /// The last failure's text.
    pub error: String,
}

#[allow(clippy::ref_option, reason = "serde hands the field over by reference")]
fn seconds<S: serde::Serializer>(age: &Option<Duration>, serializer: S) -> Result<S::Ok, S::Error> {
    match age {
        Some(age) => serializer.serialize_some(&age.as_secs_f64()),
        None => serializer.serialize_none(),
    }
}
