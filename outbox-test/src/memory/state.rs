//! What a [`MemoryStore`](super::MemoryStore) holds, and the steps on events: write, commit, seal, prune.

use std::collections::{BTreeMap, BTreeSet};

use outbox_core::{
    BatchId, Event, Moment, PlanRequest, Planned, ReplayRequest, Replayed, Route, RouteSpec, RouteStart, SchemaRecord,
    StoreError, StoreErrorKind,
};

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
    pub routes: BTreeMap<Route, Progress>,
    pub batches: BTreeMap<BatchId, Batch>,
    /// Every batch that ever was sealed, in the order of sealing.
    pub sealed: Vec<SealedBatch>,
    last_batch: i64,
    pub schemas: BTreeMap<(String, i32), SchemaRecord>,
    pub full: bool,
}

/// A route's progress.
#[derive(Debug)]
pub(super) struct Progress {
    pub spec: RouteSpec,
    /// The committed events that it wants and that are in no batch of it.
    pub waiting: BTreeSet<i64>,
}

impl Progress {
    fn wants(&self, event: &Event) -> bool {
        self.spec.event_types.as_ref().is_none_or(|types| types.iter().any(|name| **name == *event.event_type))
    }
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
            last_batch: 0,
            schemas: BTreeMap::new(),
            full: false,
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
                for (route, progress) in self.routes.iter_mut().filter(|(_, progress)| progress.wants(&row.event)) {
                    row.owed.insert(route.clone());
                    progress.waiting.insert(*seq);
                }
            }
        }
    }

    pub(super) fn roll_back(&mut self, seqs: &[i64]) {
        for seq in seqs {
            self.rows.remove(seq);
        }
    }

    pub(super) fn open(&mut self, spec: &RouteSpec) {
        if let Some(progress) = self.routes.get_mut(&spec.route) {
            progress.spec = spec.clone();
            return;
        }
        let mut progress = Progress { spec: spec.clone(), waiting: BTreeSet::new() };
        if spec.start == RouteStart::Oldest {
            for (seq, row) in self.rows.iter_mut().filter(|(_, row)| row.committed) {
                if !progress.wants(&row.event) {
                    continue;
                }
                row.owed.insert(spec.route.clone());
                progress.waiting.insert(*seq);
            }
        }
        self.routes.insert(spec.route.clone(), progress);
    }

    pub(super) fn remove_route(&mut self, route: &Route) -> bool {
        self.batches.retain(|_, batch| batch.route != *route);
        for row in self.rows.values_mut() {
            row.owed.remove(route);
        }
        self.routes.remove(route).is_some()
    }

    pub(super) fn plan(&mut self, request: &PlanRequest, now: Moment) -> Result<Planned, StoreError> {
        let waiting = &mut progress(&mut self.routes, "plan", &request.route)?.waiting;
        let rows = &self.rows;
        let since = waiting.iter().filter_map(|seq| rows.get(seq)).map(|row| row.written_at).min();
        let patient = waiting.len() < request.rows as usize && since.is_some_and(|at| now.since(at) < request.linger);
        if waiting.is_empty() || patient {
            return Ok(Planned::default());
        }
        let most = request.rows_max as usize * request.batches_max as usize;
        let taken: Vec<i64> = waiting.iter().copied().take(most).collect();
        for seq in &taken {
            waiting.remove(seq);
        }
        Ok(self.seal_all(&request.route, &taken, (request.rows_max, request.bytes_max), false))
    }

    /// Seals events that the route has had once more, but for those that it still has.
    pub(super) fn replay(
        &mut self,
        request: &ReplayRequest,
        moment: impl Fn(Moment) -> bool,
    ) -> Result<Replayed, StoreError> {
        let busy = self.busy(&request.route);
        let progress = progress(&mut self.routes, "replay", &request.route)?;
        let had = |seq: &i64, row: &Row| row.committed && !progress.waiting.contains(seq) && progress.wants(&row.event);
        let rows = self.rows.iter().filter(|(seq, row)| had(seq, row) && moment(row.written_at));
        let (passed, seqs): (Vec<i64>, Vec<i64>) = rows.map(|(seq, _)| *seq).partition(|seq| busy.contains(seq));
        for seq in &seqs {
            if let Some(row) = self.rows.get_mut(seq) {
                row.owed.insert(request.route.clone());
            }
        }
        let sealed = self.seal_all(&request.route, &seqs, (request.rows_max, request.bytes_max), !request.all);
        Ok(Replayed { rows: sealed.rows, batches: sealed.batches, passed_over: passed.len() as u64 })
    }

    fn seal_all(&mut self, route: &Route, seqs: &[i64], (rows_max, bytes_max): (u32, u64), replay: bool) -> Planned {
        if seqs.is_empty() {
            return Planned::default();
        }
        let size = |seq: &i64| self.rows.get(seq).map_or(0, |row| row.event.bytes() as u64);
        let batches = cut(seqs, rows_max as usize, bytes_max, size);
        let planned = Planned {
            rows: seqs.len() as u64,
            batches: u32::try_from(batches.len()).unwrap_or(u32::MAX),
            contended: false,
        };
        for seqs in batches {
            self.seal(route, seqs, replay);
        }
        planned
    }

    fn seal(&mut self, route: &Route, seqs: Vec<i64>, replay: bool) {
        let id = self.next_batch();
        let rows = seqs.iter().filter_map(|seq| self.rows.get(seq));
        let bytes = rows.clone().map(|row| row.event.bytes() as u64).sum();
        let events = rows.map(|row| row.event.id).collect();
        self.sealed.push(SealedBatch { batch: id, route: route.clone(), events });
        let mut batch = Batch::new(route.clone(), seqs, bytes);
        batch.replay = replay;
        self.batches.insert(id, batch);
    }

    pub(super) fn next_batch(&mut self) -> BatchId {
        self.last_batch += 1;
        BatchId(self.last_batch)
    }

    /// Removes the events that every route has settled or held and that are older. Without a route, nobody has had them.
    pub(super) fn prune(&mut self, old: impl Fn(Moment) -> bool) -> u64 {
        if self.routes.is_empty() {
            return 0;
        }
        let before = self.rows.len();
        self.rows.retain(|_, row| !row.committed || !row.owed.is_empty() || !old(row.written_at));
        (before - self.rows.len()) as u64
    }
}

fn progress<'a>(
    routes: &'a mut BTreeMap<Route, Progress>,
    operation: &'static str,
    route: &Route,
) -> Result<&'a mut Progress, StoreError> {
    routes.get_mut(route).ok_or_else(|| {
        let message = format!("the outbox has no route `{route}`: open it first");
        StoreError::new(StoreErrorKind::Schema, operation, message)
    })
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
