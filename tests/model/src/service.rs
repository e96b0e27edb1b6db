//! The service's transactions.

use crate::Scenario;
use crate::db::{Db, Row, Tx};
use crate::durability::Commit;
use crate::state::State;

impl Db {
    /// The transaction's first write gives it its id; which one it is, its row tells nobody yet.
    pub(crate) fn begin(&mut self, tx: usize) {
        if let Some(slot) = self.txs.get_mut(tx) {
            *slot = Tx::Open { xid: self.next_xid, emitted: 0 };
            self.next_xid += 1;
        }
    }

    pub(crate) fn emit(&mut self, scenario: &Scenario, number: u8) {
        let tx = usize::from(number);
        let Some(Tx::Open { xid, emitted }) = self.txs.get_mut(tx) else { return };
        self.rows.push(Row { event: scenario.event(tx, *emitted), tx: number, xid: *xid, seq: self.next_seq });
        *emitted += 1;
        self.next_seq += 1;
        self.rows.sort_unstable();
    }

    fn end(&mut self, tx: usize, end: Tx) {
        let Some(slot) = self.txs.get_mut(tx) else { return };
        if let Tx::Open { xid, .. } = *slot {
            self.xmax = self.xmax.max(xid + 1);
            *slot = end;
        }
    }

    /// The rows of an aborted transaction are visible to nobody.
    pub(crate) fn drop_aborted(&mut self) {
        let txs = self.txs;
        self.rows.retain(|row| txs.get(usize::from(row.tx)) != Some(&Tx::Aborted));
    }
}

impl State {
    pub(crate) fn commit(&mut self, tx: usize, commit: Commit) {
        self.before_commit(commit);
        self.db.end(tx, Tx::Committed);
        self.after_commit(commit);
    }

    pub(crate) fn abort(&mut self, tx: usize) {
        self.db.end(tx, Tx::Aborted);
        self.db.drop_aborted();
    }

    /// Somebody who emits nothing took an id and ended: snapshots now reach up to the next id.
    pub(crate) fn others_end(&mut self) {
        self.db.xmax = self.db.next_xid;
    }
}
