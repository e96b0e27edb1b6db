//! The machine that a relay runs on: it can be killed, suspended, and asked to stop; and it starts a new relay after each
//! end.

use std::future::poll_fn;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::Poll;
use std::time::Duration;

use outbox_test::memory::{MemorySink, TokioClock};
use tokio::sync::{Notify, watch};
use tokio::time::{Instant, Sleep, sleep, sleep_until};
use uuid::Uuid;

use super::wire::{SimSink, SimStore, Wire};
use super::world::World;
use crate::machine::Machine;
use crate::options::RelayOptions;
use crate::worker::{Phase, Worker};

/// When a batch that waits for a person is tried again: soon, so that a schedule ends.
const PARKED_DELAY: Duration = Duration::from_secs(7);

pub(super) struct Host {
    pub no: u32,
    killed: Notify,
    pub wake: Arc<Notify>,
    stalled: Mutex<Option<Instant>>,
    phase: Mutex<watch::Sender<Phase>>,
}

impl Host {
    pub(super) fn new(no: u32) -> Self {
        Self {
            no,
            killed: Notify::new(),
            wake: Arc::default(),
            stalled: Mutex::default(),
            phase: Mutex::new(watch::Sender::new(Phase::Running)),
        }
    }

    /// SIGKILL.
    pub(super) fn kill(&self) {
        self.killed.notify_one();
    }

    /// SIGSTOP now, and SIGCONT after this time: the relay goes on where it was and knows nothing of it.
    pub(super) fn stall(&self, by: Duration) {
        *lock(&self.stalled) = Some(Instant::now() + by);
    }

    pub(super) fn stop(&self, phase: Phase) {
        lock(&self.phase).send_replace(phase);
    }

    /// Runs one relay after the other, for ever.
    pub(super) async fn run(self: Arc<Self>, world: Arc<World>, options: RelayOptions, sink: MemorySink) {
        for life in 0.. {
            *lock(&self.phase) = watch::Sender::new(Phase::Running);
            let wire = Wire { world: Arc::clone(&world), host: Arc::clone(&self), sink: sink.clone() };
            let worker = self.worker(&world, &options, wire, life);
            let relay = suspendable(worker.run(), &self.stalled);
            tokio::select! {
                biased;
                () = self.killed.notified() => world.died(self.no),
                _ = relay => {}
            }
            // A machine that died does not stand still any more.
            *lock(&self.stalled) = None;
            let pause = world.draw(|rng| rng.u64(1..1500));
            sleep(Duration::from_millis(pause)).await;
        }
    }

    fn worker(&self, world: &World, options: &RelayOptions, wire: Wire, life: u64) -> Worker<SimStore, TokioClock> {
        let mut policy = options.policy(true);
        policy.parked_delay = PARKED_DELAY;
        Worker {
            store: SimStore(wire.clone()),
            sink: Arc::new(SimSink(wire)),
            clock: world.clock,
            options: options.clone(),
            machine: Machine::new(policy, world.draw(|rng| rng.u64(..))),
            // Every other host comes back under its old name: the attempt alone must be enough to tell its lives apart.
            owner: Uuid::from_u64_pair(u64::from(self.no), if self.no.is_multiple_of(2) { life } else { 0 }),
            phase: lock(&self.phase).subscribe(),
            wake: Arc::clone(&self.wake),
            counters: Arc::default(),
            last_alarm: String::new(),
            full: false,
        }
    }
}

/// `inner`, which does nothing at all before the moment in `stalled`.
async fn suspendable<T>(inner: impl Future<Output = T>, stalled: &Mutex<Option<Instant>>) -> T {
    let mut inner = std::pin::pin!(inner);
    let mut timer: Option<Pin<Box<Sleep>>> = None;
    poll_fn(|cx| {
        let until = *lock(stalled);
        if let Some(until) = until.filter(|until| Instant::now() < *until) {
            let mut wait = Box::pin(sleep_until(until));
            if wait.as_mut().poll(cx).is_pending() {
                timer = Some(wait);
                return Poll::Pending;
            }
        }
        timer = None;
        inner.as_mut().poll(cx)
    })
    .await
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
