//! What became of events, by their ids, and the closing line.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use uuid::Uuid;

/// Numbers of events.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Tally {
    pub(crate) cases: usize,
    pub(crate) once: usize,
    pub(crate) dead_lettered: usize,
    pub(crate) lost: usize,
    pub(crate) doubled: usize,
}

impl Tally {
    /// `rows` has how often each event has arrived. One that is dead and has arrived all the same is doubled.
    pub(crate) fn of(sent: &BTreeSet<Uuid>, rows: &BTreeMap<Uuid, usize>, dead: &BTreeSet<Uuid>) -> Self {
        let mut tally = Self { cases: 1, ..Self::default() };
        for id in sent {
            match (rows.get(id).copied().unwrap_or(0), dead.contains(id)) {
                (1, false) => tally.once += 1,
                (0, true) => tally.dead_lettered += 1,
                (0, false) => tally.lost += 1,
                _ => tally.doubled += 1,
            }
        }
        tally
    }

    pub(crate) fn add(&mut self, other: &Self) {
        self.cases += other.cases;
        self.once += other.once;
        self.dead_lettered += other.dead_lettered;
        self.lost += other.lost;
        self.doubled += other.doubled;
    }

    pub(crate) fn is_good(&self) -> bool {
        self.lost == 0 && self.doubled == 0 && self.once > 0
    }
}

impl fmt::Display for Tally {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { cases, once, dead_lettered, lost, doubled } = self;
        write!(f, "cases={cases} once={once} dead_lettered={dead_lettered} lost={lost} doubled={doubled}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_event_is_counted_as_what_became_of_it() {
        let ids: Vec<_> = (0..5).map(Uuid::from_u128).collect();
        let rows = BTreeMap::from([(ids[0], 1), (ids[1], 2), (ids[2], 1)]);
        let tally = Tally::of(&ids.iter().copied().collect(), &rows, &BTreeSet::from([ids[2], ids[3]]));
        assert_eq!(tally.to_string(), "cases=1 once=1 dead_lettered=1 lost=1 doubled=2");
        assert!(!tally.is_good());
    }
}
