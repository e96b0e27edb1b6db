//! PostgreSQL's snapshots: which transactions had ended at a moment.

/// A transaction id.
pub(crate) type Xid = u8;

/// `pg_snapshot`, without `xmin`, which follows from the rest.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub(crate) struct Snapshot {
    /// The first id that had not ended, and none above it had. Not the next id to be given out: a transaction that is open
    /// at `xmax` or above is in no list.
    pub(crate) xmax: Xid,
    /// The ids below `xmax` that were in flight, one bit each.
    xip: u16,
}

impl Snapshot {
    /// `'1:1:'`, in which nothing is visible.
    pub(crate) const OLDEST: Self = Self { xmax: 1, xip: 0 };

    pub(crate) fn new(xmax: Xid, in_flight: impl Iterator<Item = Xid>) -> Self {
        Self { xmax, xip: in_flight.filter(|&xid| xid < xmax).fold(0, |xip, xid| xip | 1 << xid) }
    }

    /// `pg_visible_in_snapshot`: had the transaction ended? It does not say how.
    pub(crate) fn sees(self, xid: Xid) -> bool {
        xid < self.xmax && !self.in_flight(xid)
    }

    /// Is the transaction in `pg_snapshot_xip`?
    pub(crate) fn in_flight(self, xid: Xid) -> bool {
        self.xip & 1 << xid != 0
    }

    pub(crate) fn xip(self) -> u16 {
        self.xip
    }
}
