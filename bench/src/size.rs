//! How much is measured.

use std::time::Duration;

/// The sizes of one run.
#[derive(Clone, Debug)]
pub(crate) struct Size {
    /// How often each thing is measured.
    pub(crate) rounds: usize,
    /// The backlog that is drained, as a rule.
    pub(crate) events: u64,
    /// What drains them: only those with this in their names.
    pub(crate) only: Option<String>,
    /// The backlogs whose rates are compared: small and large. Small ones are for what is slow, too.
    pub(crate) small: u64,
    pub(crate) large: u64,
    /// The queue that hand-written deliverers drain.
    pub(crate) peers: u64,
    /// How many events are delivered one by one.
    pub(crate) one_by_one: u64,
    /// How many batches are sealed on MySQL while the cost of finding unsealed events is measured: events in them.
    pub(crate) sealed: u64,
    /// How long each variant of a producer runs in a round.
    pub(crate) producer: Duration,
    /// How long each rate of events is kept up in a round.
    pub(crate) latency: Duration,
    /// How many derives the crate has whose compile time is measured.
    pub(crate) derives: usize,
    /// How many events are encoded.
    pub(crate) encoded: u64,
}

impl Size {
    /// What the documented figures are measured with.
    pub(crate) fn full() -> Self {
        Self {
            rounds: 3,
            events: 1_000_000,
            only: None,
            small: 100_000,
            large: 5_000_000,
            peers: 300_000,
            one_by_one: 1_000,
            sealed: 100_000,
            producer: Duration::from_secs(1),
            latency: Duration::from_secs(20),
            derives: 100,
            encoded: 1_000_000,
        }
    }

    /// For a test: that every figure comes out.
    pub(crate) fn quick() -> Self {
        Self {
            rounds: 1,
            events: 4_000,
            only: None,
            small: 1_000,
            large: 8_000,
            peers: 2_000,
            one_by_one: 20,
            sealed: 2_000,
            producer: Duration::from_millis(100),
            latency: Duration::from_millis(500),
            derives: 2,
            encoded: 1_000,
        }
    }
}
