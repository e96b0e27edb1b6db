//! Reading a payload back into the type that it was emitted from, old versions too.

use std::error::Error;

use serde::de::DeserializeOwned;
use serde_json::{Map, Value};

use crate::{EventSchema, EventType};

/// How old payloads of an event type become new ones, one version at a time: from the version it is given to the next.
/// `#[event_log(upcast = path)]` makes one of a function.
#[derive(Clone, Copy)]
pub struct Upcast(Step);

type Step = fn(i32, Map<String, Value>) -> Result<Map<String, Value>, BoxError>;
type BoxError = Box<dyn Error + Send + Sync>;

impl Upcast {
    /// Steps made by a function that gets a version and the payload's fields, and gives the fields of the version after it.
    #[must_use]
    pub const fn new(step: Step) -> Self {
        Self(step)
    }
}

impl PartialEq for Upcast {
    fn eq(&self, other: &Self) -> bool {
        std::ptr::fn_addr_eq(self.0, other.0)
    }
}

impl Eq for Upcast {}

impl std::hash::Hash for Upcast {
    fn hash<H: std::hash::Hasher>(&self, state: &mut H) {
        (self.0 as usize).hash(state);
    }
}

impl std::fmt::Debug for Upcast {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Upcast")
    }
}

/// What a function for `#[event_log(upcast = path)]` returned, with its error in a box.
///
/// # Errors
/// That error.
#[doc(hidden)]
pub fn upcast_result<E: Into<BoxError>>(result: Result<Map<String, Value>, E>) -> Result<Map<String, Value>, BoxError> {
    result.map_err(Into::into)
}

/// The event that a payload was emitted from. An older version goes through the type's [`Upcast`], step by step; without one it
/// is read as it is.
///
/// # Errors
/// [`DecodeError`] when the payload is of another type, of a newer version than `T` knows, cannot be upgraded, or its fields do
/// not fit.
///
/// # Examples
/// ```
/// use outbox_core::{EventSchema, EventType};
///
/// #[derive(serde::Deserialize)]
/// struct UserCreated { email: String }
///
/// impl EventSchema for UserCreated {
///     const EVENT_TYPES: &'static [EventType] = &[EventType::new("user_created", 1, "event_log")];
/// }
///
/// let user: UserCreated = outbox_core::decode("user_created", 1, r#"{"email":"ann@example.org"}"#)?;
/// assert_eq!(user.email, "ann@example.org");
/// # Ok::<(), outbox_core::DecodeError>(())
/// ```
pub fn decode<T: EventSchema + DeserializeOwned>(
    event_type: &str,
    version: i32,
    payload: &str,
) -> Result<T, DecodeError> {
    let Some(known) = T::EVENT_TYPES.iter().find(|known| known.name == event_type) else {
        let expected = T::EVENT_TYPES.iter().map(|known| known.name).collect::<Vec<_>>().join(", ");
        return Err(Kind::Type { found: event_type.to_owned(), expected }.into());
    };
    let name = known.name;
    if version > known.version {
        return Err(Kind::Newer { event_type: name, found: version, known: known.version }.into());
    }
    // serde quotes values in its messages, so only the place is kept.
    let misfit = |error: serde_json::Error| {
        DecodeError::from(Kind::Fields { event_type: name, version, line: error.line(), column: error.column() })
    };
    match known.upcast {
        Some(upcast) if version < known.version => {
            let fields = serde_json::from_str(payload).map_err(misfit)?;
            let fields = upgrade(known, upcast, version, fields)?;
            serde_json::from_value(Value::Object(fields))
                .map_err(|_| Kind::Upgraded { event_type: name, found: version, known: known.version }.into())
        }
        _ => serde_json::from_str(payload).map_err(misfit),
    }
}

fn upgrade(
    known: &EventType,
    upcast: Upcast,
    version: i32,
    fields: Map<String, Value>,
) -> Result<Map<String, Value>, DecodeError> {
    let event_type = known.name;
    if version < 0 {
        return Err(Kind::NoVersion { event_type, found: version }.into());
    }
    (version..known.version).try_fold(fields, |fields, from| {
        (upcast.0)(from, fields).map_err(|source| Kind::Upcast { event_type, from, to: from + 1, source }.into())
    })
}

/// A payload is not an event of the asked type. Never shows the payload; what a function for `upcast` said is its
/// [`source`](Error::source).
#[derive(Debug, thiserror::Error)]
#[error(transparent)]
pub struct DecodeError(#[from] Kind);

#[derive(Debug, thiserror::Error)]
enum Kind {
    #[error("the event is of the type `{found}`, asked for was `{expected}`")]
    Type { found: String, expected: String },
    #[error("the event is version {found} of `{event_type}` and this program knows {known}: update it")]
    Newer { event_type: &'static str, found: i32, known: i32 },
    #[error("the event says to be version {found} of `{event_type}`, and there are no versions below 0")]
    NoVersion { event_type: &'static str, found: i32 },
    #[error("the event `{event_type}` could not be upgraded from version {from} to {to}")]
    Upcast { event_type: &'static str, from: i32, to: i32, source: BoxError },
    #[error(
        "the fields of `{event_type}`, upgraded from version {found} to {known}, do not fit the type that was asked for: its `upcast` leaves out a field, or gives one another type"
    )]
    Upgraded { event_type: &'static str, found: i32, known: i32 },
    #[error(
        "the fields of the event (`{event_type}`, version {version}) do not fit the type that was asked for, at line {line} column {column} of its JSON"
    )]
    Fields { event_type: &'static str, version: i32, line: usize, column: usize },
}

impl DecodeError {
    /// Whether the event is of a newer version than this program knows.
    #[must_use]
    pub fn is_newer(&self) -> bool {
        matches!(self.0, Kind::Newer { .. })
    }
}

#[cfg(test)]
mod tests {
    use serde::Deserialize;

    use super::*;

    #[derive(Debug, PartialEq, Deserialize)]
    struct Named {
        first: String,
        last: String,
        title: Option<String>,
    }

    /// Version 1 has `name`, version 2 splits it, version 3 has a title.
    fn step(version: i32, mut fields: Map<String, Value>) -> Result<Map<String, Value>, BoxError> {
        match version {
            1 => {
                let name = fields.remove("name").ok_or("no name")?;
                let (first, last) = name.as_str().and_then(|name| name.split_once(' ')).ok_or("one word: hunter2")?;
                fields.insert("first".to_owned(), first.into());
                fields.insert("last".to_owned(), last.into());
            }
            2 => drop(fields.insert("title".to_owned(), Value::Null)),
            other => return Err(format!("version {other}").into()),
        }
        Ok(fields)
    }

    impl EventSchema for Named {
        const EVENT_TYPES: &'static [EventType] = &[
            EventType::new("named", 3, "event_log").upcast(Upcast::new(step)),
            EventType::new("other", 2, "event_log"),
        ];
    }

    fn named(title: Option<&str>) -> Named {
        Named { first: "Ann".to_owned(), last: "Lee".to_owned(), title: title.map(str::to_owned) }
    }

    fn read(version: i32, payload: &str) -> Result<Named, DecodeError> {
        decode("named", version, payload)
    }

    #[test]
    fn every_older_version_is_read_as_the_newest() {
        for (version, payload, title) in [
            (1, r#"{"name":"Ann Lee"}"#, None),
            (2, r#"{"first":"Ann","last":"Lee"}"#, None),
            (3, r#"{"first":"Ann","last":"Lee","title":"Dr"}"#, Some("Dr")),
        ] {
            assert_eq!(read(version, payload).expect("a known version"), named(title), "version {version}");
        }
    }

    #[test]
    fn without_an_upcast_an_old_payload_is_read_as_it_is() {
        assert_eq!(decode::<Named>("other", 1, r#"{"first":"Ann","last":"Lee"}"#).expect("it fits"), named(None));
        assert_eq!(decode::<Named>("other", -1, r#"{"first":"Ann","last":"Lee"}"#).expect("it fits"), named(None));
    }

    #[test]
    fn refusals_say_what_is_known_and_show_no_payload() {
        let newer = read(4, "{}").expect_err("nobody knows it");
        assert!(newer.is_newer());
        for (refused, says) in [
            (newer, &["version 4", "knows 3"][..]),
            (decode::<Named>("gone", 1, "{}").expect_err("another type"), &["`gone`", "named, other"]),
            (read(-1, "{}").expect_err("no version"), &["version -1"]),
            (read(0, "{}").expect_err("before the first"), &["from version 0 to 1"]),
            (read(1, r#"{"name":"hunter2"}"#).expect_err("one word"), &["from version 1 to 2"]),
            (read(1, "hunter2").expect_err("no JSON"), &["version 1", "column 1"]),
            (
                read(2, r#"{"first":"Ann","hunter2":1}"#).expect_err("no last name"),
                &["from version 2 to 3", "`upcast`"],
            ),
            (read(3, r#"{"first":{"hunter2":1}}"#).expect_err("no text"), &["version 3"]),
        ] {
            let text = refused.to_string();
            assert!(says.iter().all(|part| text.contains(part)), "{text}");
            assert!(!text.contains("hunter2"), "{text}");
        }
        let source = read(1, "{}").expect_err("no name");
        assert_eq!(source.source().map(ToString::to_string).as_deref(), Some("no name"));
    }
}
