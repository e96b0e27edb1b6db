//! Whether the outbox takes events, where an INSERT cannot look by itself.
//!
//! On MySQL an INSERT that reads a row locks it until its transaction ends, and whoever wants to change that row makes all the
//! others wait. So a statement of its own looks, which locks nothing, at most once in a second per process.

use std::borrow::Cow;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use diesel::QueryResult;
use diesel::result::Error;

use crate::backend::{Dialect, process_tables};
use crate::error::outbox_full;

/// How long an answer is good for.
pub(crate) const ANSWER_AGE_MAX: Duration = Duration::from_secs(1);

#[derive(Clone, Copy)]
struct Answer {
    at: Instant,
    full: bool,
}

static LAST: Mutex<Option<Answer>> = Mutex::new(None);

/// The statement to run before an INSERT, if any. Its result goes to [`answer`].
///
/// # Errors
/// The outbox was full a moment ago.
pub(crate) fn question(dialect: &Dialect) -> QueryResult<Option<Cow<'static, str>>> {
    let Some(sql) = dialect.full_check else { return Ok(None) };
    match last().filter(|answer| answer.at.elapsed() < ANSWER_AGE_MAX) {
        Some(Answer { full: true, .. }) => Err(outbox_full()),
        Some(_) => Ok(None),
        None => process_tables().map(|tables| Some(tables.sql(sql))),
    }
}

/// What the statement said.
///
/// # Errors
/// The outbox is full, or the statement failed for another reason.
pub(crate) fn answer(dialect: &Dialect, said: QueryResult<()>) -> QueryResult<()> {
    let full = match said {
        Ok(()) => false,
        Err(error) if says_full(dialect, &error) => true,
        Err(error) => return Err(error),
    };
    *last() = Some(Answer { at: Instant::now(), full });
    if full { Err(outbox_full()) } else { Ok(()) }
}

fn says_full(dialect: &Dialect, error: &Error) -> bool {
    error.to_string().contains(dialect.full_error)
}

fn last() -> MutexGuard<'static, Option<Answer>> {
    LAST.lock().unwrap_or_else(PoisonError::into_inner)
}
