//! States that differ in names only are made the same: relays are alike, tokens and batch numbers are just names.

use crate::Scenario;
use crate::db::Kind;
use crate::guard::{Guard, Guards};
use crate::state::{Relay, State};

impl State {
    pub(crate) fn canonical(mut self, scenario: &Scenario) -> Self {
        if self.crashes == 0 || self.durable.as_deref() == Some(&self.db) {
            self.durable = None;
        }
        self.forget_claims();
        if scenario.guards == Guards::ALL {
            self.sort_relays(); // not on the way to a counterexample, where relay 0 would turn into relay 1
        }
        self.name_batches(scenario);
        self.name_tokens();
        self
    }

    /// A claim that its relay knows nothing about any more is nobody's.
    fn forget_claims(&mut self) {
        let works: Vec<Option<u8>> = self
            .relays
            .iter()
            .map(|relay| match relay {
                Relay::Working { batch, .. } => Some(batch.no),
                _ => None,
            })
            .collect();
        for batch in self.dbs_mut().flat_map(|db| &mut db.batches) {
            let live = |holder: &u8| works.get(usize::from(*holder)) == Some(&Some(batch.no));
            batch.holder = batch.holder.filter(live);
        }
    }

    fn sort_relays(&mut self) {
        let [one, two] = &self.relays;
        if one > two {
            self.relays.reverse();
            for batch in self.dbs_mut().flat_map(|db| &mut db.batches) {
                batch.holder = batch.holder.map(|holder| 1 - holder);
            }
        }
    }

    /// By route and age. Only by age when the order across routes is looked at.
    fn name_batches(&mut self, scenario: &Scenario) {
        let by_route = scenario.has(Guard::OpenBatches);
        let mut names: Vec<(u8, u8)> = self
            .dbs()
            .flat_map(|db| &db.batches)
            .map(|batch| (if by_route { batch.route } else { 0 }, batch.no))
            .collect();
        names.sort_unstable();
        names.dedup();
        // A batch that only a relay remembers is gone for good, whatever it was called.
        let name = |no: u8| names.iter().position(|(_, known)| *known == no).map_or(0, |at| at as u8 + 1);
        self.dbs_mut().for_each(|db| {
            db.batches.iter_mut().for_each(|batch| batch.no = name(batch.no));
            db.batches.sort_unstable_by_key(|batch| batch.no);
        });
        self.remembered_mut().for_each(|batch| batch.no = name(batch.no));
    }

    /// In the order in which they are found. A destination's memory of a token that nobody will send is no matter.
    fn name_tokens(&mut self) {
        let mut names: Vec<u8> = Vec::with_capacity(8);
        let stored = self.dbs().flat_map(|db| &db.batches).chain(self.remembered());
        for part in stored.flat_map(|batch| &batch.parts).filter(|part| !part.done) {
            if !names.contains(&part.token) {
                names.push(part.token);
            }
        }
        let name = |token: u8| names.iter().position(|known| *known == token).map_or(0, |at| at as u8 + 1);
        let parts =
            |batch: &mut crate::db::Batch| batch.parts.iter_mut().for_each(|part| part.token = name(part.token));
        self.dbs_mut().flat_map(|db| &mut db.batches).for_each(parts);
        self.remembered_mut().for_each(|batch| {
            batch.parts.iter_mut().for_each(|part| part.token = name(part.token));
            if !matches!(batch.kind, Kind::Held { .. }) {
                batch.events = 0; // the checker's, and not looked at in a relay's memory
            }
        });
        for sink in &mut self.sinks {
            sink.log.retain(|(token, _)| names.contains(token));
            sink.log.iter_mut().for_each(|(token, _)| *token = name(*token));
            sink.log.sort_unstable();
        }
    }
}
