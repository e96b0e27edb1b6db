//! What a test may see of a store beyond the contract.

use outbox_core::{BatchId, Moment, Route};
use uuid::Uuid;

/// Who holds an open batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Lease {
    /// The holder; None when nobody has claimed it, or the lease was given back.
    pub owner: Option<Uuid>,
    /// How often the batch was claimed.
    pub attempt: i32,
    /// Nobody else gets the batch before this moment of the store's clock.
    pub until: Moment,
}

/// A batch that was sealed at some time, whether it is settled by now or not.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SealedBatch {
    /// Its number.
    pub batch: BatchId,
    /// Its route.
    pub route: Route,
    /// The ids of its events, in their order.
    pub events: Vec<Uuid>,
}
