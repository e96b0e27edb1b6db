//! What keeps the outbox right, each a switch: a test takes one out and the checker must find what goes wrong.

/// A guard of the design.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Guard {
    /// Planning and reading also look for the transactions that were in flight at the base.
    InFlightArm,
    /// The planner takes its lock first and its snapshot in a later statement.
    LockFirst,
    /// A plan is a durable commit.
    DurablePlan,
    /// A frozen part is a durable commit.
    DurableFreeze,
    /// A claim of a batch whose parts may have been sent before is a durable commit.
    DurableReclaim,
    /// Freezing and replacing parts and moving them to a held batch is fenced.
    FreezeFence,
    /// Settling is fenced.
    SettleFence,
    /// A part keeps its token; without, each send makes a new one.
    StoredToken,
    /// Nothing is sent when the lease is over.
    Deadline,
    /// The bound of pruning is read in one statement; without, the batches first and the cursors afterwards.
    SingleStatement,
    /// The bound of pruning is over every open batch; without, it is that of the lowest number.
    OpenBatches,
    /// The bound of pruning is over every route.
    EveryRoute,
    /// The bound of pruning holds back what was in flight at a base.
    InFlightBound,
    /// Pruning looks at the partition again when it has locked it.
    SecondLook,
    /// Pruning reads its bound again when it has locked the partition.
    BoundUnderLock,
    /// A replay passes over what a batch has, open or held.
    PassedOver,
    /// TRUNCATE makes everything before it durable. PostgreSQL's own, not ours.
    TruncateFlushes,
}

/// The guards that are in place.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Guards(u32);

impl Guards {
    /// All of them.
    pub const ALL: Self = Self(u32::MAX);

    /// The same without one.
    #[must_use]
    pub const fn without(self, guard: Guard) -> Self {
        Self(self.0 & !(1 << guard as u32))
    }

    pub(crate) const fn has(self, guard: Guard) -> bool {
        self.0 & 1 << guard as u32 != 0
    }
}
