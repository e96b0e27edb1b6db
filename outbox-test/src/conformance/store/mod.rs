//! The contract of [`Store`], as tests.
//!
//! # Examples
//! In a test crate of the store's own, with tokio's `macros` and `rt-multi-thread`:
//! ```
//! use std::time::Duration;
//!
//! use outbox_test::conformance::store::{Sample, StoreHarness, StoreTx};
//! use outbox_test::memory::{ManualClock, MemoryStore, MemoryTx};
//!
//! struct Memory(ManualClock, MemoryStore);
//!
//! impl StoreHarness for Memory {
//!     type Store = MemoryStore;
//!     type Tx = Tx;
//!
//!     const TELLS_THE_TIME: bool = false;
//!
//!     async fn create() -> Self {
//!         let clock = ManualClock::new();
//!         Self(clock.clone(), MemoryStore::new(clock))
//!     }
//!     fn store(&self) -> MemoryStore { self.1.clone() }
//!     async fn begin(&self) -> Tx { Tx(self.1.begin(), self.1.clone()) }
//!     async fn elapse(&self, time: Duration) { self.0.advance(time) }
//!     async fn lose(&self, key: &str) {
//!         let events = self.1.events();
//!         let found = events.iter().find(|stored| stored.event.key.as_deref() == Some(key));
//!         self.1.lose(found.expect("it is there").event.id);
//!     }
//! }
//!
//! struct Tx(MemoryTx, MemoryStore);
//!
//! impl StoreTx for Tx {
//!     async fn emit(&mut self, samples: &[Sample]) -> bool {
//!         !self.1.is_full() && samples.iter().all(|sample| self.0.emit(sample).is_ok())
//!     }
//!     async fn commit(self) { self.0.commit() }
//!     async fn rollback(self) { drop(self) }
//! }
//!
//! outbox_test::store_conformance!(Memory);
//! # fn main() {}
//! ```

pub mod claims;
pub mod holding;
pub mod operating;
pub mod ordered;
pub mod parts;
pub mod pruning;
pub mod routes;
pub mod sealing;
pub mod size;
mod steps;

use std::future::Future;
use std::time::Duration;

use outbox_core::{EncodeError, EventLog, Store};

/// What the suite needs besides the store: everything that the contract leaves to the database and the service.
pub trait StoreHarness: Send + Sync + Sized + 'static {
    /// The store under test.
    type Store: Store;
    /// A transaction of the service.
    type Tx: StoreTx;

    /// Whether one transaction can write while another is open that has written. Without it, nothing commits late.
    const CONCURRENT_WRITERS: bool = true;

    /// Whether the database's clock knows the date, so that a replay can be limited to a time.
    const TELLS_THE_TIME: bool = true;

    /// How long a process may go on taking events after the outbox was said to be full.
    const FULL_IS_SEEN_WITHIN: Duration = Duration::ZERO;

    /// A fresh database without the outbox's tables.
    fn create() -> impl Future<Output = Self> + Send;

    /// A store over it, as another process would make one: nothing is shared with the stores that were made before.
    fn store(&self) -> Self::Store;

    /// Begins a transaction on a connection of its own.
    fn begin(&self) -> impl Future<Output = Self::Tx> + Send;

    /// Returns when at least this much time has passed on the database's clock. The suite asks for milliseconds; a clock that can
    /// be moved is moved.
    fn elapse(&self, time: Duration) -> impl Future<Output = ()> + Send;

    /// Deletes the event with this key from the outbox's table, as an operator's mistake would.
    fn lose(&self, key: &str) -> impl Future<Output = ()> + Send;
}

/// An open transaction of a service.
pub trait StoreTx: Send {
    /// Emits events in this order. False: the outbox is full and refuses them.
    fn emit(&mut self, samples: &[Sample]) -> impl Future<Output = bool> + Send;

    /// Commits.
    fn commit(self) -> impl Future<Output = ()> + Send;

    /// Rolls back.
    fn rollback(self) -> impl Future<Output = ()> + Send;
}

/// An event of the suite. Its key tells it from all others.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sample {
    /// The stored type.
    pub event_type: String,
    /// The destination.
    pub table: String,
    /// Its own.
    pub key: String,
    /// The text of a JSON object.
    pub payload: String,
    /// By the application's clock, in microseconds since 1970.
    pub occurred_at: Option<i64>,
}

impl Sample {
    /// An event of the type `sample` for the table `event_log`.
    #[must_use]
    pub fn new(key: &str) -> Self {
        Self {
            event_type: "sample".to_owned(),
            table: "event_log".to_owned(),
            key: key.to_owned(),
            payload: format!("{{\"key\":\"{key}\"}}"),
            occurred_at: None,
        }
    }

    /// The same of another type.
    #[must_use]
    pub fn of_type(self, event_type: &str) -> Self {
        Self { event_type: event_type.to_owned(), ..self }
    }

    /// `count` of them, with the keys `{prefix}000000` and so on.
    #[must_use]
    pub fn many(prefix: &str, count: usize) -> Vec<Self> {
        (0..count).map(|n| Self::new(&format!("{prefix}{n:06}"))).collect()
    }
}

impl EventLog for Sample {
    fn event_type(&self) -> &str {
        &self.event_type
    }

    fn table(&self) -> &str {
        &self.table
    }

    fn key(&self) -> Option<String> {
        Some(self.key.clone())
    }

    fn occurred_at(&self) -> Option<chrono::DateTime<chrono::Utc>> {
        self.occurred_at.and_then(chrono::DateTime::from_timestamp_micros)
    }

    fn payload(&self) -> Result<String, EncodeError> {
        Ok(self.payload.clone())
    }
}

/// Makes a test of every promise, for a [`StoreHarness`].
///
/// The crate that uses it needs `tokio` with its macros and the multi-threaded runtime.
#[macro_export]
macro_rules! store_conformance {
    ($harness:ty) => {
        $crate::store_conformance!(@group $harness, claims:
            every_event_is_in_exactly_one_batch,
            a_claimed_batch_is_nobody_elses_until_its_lease_runs_out,
            relays_that_claim_at_once_never_get_the_same_batch,
            a_stale_claim_can_do_nothing,
            a_renewed_lease_runs_on,
            a_released_batch_waits_for_its_delay,
            a_parked_batch_does_not_stand_in_the_way,
            settling_and_claiming_in_one_call_is_both_or_neither,
        );
        $crate::store_conformance!(@group $harness, sealing:
            a_batch_reads_back_the_same_and_keeps_its_parts,
            a_batch_is_in_the_order_of_seq,
            a_batch_ends_where_its_bytes_do,
            a_few_events_wait_for_others,
            an_idle_plan_seals_nothing,
            rolled_back_events_are_never_seen,
            late_commits_are_found,
            late_commits_are_found_among_settled_and_pruned_events,
            a_large_rolled_back_transaction_hides_nothing,
            planners_at_once_seal_every_event_once,
            the_applications_clock_decides_nothing,
            a_batch_that_lost_events_is_never_given_out,
        );
        $crate::store_conformance!(@group $harness, size:
            unicode_and_a_mebibyte_come_back_byte_for_byte,
            a_hundred_thousand_pending_events_are_all_delivered,
        );
        $crate::store_conformance!(@group $harness, parts:
            a_part_is_replaced_in_one_step,
            parts_are_settled_one_by_one,
        );
        $crate::store_conformance!(@group $harness, routes:
            routes_deliver_the_same_events_at_their_own_pace,
            a_route_can_begin_now,
            what_commits_after_a_route_began_is_delivered,
            a_filtered_route_gets_only_its_types,
            a_changed_filter_counts_from_then_on,
            a_removed_route_is_forgotten,
            a_route_that_is_not_there_is_refused,
        );
        $crate::store_conformance!(@group $harness, ordered:
            an_ordered_route_has_one_batch_in_hand,
            the_oldest_batch_waits_and_the_others_behind_it,
            relays_that_claim_at_once_get_one_batch_between_them,
            parked_tables_are_named,
        );
        $crate::store_conformance!(@group $harness, holding:
            held_events_let_the_rest_be_settled_and_pruned,
            a_parked_part_comes_back_as_it_was,
            a_dead_batch_waits_for_a_person,
            events_that_were_in_no_part_are_not_frozen_again,
            parked_batches_of_a_table_wait_for_the_first,
            a_discarded_batch_is_gone,
            an_error_of_any_length_is_kept,
        );
        $crate::store_conformance!(@group $harness, pruning:
            nothing_is_pruned_before_every_route_has_settled_it,
            what_is_to_be_kept_is_kept,
            replayed_events_are_sealed_again,
            a_replay_passes_over_what_is_open_and_what_is_held,
            a_new_route_gets_what_is_still_there,
        );
        $crate::store_conformance!(@group $harness, operating:
            setting_up_many_times_at_once_is_safe,
            the_status_counts_what_waits,
            the_load_is_what_waits,
            a_full_outbox_refuses_events,
            schemas_are_kept_and_replaced,
        );
    };
    (@group $harness:ty, $group:ident: $($test:ident),+ $(,)?) => {
        mod $group {
            #[allow(unused_imports, reason = "a harness may be named by a path")]
            use super::*;

            $(
                #[tokio::test(flavor = "multi_thread")]
                async fn $test() {
                    $crate::conformance::store::$group::$test::<$harness>().await;
                }
            )+
        }
    };
}
