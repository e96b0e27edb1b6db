//! [`MemorySink`]: a destination that remembers tokens and can be crashed.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use outbox_core::{Frozen, Part, Recovery, Sink, SinkError, SinkErrorKind, StoredEvent};
use uuid::Uuid;

use super::destination::{Destination, Kept, MemoryRow};

/// How a step of the sink is to fail.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SinkFault {
    /// The destination is not there: nothing is done, and the answer is [`SinkErrorKind::Unknown`].
    Refuse,
    /// The step is done, and the answer is [`SinkErrorKind::Unknown`].
    LoseReply,
    /// Nothing is done, and the answer is [`SinkErrorKind::Busy`].
    Busy,
    /// Nothing is done, and the answer is [`SinkErrorKind::Stop`].
    Stop,
    /// Nothing is done, and the answer is [`SinkErrorKind::BadRows`].
    BadRows,
    /// The step is done, and the answer is [`SinkErrorKind::Environment`]: a view behind the table throws, say.
    Environment,
    /// Nothing is done, and the answer is [`SinkErrorKind::Unforeseen`].
    Unforeseen,
    /// The step is done this much later.
    Delay(Duration),
    /// The step is done, and the answer comes this much later.
    DelayReply(Duration),
    /// The step is done, the destination crashes before it answers, and the answer is [`SinkErrorKind::Unknown`].
    Crash(Kept),
}

/// A destination in memory. Clones share it.
///
/// It delivers exactly once: a token is taken once, a crash may lose the rows of inserts that were not answered and keep
/// their tokens, and [`recover`](Sink::recover) then reads back what is there.
#[derive(Clone, Debug, Default)]
pub struct MemorySink {
    destination: Arc<Mutex<Destination>>,
    faults: Arc<Mutex<VecDeque<SinkFault>>>,
}

impl MemorySink {
    /// An empty destination.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Every row that is there, in the order of the ids.
    #[must_use]
    pub fn rows(&self) -> Vec<MemoryRow> {
        self.destination().rows()
    }

    /// Whether the event is there for good.
    #[must_use]
    pub fn holds(&self, id: Uuid) -> bool {
        self.destination().holds(id)
    }

    /// Makes the next step (`deliver`, `freeze`, `recover`) that has no fault yet fail.
    pub fn fail_next(&self, fault: SinkFault) {
        lock(&self.faults).push_back(fault);
    }

    /// The destination refuses every part that this event is in, for ever. `names`: whether it says which event it is.
    pub fn refuse(&self, id: Uuid, names: bool) {
        self.destination().refuse(id, names);
    }

    /// The destination ends without a warning and starts anew. `kept`: what is left of inserts without an answer.
    pub fn crash(&self, kept: Kept) {
        self.destination().crash(kept);
    }

    fn destination(&self) -> MutexGuard<'_, Destination> {
        lock(&self.destination)
    }

    async fn step<T>(
        &self,
        operation: &'static str,
        effect: impl FnOnce(&mut Destination) -> T,
        answer: impl FnOnce(&mut Destination, T) -> T,
    ) -> Result<T, SinkError> {
        let fault = lock(&self.faults).pop_front();
        let failed = |kind| SinkError::new(kind, operation, "told to fail");
        match fault {
            Some(SinkFault::Refuse) => return Err(failed(SinkErrorKind::Unknown)),
            Some(SinkFault::Busy) => return Err(failed(SinkErrorKind::Busy)),
            Some(SinkFault::Stop) => return Err(failed(SinkErrorKind::Stop)),
            Some(SinkFault::BadRows) => return Err(failed(SinkErrorKind::BadRows)),
            Some(SinkFault::Unforeseen) => return Err(failed(SinkErrorKind::Unforeseen)),
            Some(SinkFault::Delay(by)) => tokio::time::sleep(by).await,
            _ => {}
        }
        let done = effect(&mut self.destination());
        match fault {
            Some(SinkFault::LoseReply) => return Err(failed(SinkErrorKind::Unknown)),
            Some(SinkFault::Environment) => return Err(failed(SinkErrorKind::Environment)),
            Some(SinkFault::Crash(kept)) => {
                self.crash(kept);
                return Err(failed(SinkErrorKind::Unknown));
            }
            Some(SinkFault::DelayReply(by)) => tokio::time::sleep(by).await,
            _ => {}
        }
        Ok(answer(&mut self.destination(), done))
    }
}

impl Sink for MemorySink {
    async fn deliver(&self, part: &Part) -> Result<(), SinkError> {
        let arrive = |destination: &mut Destination| {
            destination.insert(part)?;
            Ok(destination.mark())
        };
        let answer = |destination: &mut Destination, arrived: Result<String, SinkError>| {
            let arrived = arrived?;
            destination.answer(part, &arrived).map(|()| arrived)
        };
        self.step("deliver", arrive, answer).await?.map(drop)
    }

    async fn freeze(&self, _: &str, _: &[&StoredEvent]) -> Result<Frozen, SinkError> {
        let frozen = |destination: &mut Destination| Frozen { statement: "memory".into(), mark: destination.mark() };
        self.step("freeze", frozen, |_, frozen| frozen).await
    }

    async fn recover(&self, part: &Part) -> Result<Recovery, SinkError> {
        self.step("recover", |destination| destination.recover(part), |_, recovery| recovery).await
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
