//! An async transaction that is run again after a conflict. `#[transactional_event(retries = ..)]` expands to its calls.

use diesel::QueryResult;
use diesel::result::Error;

use super::{Emit, Tx};
use crate::options::TxOptions;
use crate::retry::{Next, Retries};
use crate::transient::database_says_so;

/// The runs of one transaction.
#[derive(Debug)]
pub struct Attempts(Retries);

impl Attempts {
    /// As many as the options allow.
    #[must_use]
    pub fn new(options: &TxOptions) -> Self {
        Self(Retries::new(options))
    }

    /// What to do when it could not begin.
    ///
    /// # Errors
    /// The error, when that was the last attempt.
    ///
    /// # Cancel safety
    /// Nothing is open while it waits.
    pub async fn not_begun(&mut self, error: Error) -> QueryResult<()> {
        match database_says_so(&error) && self.wait().await {
            true => Ok(()),
            false => Err(error),
        }
    }

    /// Ends a run: COMMIT, or else ROLLBACK; `transient` says whether the body's error was a conflict.
    ///
    /// # Errors
    /// It was not committed, though it should have been. A conflict that COMMIT reports is another reason to run again; a
    /// COMMIT without an answer is not, because it may have been carried out.
    ///
    /// # Cancel safety
    /// As dropping the guard; nothing is open while it waits.
    pub async fn finish<C: Emit>(&mut self, mut tx: Tx<'_, C>, commit: bool, transient: bool) -> QueryResult<Next> {
        let ended = tx.end(commit).await;
        let conflict = match &ended {
            Ok(()) => !commit && transient,
            Err(error) => database_says_so(error),
        };
        let again = conflict && tx.can_run_again();
        drop(tx);
        match again && self.wait().await {
            true => Ok(Next::Again),
            false => ended.map(|()| Next::Done),
        }
    }

    /// Waits for the next run. False when there is none.
    async fn wait(&mut self) -> bool {
        let wait = self.0.wait();
        if let Some(wait) = wait {
            tokio::time::sleep(wait).await;
        }
        wait.is_some()
    }
}
