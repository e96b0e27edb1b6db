//! What was seen, and what must hold: the ledger notes every breach at the moment when it happens.

use std::collections::{BTreeMap, BTreeSet};

use outbox_core::{Part, Recovery, Route, StoreError, StoreErrorKind};
use outbox_test::memory::{MemorySink, MemoryStore};
use uuid::Uuid;

/// How often the things happened that a simulation is for. A schedule without them shows nothing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Seen {
    pub calls: u64,
    pub delivered: u64,
    pub deaths: u64,
    pub stalls: u64,
    pub sink_crashes: u64,
    pub fenced: u64,
    pub resent: u64,
    pub recovered_delivered: u64,
    pub recovered_resend: u64,
    pub recovered_replace: u64,
    pub late_arrivals: u64,
    pub several_tables: u64,
    pub pruned: u64,
    pub holds: u64,
    pub in_order: u64,
    pub dead: u64,
    pub bad_refused: u64,
}

impl Seen {
    pub(super) fn add(&mut self, other: Self) {
        self.calls += other.calls;
        self.delivered += other.delivered;
        self.deaths += other.deaths;
        self.stalls += other.stalls;
        self.sink_crashes += other.sink_crashes;
        self.fenced += other.fenced;
        self.resent += other.resent;
        self.recovered_delivered += other.recovered_delivered;
        self.recovered_resend += other.recovered_resend;
        self.recovered_replace += other.recovered_replace;
        self.late_arrivals += other.late_arrivals;
        self.several_tables += other.several_tables;
        self.pruned += other.pruned;
        self.holds += other.holds;
        self.in_order += other.in_order;
        self.dead += other.dead;
        self.bad_refused += other.bad_refused;
    }
}

/// What a token stands for.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Content {
    route: Route,
    table: String,
    events: Vec<Uuid>,
}

#[derive(Debug, Default)]
pub(super) struct Ledger {
    /// The committed events and their tables.
    committed: BTreeMap<Uuid, String>,
    /// Of these, the ones that no destination takes.
    bad: BTreeSet<Uuid>,
    /// Whether a destination was told to blame rows that are good.
    pub lied: bool,
    tokens: BTreeMap<Uuid, Content>,
    /// On ordered routes, the latest batch that was sent to each table, by its place in the order of sealing.
    latest: BTreeMap<(Route, String), usize>,
    pub breaches: Vec<String>,
    pub seen: Seen,
    /// Of every step, in their order: two runs of a seed have the same.
    pub hash: u64,
    /// Every step in words, when somebody will read it.
    pub story: Option<Vec<String>>,
}

impl Ledger {
    pub(super) fn new(with_story: bool) -> Self {
        Self { story: with_story.then(Vec::new), ..Self::default() }
    }

    pub(super) fn tell(&mut self, what: impl FnOnce() -> String) {
        if let Some(story) = &mut self.story {
            story.push(what());
        }
    }

    /// FNV-1a.
    pub(super) fn mix(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.hash = (self.hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3);
        }
    }

    pub(super) fn breach(&mut self, what: String) {
        self.tell(|| format!("BREACH: {what}"));
        self.breaches.push(what);
    }

    pub(super) fn commit(&mut self, events: &[(Uuid, String)]) {
        self.committed.extend(events.iter().cloned());
    }

    pub(super) fn bad(&mut self, id: Uuid) {
        self.bad.insert(id);
    }

    pub(super) fn store_failed(&mut self, error: &StoreError) {
        match error.kind() {
            StoreErrorKind::LeaseLost => self.seen.fenced += 1,
            StoreErrorKind::Unavailable => {}
            kind => self.breach(format!("the store answered {kind:?}: {error}")),
        }
    }

    /// A part leaves the relay: same token, same content, for ever.
    pub(super) fn sends(&mut self, part: &Part) {
        self.seen.resent += u64::from(part.resend);
        let events: Vec<Uuid> = part.events.iter().map(|stored| stored.event.id).collect();
        if events.is_empty() {
            self.breach(format!("part {} is empty", part.id));
        }
        for stored in part.events.iter().filter(|stored| *stored.event.table != part.table) {
            self.breach(format!("event {} goes to {}", stored.event.id, part.table));
        }
        let content = Content { route: part.route.clone(), table: part.table.clone(), events };
        if self.tokens.entry(part.token).or_insert_with(|| content.clone()) != &content {
            self.breach(format!("token {} of part {} came with other content", part.token, part.id));
        }
    }

    /// A part of an ordered route leaves the relay: not behind a part of a later batch, and its events in the order of `seq`.
    pub(super) fn in_order(&mut self, part: &Part, place: Option<usize>) {
        self.seen.in_order += 1;
        if !part.events.is_sorted_by_key(|stored| stored.seq) {
            self.breach(format!("part {} is not in the order of seq", part.id));
        }
        let Some(place) = place else { return self.breach(format!("part {} has events of no batch", part.id)) };
        let latest = self.latest.entry((part.route.clone(), part.table.clone())).or_insert(place);
        if place < *latest {
            let what =
                format!("part {} of batch no {place} is sent to {} after one of no {latest}", part.id, part.table);
            return self.breach(what);
        }
        *latest = place;
    }

    pub(super) fn recovers(&mut self, recovery: &Recovery) {
        match recovery {
            Recovery::Resend => self.seen.recovered_resend += 1,
            Recovery::Delivered => self.seen.recovered_delivered += 1,
            Recovery::Replace { .. } => self.seen.recovered_replace += 1,
        }
    }

    /// These events are about to be forgotten by `route`: its sink must have them for good.
    pub(super) fn lets_go(&mut self, what: &str, route: &Route, sink: &MemorySink, events: &[Uuid]) {
        let missing = events.iter().filter(|id| !sink.holds(**id)).count();
        if missing > 0 {
            self.breach(format!("{what}: {missing} of {} events have not arrived on route {route}", events.len()));
        }
    }

    /// Everything is drained: every committed event is in one batch of each route, and in its sink once, or dead where it is
    /// bad.
    pub(super) fn close(&mut self, store: &MemoryStore, sinks: &BTreeMap<Route, MemorySink>) {
        let sealed = store.sealed();
        for (route, sink) in sinks {
            let mut batched: BTreeMap<Uuid, u32> = BTreeMap::new();
            for id in sealed.iter().filter(|batch| batch.route == *route).flat_map(|batch| &batch.events) {
                *batched.entry(*id).or_default() += 1;
            }
            let mut arrived: BTreeMap<Uuid, u32> = BTreeMap::new();
            let rows = sink.rows();
            for row in &rows {
                *arrived.entry(row.id).or_default() += 1;
                if self.committed.get(&row.id).is_some_and(|table| *table != row.table) {
                    self.breach(format!("event {} is in {}", row.id, row.table));
                }
            }
            let dead = store.dead_ids(route);
            for id in &dead {
                if !self.bad.contains(id) && !self.lied {
                    self.breach(format!("event {id} is good and dead on {route}"));
                }
                // Never beside its row.
                *arrived.entry(*id).or_default() += 1;
            }
            for id in rows.iter().map(|row| row.id).filter(|id| self.bad.contains(id)).collect::<Vec<_>>() {
                self.breach(format!("event {id} is bad and has arrived on {route}"));
            }
            self.seen.dead += dead.len() as u64;
            let committed: BTreeSet<Uuid> = self.committed.keys().copied().collect();
            for (what, found) in [("sealed", batched), ("delivered", arrived)] {
                let lost = committed.iter().filter(|id| !found.contains_key(id)).count();
                let phantom = found.keys().filter(|id| !committed.contains(id)).count();
                let doubled = found.values().filter(|count| **count > 1).count();
                if (lost, phantom, doubled) != (0, 0, 0) {
                    let of = committed.len();
                    self.breach(format!(
                        "{what} on {route}: {lost} lost, {phantom} phantom, {doubled} doubled of {of}"
                    ));
                }
            }
            self.seen.delivered += rows.len() as u64;
        }
    }
}
