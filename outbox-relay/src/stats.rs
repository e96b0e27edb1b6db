//! What a relay has done since it started.

use std::sync::atomic::{AtomicU64, Ordering};

/// Counters shared by a relay's workers.
#[derive(Debug, Default)]
pub(crate) struct Counters {
    pub(crate) delivered_events: AtomicU64,
    pub(crate) settled_batches: AtomicU64,
    pub(crate) delivered_parts: AtomicU64,
    pub(crate) resent_parts: AtomicU64,
    pub(crate) held_events: AtomicU64,
    pub(crate) failures: AtomicU64,
}

/// A relay's counters at one moment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Stats {
    /// Events in parts that were delivered.
    pub delivered_events: u64,
    /// Batches settled.
    pub settled_batches: u64,
    /// Parts delivered.
    pub delivered_parts: u64,
    /// Parts sent again because an earlier send's outcome was unknown.
    pub resent_parts: u64,
    /// Events that were put aside, parked or dead.
    pub held_events: u64,
    /// Steps that failed, of the store's and of the sink's.
    pub failures: u64,
}

impl Counters {
    pub(crate) fn add(counter: &AtomicU64, by: u64) {
        counter.fetch_add(by, Ordering::Relaxed);
    }

    pub(crate) fn read(&self) -> Stats {
        let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        Stats {
            delivered_events: read(&self.delivered_events),
            settled_batches: read(&self.settled_batches),
            delivered_parts: read(&self.delivered_parts),
            resent_parts: read(&self.resent_parts),
            held_events: read(&self.held_events),
            failures: read(&self.failures),
        }
    }
}
