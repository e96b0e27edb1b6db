//! A store, the sinks of its routes, the relays, and time, for one schedule.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use chrono::DateTime;
use outbox_core::{Clock, Event, Moment, Route, RouteSpec, Store, StoreError};
use outbox_test::memory::{Kept, MemorySink, MemoryStore, MemoryTx, TokioClock};
use tokio::task::JoinSet;
use tokio::time::sleep;
use uuid::Uuid;

use super::faults::{Faults, Side, Trip};
use super::host::Host;
use super::ledger::Ledger;
use crate::options::RelayOptions;

/// Everything must be drained this long after the last fault.
const DRAIN_MAX: Duration = Duration::from_secs(600);
/// How often to look whether it is.
const DRAIN_STEP: Duration = Duration::from_millis(500);

pub(super) struct World {
    pub clock: TokioClock,
    pub store: MemoryStore,
    pub sinks: BTreeMap<Route, MemorySink>,
    rng: Mutex<fastrand::Rng>,
    faults: Mutex<Faults>,
    ledger: Mutex<Ledger>,
    events: Mutex<u64>,
    hosts: Mutex<JoinSet<()>>,
    pub ordered: bool,
}

impl World {
    pub(super) async fn new(seed: u64, routes: u32, ordered: bool, faults: Faults, with_story: bool) -> Arc<Self> {
        let clock = TokioClock::new();
        let names = ["main", "audit"].into_iter().take(routes as usize);
        let sinks: BTreeMap<Route, MemorySink> = names.map(|name| (Route::new(name), MemorySink::new())).collect();
        let store = MemoryStore::with_seed(clock, seed);
        for route in sinks.keys() {
            let spec = RouteSpec { ordered, ..RouteSpec::new(route.clone()) };
            store.open(&spec).await.expect("opens");
        }
        Arc::new(Self {
            clock,
            store,
            sinks,
            rng: Mutex::new(fastrand::Rng::with_seed(seed)),
            faults: Mutex::new(faults),
            ledger: Mutex::new(Ledger::new(with_story)),
            events: Mutex::default(),
            hosts: Mutex::default(),
            ordered,
        })
    }

    /// Starts a relay of `options.route` that comes back whenever it ends.
    pub(super) fn start(self: &Arc<Self>, no: u32, options: RelayOptions) -> Arc<Host> {
        let host = Arc::new(Host::new(no));
        let sink = self.sinks[&options.route].clone();
        lock(&self.hosts).spawn(Arc::clone(&host).run(Arc::clone(self), options, sink));
        host
    }

    pub(super) fn ledger(&self) -> MutexGuard<'_, Ledger> {
        lock(&self.ledger)
    }

    pub(super) fn draw<T>(&self, draw: impl FnOnce(&mut fastrand::Rng) -> T) -> T {
        draw(&mut lock(&self.rng))
    }

    /// The fate of the next call.
    pub(super) fn trip(&self, relay: u32, side: Side, operation: &'static str) -> Trip {
        let mut ledger = self.ledger();
        ledger.seen.calls += 1;
        let trip = lock(&self.faults).trip(ledger.seen.calls, side, operation);
        let now = self.clock.now().since(Moment::new(Duration::ZERO));
        ledger.mix(operation.as_bytes());
        ledger.mix(&relay.to_le_bytes());
        ledger.mix(&now.as_nanos().to_le_bytes());
        ledger.tell(|| format!("{now:>10.3?} relay {relay}: {operation} ({trip:?})"));
        trip
    }

    pub(super) fn died(&self, relay: u32) {
        let mut ledger = self.ledger();
        ledger.seen.deaths += 1;
        ledger.tell(|| format!("relay {relay} died"));
    }

    pub(super) fn crash_sinks(&self, kept: Kept) {
        let mut ledger = self.ledger();
        ledger.seen.sink_crashes += 1;
        ledger.tell(|| format!("the destinations crash and keep {kept:?}"));
        self.sinks.values().for_each(|sink| sink.crash(kept));
    }

    /// Prunes, and looks at what went.
    pub(super) async fn prune(&self) -> Result<u64, StoreError> {
        let before = self.store.events();
        let pruned = self.store.prune(Duration::ZERO).await?;
        if pruned > 0 {
            let kept = self.store.events();
            let gone = before.iter().map(|stored| stored.event.id);
            let gone: Vec<Uuid> = gone.filter(|id| kept.iter().all(|stored| stored.event.id != *id)).collect();
            let mut ledger = self.ledger();
            ledger.seen.pruned += pruned;
            for (route, sink) in &self.sinks {
                let aside = self.store.held_ids(route);
                let gone: Vec<Uuid> = gone.iter().copied().filter(|id| !aside.contains(id)).collect();
                ledger.lets_go("pruned", route, sink, &gone);
            }
        }
        Ok(pruned)
    }

    /// Emits an event for each table in a transaction that is still open.
    pub(super) fn write(&self, tables: &[u32]) -> Open {
        let mut tx = self.store.begin();
        let mut events = Vec::with_capacity(tables.len());
        for table in tables {
            let mut no = lock(&self.events);
            *no += 1;
            let id = Uuid::from_u64_pair(0x0e0e, *no);
            let mut event = Event::stored(id, "seen".into(), 1, DateTime::UNIX_EPOCH);
            event.table = format!("table_{table}").into();
            event.payload = format!("{{\"no\":{no}}}");
            events.push((id, event.table.to_string()));
            tx.push(event);
        }
        Open { tx, events }
    }

    pub(super) fn commit(&self, open: Open) {
        let mut ledger = self.ledger();
        ledger.tell(|| format!("{} events are committed", open.events.len()));
        ledger.commit(&open.events);
        open.tx.commit();
    }

    /// No more faults.
    pub(super) fn calm(&self) {
        *lock(&self.faults) = Faults::None;
    }

    /// Makes one of the events of an open transaction a bad one, for every destination.
    pub(super) fn spoil(&self, open: &Open, at: usize, names: bool) {
        if let Some((id, _)) = open.events.get(at) {
            self.ledger().bad(*id);
            self.sinks.values().for_each(|sink| sink.refuse(*id, names));
        }
    }

    /// Waits until everything has arrived, or waits for a person, and is pruned.
    pub(super) async fn drained(&self) {
        let mut waited = Duration::ZERO;
        let waits = |route: &Route| self.store.held_ids(route).len() > self.store.dead_ids(route).len();
        while !self.store.events().is_empty() || self.sinks.keys().any(waits) {
            if waited > DRAIN_MAX {
                let status = self.store.status().await.expect("a status");
                self.ledger().breach(format!("not drained after {waited:?}: {status:?}"));
                break;
            }
            sleep(DRAIN_STEP).await;
            waited += DRAIN_STEP;
        }
    }

    /// Ends the relays, waits for what they left under way, and looks at everything once more.
    pub(super) async fn close(&self, late_max: Duration) -> Ledger {
        lock(&self.hosts).abort_all();
        sleep(late_max).await;
        let mut ledger = self.ledger();
        ledger.close(&self.store, &self.sinks);
        std::mem::take(&mut *ledger)
    }
}

/// A transaction of a producer that is not finished. Dropping it rolls back.
pub(super) struct Open {
    tx: MemoryTx,
    events: Vec<(Uuid, String)>,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
