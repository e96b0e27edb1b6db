//! What makes a type an event: [`EventLog`], normally derived.

use chrono::{DateTime, Utc};

/// A domain struct that can be written to the outbox. Derive it: `#[derive(EventLog)]`.
///
/// # Examples
/// By hand, where the derive does not fit:
/// ```
/// use outbox_core::{EncodeError, EventLog, PayloadWriter};
///
/// struct UserCreated { email: String }
///
/// impl EventLog for UserCreated {
///     fn event_type(&self) -> &str { "user_created" }
///     fn payload(&self) -> Result<String, EncodeError> {
///         let mut payload = PayloadWriter::new();
///         payload.field("email", &self.email)?;
///         Ok(payload.finish())
///     }
/// }
/// ```
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not an event",
    label = "this type does not implement `EventLog`",
    note = "add `#[derive(outbox::EventLog)]` to `{Self}`"
)]
pub trait EventLog {
    /// The type's name as it is stored, `user_created` for `UserCreated`. At most 255 bytes, not empty.
    fn event_type(&self) -> &str;

    /// The version of the payload's shape. Raise it when a field changes its meaning. Default 1.
    fn version(&self) -> i32 {
        1
    }

    /// The destination table, as the sink knows it. Default `event_log`.
    fn table(&self) -> &str {
        "event_log"
    }

    /// What the event is about, for ordering and for sharding (a user's id, say). Default none.
    fn key(&self) -> Option<String> {
        None
    }

    /// When it happened, where that is not when it is emitted. Stored in microseconds, UTC. Default none: the time of
    /// the emit, by the application's clock.
    fn occurred_at(&self) -> Option<DateTime<Utc>> {
        None
    }

    /// The fields as the text of one JSON object.
    ///
    /// # Errors
    /// [`EncodeError`] when a field cannot be JSON. Nothing is written then.
    fn payload(&self) -> Result<String, EncodeError>;
}

macro_rules! event_behind {
    ($pointer:ty) => {
        #[diagnostic::do_not_recommend]
        impl<E: EventLog + ?Sized> EventLog for $pointer {
            fn event_type(&self) -> &str {
                (**self).event_type()
            }
            fn version(&self) -> i32 {
                (**self).version()
            }
            fn table(&self) -> &str {
                (**self).table()
            }
            fn key(&self) -> Option<String> {
                (**self).key()
            }
            fn occurred_at(&self) -> Option<DateTime<Utc>> {
                (**self).occurred_at()
            }
            fn payload(&self) -> Result<String, EncodeError> {
                (**self).payload()
            }
        }
    };
}

event_behind!(&E);
event_behind!(Box<E>);

/// An event could not be turned into an outbox row. Nothing was written. Names the field or the limit, never the value.
#[derive(Debug, thiserror::Error)]
#[error(transparent)]
pub struct EncodeError(#[from] Kind);

#[derive(Debug, thiserror::Error)]
enum Kind {
    #[error("the event's field `{name}` cannot be written as JSON: {source}")]
    Field { name: String, source: serde_json::Error },
    #[error("the event has the field `{name}` twice: rename one of them, or leave it out with `#[event_log(skip)]`")]
    Duplicate { name: String },
    #[error("the event's field `{name}` cannot be flattened: it is neither a struct nor a map")]
    NotAnObject { name: String },
    #[error(
        "the event `{event_type}` has {bytes} bytes and the limit is {max}: store the big part elsewhere and emit a reference to it"
    )]
    TooLarge { event_type: String, bytes: usize, max: usize },
    #[error("the event's {what} is empty or longer than {max} bytes")]
    BadName { what: &'static str, max: usize },
    #[error("the payload of the event `{event_type}` is not the text of a JSON object")]
    NotJson { event_type: String },
    #[error("the event `{event_type}` holds the character U+0000 in its {what}, which a database's text cannot hold")]
    Nul { event_type: String, what: &'static str },
}

impl EncodeError {
    pub(crate) fn field(name: &str, source: serde_json::Error) -> Self {
        Kind::Field { name: name.to_owned(), source }.into()
    }

    pub(crate) fn duplicate(name: &str) -> Self {
        Kind::Duplicate { name: name.to_owned() }.into()
    }

    pub(crate) fn not_an_object(name: &str) -> Self {
        Kind::NotAnObject { name: name.to_owned() }.into()
    }

    pub(crate) fn too_large(event_type: &str, bytes: usize, max: usize) -> Self {
        Kind::TooLarge { event_type: event_type.to_owned(), bytes, max }.into()
    }

    pub(crate) fn bad_name(what: &'static str, max: usize) -> Self {
        Kind::BadName { what, max }.into()
    }

    pub(crate) fn not_json(event_type: &str) -> Self {
        Kind::NotJson { event_type: event_type.to_owned() }.into()
    }

    pub(crate) fn nul(event_type: &str, what: &'static str) -> Self {
        Kind::Nul { event_type: event_type.to_owned(), what }.into()
    }

    /// Whether the event was refused for its size.
    #[must_use]
    pub fn is_too_large(&self) -> bool {
        matches!(self.0, Kind::TooLarge { .. })
    }
}
