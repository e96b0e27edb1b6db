//! What a [`MemoryStore`](super::MemoryStore) holds, and the steps on events: write, commit, seal, prune.

use std::collections::{BTreeMap, BTreeSet};

use outbox_core::{BatchId, Event, Moment, PlanRequest, Planned, Route, StoreError, StoreErrorKind};

use super::batches::Batch;
use super::inspect::SealedBatch;

/// An event in the outbox.
#[derive(Debug)]
pub(super) struct Row {
    pub event: Event,
    pub written_at: Moment,
    pub committed: bool,
    /// The routes that have not settled it.
    pub owed: BTreeSet<Route>,
}

#[derive(Debug)]
pub(super) struct State {
    pub rng: fastrand::Rng,
    pub rows: BTreeMap<i64, Row>,
    last_seq: i64,
    /// Per route, the committed events that are in no batch of it.
    pub routes: BTreeMap<Route, BTreeSet<i64>>,
    pub batches: BTreeMap<BatchId, Batch>,
    /// Every batch that ever was, in the order of sealing.
    pub sealed: Vec<SealedBatch>,
}

impl State {
    pub(super) fn new(seed: u64) -> Self {
        Self {
            rng: fastrand::Rng::with_seed(seed),
            rows: BTreeMap::new(),
            last_seq: 0,
            routes: BTreeMap::new(),
            batches: BTreeMap::new(),
            sealed: Vec::new(),
        }
    }

    pub(super) fn write(&mut self, event: Event, now: Moment) -> i64 {
        self.last_seq += 1;
        let row = Row { event, written_at: now, committed: false, owed: BTreeSet::new() };
        self.rows.insert(self.last_seq, row);
        self.last_seq
    }

    pub(super) fn commit(&mut self, seqs: &[i64]) {
        for seq in seqs {
            if let Some(row) = self.rows.get_mut(seq) {
                row.committed = true;
                row.owed = self.routes.keys().cloned().collect();
            }
        }
        for waiting in self.routes.values_mut() {
            waiting.extend(seqs);
        }
    }

    pub(super) fn roll_back(&mut self, seqs: &[i64]) {
        for seq in seqs {
            self.rows.remove(seq);
        }
    }

    /// A new route starts at the oldest event that is kept.
    pub(super) fn open(&mut self, route: &Route) {
        if self.routes.contains_key(route) {
            return;
        }
        let mut waiting = BTreeSet::new();
        for (seq, row) in self.rows.iter_mut().filter(|(_, row)| row.committed) {
            row.owed.insert(route.clone());
            waiting.insert(*seq);
        }
        self.routes.insert(route.clone(), waiting);
    }

    pub(super) fn plan(&mut self, request: &PlanRequest, now: Moment) -> Result<Planned, StoreError> {
        let Some(waiting) = self.routes.get_mut(&request.route) else {
            let message = format!("the outbox has no route `{}`: open it first", request.route);
            return Err(StoreError::new(StoreErrorKind::Schema, "plan", message));
        };
        let rows = &self.rows;
        let since = waiting.iter().filter_map(|seq| rows.get(seq)).map(|row| row.written_at).min();
        let patient = waiting.len() < request.rows as usize && since.is_some_and(|at| now.since(at) < request.linger);
        if waiting.is_empty() || patient {
            return Ok(Planned::default());
        }
        let most = request.rows_max as usize * request.batches_max as usize;
        let taken: Vec<i64> = waiting.iter().copied().take(most).collect();
        waiting.retain(|seq| !taken.contains(seq));
        let size = |seq: &i64| rows.get(seq).map_or(0, |row| row.event.bytes() as u64);
        let batches = cut(&taken, request.rows_max as usize, request.bytes_max, size);
        let planned = Planned {
            rows: taken.len() as u64,
            batches: u32::try_from(batches.len()).unwrap_or(u32::MAX),
            contended: false,
        };
        for seqs in batches {
            self.seal(&request.route, seqs);
        }
        Ok(planned)
    }

    fn seal(&mut self, route: &Route, seqs: Vec<i64>) {
        let id = BatchId(self.sealed.len() as i64 + 1);
        let rows = seqs.iter().filter_map(|seq| self.rows.get(seq));
        let bytes = rows.clone().map(|row| row.event.bytes() as u64).sum();
        let events = rows.map(|row| row.event.id).collect();
        self.sealed.push(SealedBatch { batch: id, route: route.clone(), events });
        self.batches.insert(id, Batch::new(route.clone(), seqs, bytes));
    }

    /// Removes the events that every route has settled. Without a route, nobody has had them.
    pub(super) fn prune(&mut self) -> u64 {
        if self.routes.is_empty() {
            return 0;
        }
        let before = self.rows.len();
        self.rows.retain(|_, row| !row.committed || !row.owed.is_empty());
        (before - self.rows.len()) as u64
    }
}

/// Cuts `seqs` into batches of at most `rows_max`; a batch ends with the event that makes it reach `bytes_max`.
fn cut(seqs: &[i64], rows_max: usize, bytes_max: u64, size: impl Fn(&i64) -> u64) -> Vec<Vec<i64>> {
    let mut batches = vec![Vec::new()];
    let mut bytes = 0;
    for seq in seqs {
        let full = |batch: &Vec<i64>| !batch.is_empty() && (batch.len() >= rows_max || bytes >= bytes_max);
        if batches.last().is_some_and(full) {
            batches.push(Vec::new());
            bytes = 0;
        }
        bytes += size(seq);
        if let Some(batch) = batches.last_mut() {
            batch.push(*seq);
        }
    }
    batches
}
