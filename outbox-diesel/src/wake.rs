//! A hint within the process that events may have been committed, so that a relay need not wait for its next poll.
//!
//! It is a hint: commits of other processes, and of plain Diesel transactions, do not give it.

use tokio::sync::Notify;
use tokio::sync::futures::Notified;

static COMMITTED: Notify = Notify::const_new();

/// Wakes everyone who holds a [`notified`] future. The guards call it after each outermost COMMIT.
pub fn committed() {
    COMMITTED.notify_waiters();
}

/// A future that is ready after the next commit. Make it **before** looking for events and await it after: a commit in
/// between is then not missed.
pub fn notified() -> Notified<'static> {
    COMMITTED.notified()
}
