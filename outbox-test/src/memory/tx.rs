//! Transactions that write events.

use outbox_core::{EncodeError, Event, EventLog};
use uuid::Uuid;

use super::MemoryStore;

/// The environment that emitted events carry.
const ENVIRONMENT: &str = "test";

/// A transaction of a service. Its events get their places in the outbox when they are emitted and are seen by the relay
/// when it commits, which may be after later ones. Dropping it rolls back.
#[derive(Debug)]
pub struct MemoryTx {
    store: MemoryStore,
    seqs: Vec<i64>,
}

impl MemoryTx {
    pub(super) fn new(store: MemoryStore) -> Self {
        Self { store, seqs: Vec::new() }
    }

    /// Emits an event and returns its id.
    ///
    /// # Errors
    /// [`EncodeError`] when it cannot be an outbox row.
    pub fn emit<E: EventLog + ?Sized>(&mut self, event: &E) -> Result<Uuid, EncodeError> {
        let event = Event::from_log(event, ENVIRONMENT)?;
        let id = event.id;
        self.push(event);
        Ok(id)
    }

    /// Emits an event that has its envelope already, unchecked.
    pub fn push(&mut self, event: Event) {
        let now = self.store.now();
        self.seqs.push(self.store.state().write(event, now));
    }

    /// Lets the relay see the events.
    pub fn commit(mut self) {
        let seqs = std::mem::take(&mut self.seqs);
        self.store.state().commit(&seqs);
    }
}

impl Drop for MemoryTx {
    fn drop(&mut self) {
        self.store.state().roll_back(&self.seqs);
    }
}
