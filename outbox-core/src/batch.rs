//! Sealed batches and their parts: what is fixed before anything is sent.

use std::fmt;
use std::sync::Arc;

use uuid::Uuid;

use crate::{Route, StoredEvent};

/// A sealed batch's number, unique within its outbox. Not a token: after a restore it can come again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct BatchId(pub i64);

impl fmt::Display for BatchId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// A part: its batch, and its number there.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct PartId {
    /// The sealed batch.
    pub batch: BatchId,
    /// The part's number within the batch, from 0.
    pub no: i32,
}

impl fmt::Display for PartId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.batch, self.no)
    }
}

/// A sealed batch under a lease.
#[derive(Clone, Debug)]
pub struct Claim {
    /// The batch.
    pub batch: BatchId,
    /// The route that it belongs to.
    pub route: Route,
    /// Who holds the lease.
    pub owner: Uuid,
    /// How often the batch has been claimed, this time included. With `owner` it is the fence: every later write of
    /// this claim is refused once somebody else has claimed the batch.
    pub attempt: i32,
    /// How many events were sealed.
    pub rows: u32,
    /// Their size, as [`Event::bytes`](crate::Event::bytes) counted it.
    pub bytes: u64,
    /// Which events, in the store's own words.
    pub bounds: String,
    /// Its events were put aside by [`Store::hold`](crate::Store::hold).
    pub held: bool,
    /// Its events may be at the destination already, under other tokens: the sink is asked to look before the first send.
    pub replay: bool,
    /// On an ordered route, the tables whose earlier events are parked: events for them are held behind those.
    pub parked_tables: Vec<String>,
    /// The parts that an earlier claim froze.
    pub parts: Vec<PartRecord>,
}

/// What a sink decided before the first send of a part, kept with the part so that every later send does the same.
///
/// Both texts are the sink's own. The store only keeps them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Frozen {
    /// How it is sent: table, columns, format, settings.
    pub statement: String,
    /// The destination's state before the first send, by which a later claim sees what happened to it since.
    pub mark: String,
}

/// A part that is about to be frozen.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PartDraft {
    /// The destination table.
    pub table: String,
    /// Which events of the batch, as ascending positions (from 0) in the order in which the store reads them.
    pub ordinals: Vec<u32>,
    /// What the sink decided.
    pub frozen: Frozen,
}

/// A frozen part, as the store keeps it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PartRecord {
    /// Its number within the batch.
    pub no: i32,
    /// The token, random, made when the part was frozen and never changed.
    pub token: Uuid,
    /// Whether it is delivered, or replaced by a later part: nothing is left to do.
    pub done: bool,
    /// Table, events and statement.
    pub draft: PartDraft,
}

/// The unit of delivery: some of a batch's events, for one destination table, under one token.
///
/// However often a part is delivered, by whichever relay, it has the same events in the same order under the same token.
#[derive(Clone, Debug)]
pub struct Part {
    /// Which part of which batch.
    pub id: PartId,
    /// The route.
    pub route: Route,
    /// The destination table.
    pub table: String,
    /// Says "this is the same delivery again": a sink that remembers tokens can drop the repeat.
    pub token: Uuid,
    /// Grows with every claim of the batch. A sink that remembers the highest fence of a token can turn away a relay
    /// that lost its lease and does not know it yet.
    pub fence: i32,
    /// The events.
    pub events: Arc<[StoredEvent]>,
    /// What this sink decided when the part was frozen.
    pub frozen: Frozen,
    /// Whether an earlier send may have arrived: it crashed, timed out, lost its reply, or arrived in part.
    pub resend: bool,
    /// Whether its events may have arrived under another token: they are sent on purpose once more, or the outbox was
    /// restored. Also set where rows were refused and others may have arrived. Then the token proves nothing, and
    /// [`recover`](crate::Sink::recover) has to look for the events themselves.
    pub replay: bool,
}
