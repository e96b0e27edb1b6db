//! What a [`MemorySink`](super::MemorySink) delivers to: tables, a memory of tokens, and what a crash leaves of both.

use std::collections::{BTreeMap, BTreeSet};

use outbox_core::{Part, Recovery, SinkError};
use uuid::Uuid;

/// What a crash leaves of the inserts that nobody was told about yet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kept {
    /// Neither rows nor token: as if it had never arrived.
    Nothing,
    /// The token is remembered and the rows are gone: a repeat is answered with success and inserts nothing.
    TokenOnly,
    /// The token and the first half of the rows.
    HalfTheRows,
    /// Token and rows.
    Everything,
}

/// A row that has arrived.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MemoryRow {
    /// Where it is.
    pub table: String,
    /// The token under which it came.
    pub token: Uuid,
    /// The event's id.
    pub id: Uuid,
    /// The event's payload.
    pub payload: String,
    /// Whether somebody was told that it is there for good. Before that, a crash may lose it.
    pub settled: bool,
}

#[derive(Debug, Default)]
pub(super) struct Destination {
    /// How often it was started anew.
    start: u64,
    rows: BTreeMap<Uuid, Vec<MemoryRow>>,
    tokens: BTreeSet<(String, Uuid)>,
    /// Inserts that were made and not answered.
    doubtful: BTreeSet<Uuid>,
    /// Tokens that were given up for new ones: whoever still sends them is turned away.
    spent: BTreeSet<Uuid>,
    /// Events that it refuses, whatever comes along with them.
    bad: BTreeSet<Uuid>,
    /// Whether it says which they are, one at a time.
    names_bad: bool,
}

impl Destination {
    pub(super) fn mark(&self) -> String {
        format!("start {}", self.start)
    }

    pub(super) fn rows(&self) -> Vec<MemoryRow> {
        self.rows.values().flatten().cloned().collect()
    }

    /// Whether the event is there for good.
    pub(super) fn holds(&self, id: Uuid) -> bool {
        self.rows.get(&id).is_some_and(|rows| rows.iter().any(|row| row.settled))
    }

    pub(super) fn refuse(&mut self, id: Uuid, names: bool) {
        self.bad.insert(id);
        self.names_bad = names;
    }

    /// Takes the part in, unless its token is known. All of it, or, where a bad event is in it, nothing.
    pub(super) fn insert(&mut self, part: &Part) -> Result<(), SinkError> {
        if self.spent.contains(&part.token) {
            return Err(SinkError::unknown("deliver", "another token stands for these events by now: look again"));
        }
        if self.tokens.contains(&(part.table.clone(), part.token)) {
            return Ok(());
        }
        let bad = part.events.iter().map(|stored| stored.event.id).find(|id| self.bad.contains(id));
        if let Some(id) = bad {
            let named = if self.names_bad { vec![id] } else { vec![] };
            return Err(SinkError::bad_rows("one of the events is bad", named));
        }
        self.tokens.insert((part.table.clone(), part.token));
        self.doubtful.insert(part.token);
        for stored in part.events.iter() {
            let (id, payload) = (stored.event.id, stored.event.payload.clone());
            let row = MemoryRow { table: part.table.clone(), token: part.token, id, payload, settled: false };
            self.rows.entry(id).or_default().push(row);
        }
        Ok(())
    }

    /// Answers a send that came in after the start `arrived`. An answer is final only when nothing was started anew since:
    /// for the first send, since it arrived; for a repeat, since the part was frozen.
    pub(super) fn answer(&mut self, part: &Part, arrived: &str) -> Result<(), SinkError> {
        let now = self.mark();
        if now != arrived || (part.resend && now != part.frozen.mark) {
            let message = "the destination was started anew, so that its answer is no proof: the rows are read back";
            return Err(SinkError::unknown("deliver", message));
        }
        self.settle(part.token);
        Ok(())
    }

    fn settle(&mut self, token: Uuid) {
        if self.doubtful.remove(&token) {
            self.rows.values_mut().flatten().filter(|row| row.token == token).for_each(|row| row.settled = true);
        }
    }

    /// The token decides while nothing was started anew. After that the rows do, and the token is spent.
    pub(super) fn recover(&mut self, part: &Part) -> Recovery {
        if part.replay || self.spent.contains(&part.token) {
            // The events may have come under any token: only the rows tell.
            let landed = self.landed(part);
            landed.iter().for_each(|id| self.settle_row(*id));
            if landed.len() == part.events.len() {
                return Recovery::Delivered;
            }
            self.spent.insert(part.token);
            return Recovery::Replace { landed };
        }
        if self.mark() == part.frozen.mark {
            return Recovery::Resend;
        }
        // Under the old token, so that it cannot double; and whoever still sends it is turned away from now on.
        if self.landed(part).len() < part.events.len() {
            // A refusal is for the new part to meet.
            let _ = self.insert(part);
        }
        self.settle(part.token);
        let landed = self.landed(part);
        match landed.len() == part.events.len() {
            true => Recovery::Delivered,
            false => Recovery::Replace { landed },
        }
    }

    fn settle_row(&mut self, id: Uuid) {
        for row in self.rows.get_mut(&id).into_iter().flatten() {
            row.settled = true;
        }
    }

    fn landed(&self, part: &Part) -> Vec<Uuid> {
        let there = |id: &Uuid| self.rows.get(id).is_some_and(|rows| rows.iter().any(|row| row.table == part.table));
        part.events.iter().map(|stored| stored.event.id).filter(there).collect()
    }

    pub(super) fn crash(&mut self, kept: Kept) {
        self.start += 1;
        for token in std::mem::take(&mut self.doubtful) {
            let mut mine = self.rows.values().flatten().filter(|row| row.token == token).count();
            mine = match kept {
                Kept::Nothing | Kept::TokenOnly => 0,
                Kept::HalfTheRows => mine / 2,
                Kept::Everything => mine,
            };
            for rows in self.rows.values_mut() {
                rows.retain_mut(|row| {
                    if row.token != token {
                        return true;
                    }
                    row.settled = true;
                    let stays = mine > 0;
                    mine = mine.saturating_sub(1);
                    stays
                });
            }
            if kept == Kept::Nothing {
                self.tokens.retain(|(_, known)| *known != token);
            }
        }
    }
}
