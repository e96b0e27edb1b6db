//! What `emit = |ok| ..` may return: one event, maybe one, or several.

use crate::{EncodeError, Event, EventLog};

/// One event, an `Option` of one, or a `Vec` or array of them.
#[diagnostic::on_unimplemented(
    message = "`{Self}` is neither an event nor several of them",
    label = "expected an event, an `Option`, a `Vec` or an array of events",
    note = "add `#[derive(outbox::EventLog)]` to the type"
)]
pub trait IntoEvents {
    /// Puts each into its envelope, in order.
    ///
    /// # Errors
    /// [`EncodeError`] as from [`Event::from_log`].
    fn into_events(self, environment: &str) -> Result<Vec<Event>, EncodeError>;
}

#[diagnostic::do_not_recommend]
impl<E: EventLog> IntoEvents for E {
    fn into_events(self, environment: &str) -> Result<Vec<Event>, EncodeError> {
        Ok(vec![Event::from_log(&self, environment)?])
    }
}

impl<E: EventLog> IntoEvents for Option<E> {
    fn into_events(self, environment: &str) -> Result<Vec<Event>, EncodeError> {
        self.iter().map(|event| Event::from_log(event, environment)).collect()
    }
}

impl<E: EventLog> IntoEvents for Vec<E> {
    fn into_events(self, environment: &str) -> Result<Vec<Event>, EncodeError> {
        self.iter().map(|event| Event::from_log(event, environment)).collect()
    }
}

impl<E: EventLog, const N: usize> IntoEvents for [E; N] {
    fn into_events(self, environment: &str) -> Result<Vec<Event>, EncodeError> {
        self.iter().map(|event| Event::from_log(event, environment)).collect()
    }
}
