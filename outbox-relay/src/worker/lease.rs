//! Steps under a lease: it is renewed while they last, and none outlasts it.

use std::panic::AssertUnwindSafe;
use std::time::Duration;

use futures_util::FutureExt;
use outbox_core::{Claim, Clock, Moment, SinkError, Store, StoreError, StoreErrorKind};
use tokio::time::error::Elapsed;
use tokio::time::{sleep, timeout};

use super::Worker;
use crate::machine::Fact;

/// Renewals come this many times within a lease.
const RENEWALS: u32 = 3;

impl<S: Store, C: Clock> Worker<S, C> {
    /// Runs a sink's step under the lease. A panic of the sink is a failure like any other.
    pub(super) async fn caught<T>(
        &mut self,
        claim: &Claim,
        step: impl Future<Output = Result<T, SinkError>>,
    ) -> Result<Result<T, SinkError>, Fact> {
        let step = AssertUnwindSafe(step).catch_unwind();
        self.leased(
            claim,
            step.map(|done| done.unwrap_or_else(|_| Err(SinkError::unknown("sink", "the sink panicked")))),
        )
        .await
    }

    /// Runs a step under the lease: renews it meanwhile, and drops the step when the lease runs out.
    pub(super) async fn leased<T>(&mut self, claim: &Claim, step: impl Future<Output = T>) -> Result<T, Fact> {
        self.keep_lease(claim).await?;
        let mut step = std::pin::pin!(step);
        loop {
            let left = self.left();
            if left.is_zero() {
                tracing::warn!("the lease ran out in the middle of a step: the batch comes again");
                return Err(Fact::LeaseExpired);
            }
            tokio::select! {
                biased;
                done = &mut step => return Ok(done),
                () = sleep((self.options.lease / RENEWALS).min(left)) => {}
            }
            let (asked, left) = (self.clock.now(), self.left());
            // The step goes on while the lease is renewed, and not a moment longer than the lease.
            let renewed = tokio::select! {
                biased;
                done = &mut step => return Ok(done),
                renewed = timeout(left, self.store.renew(claim, self.options.lease)) => renewed,
            };
            if !self.renewed(asked, renewed) {
                return Err(Fact::LeaseExpired);
            }
        }
    }

    /// Renews the lease where half of it is gone before a step begins: many short steps last long together, too.
    pub(super) async fn keep_lease(&mut self, claim: &Claim) -> Result<(), Fact> {
        let (asked, left) = (self.clock.now(), self.left());
        if left >= self.options.lease / 2 {
            return Ok(());
        }
        let renewed = timeout(left, self.store.renew(claim, self.options.lease)).await;
        if self.renewed(asked, renewed) { Ok(()) } else { Err(Fact::LeaseExpired) }
    }

    /// False: the batch is somebody else's.
    fn renewed(&mut self, asked: Moment, renewed: Result<Result<(), StoreError>, Elapsed>) -> bool {
        match renewed {
            Ok(Ok(())) => self.machine.renewed(asked),
            Ok(Err(error)) if error.kind() == StoreErrorKind::LeaseLost => {
                tracing::warn!("the lease went to another relay in the middle of a batch");
                return false;
            }
            Ok(Err(error)) => tracing::warn!(%error, "cannot renew the lease"),
            Err(_) => tracing::warn!("cannot renew the lease: no answer"),
        }
        true
    }

    /// How long the batch in hand may still be worked on.
    fn left(&self) -> Duration {
        self.machine.deadline().map_or(Duration::ZERO, |deadline| deadline.since(self.clock.now()))
    }
}
