//! Business rows and events are committed together or not at all, on every database, blocking and async.

mod async_cases;
mod blocking_cases;
mod bulk;
mod cancelled;
mod conflicts;
mod databases;
mod deadlocks;
mod nested;
mod nested_modes;
mod options;
mod pools;
mod round_trips;
mod test_transactions;
mod unknown_commit;
pub(crate) mod wire;

use outbox::EventLog;

/// The event of all these tests: an account was opened.
#[derive(EventLog)]
struct Opened {
    #[event_log(key)]
    name: String,
}

fn opened(name: &str) -> Opened {
    Opened { name: name.to_owned() }
}

fn insert(name: &str) -> String {
    format!("INSERT INTO account (name) VALUES ('{name}')")
}

#[derive(Debug, thiserror::Error)]
enum AppError {
    #[error("the business says no")]
    Refused,
    #[error(transparent)]
    Database(#[from] diesel::result::Error),
}

impl outbox::TransientError for AppError {
    fn is_transient(&self) -> bool {
        outbox::is_transient(self)
    }
}
