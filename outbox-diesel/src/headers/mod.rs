//! Headers: what is stored with every event beside its fields, about where it came from.
//!
//! Three sources fill them, the later ones over the earlier: fields of the current span (`SpanFields`, feature `tracing`), the
//! W3C `traceparent` and `tracestate` of the current span (feature `opentelemetry`), and the application's own
//! ([`set_headers`]). They are asked once per `emit` or `emit_all`, where it is called. With none of them an event has no headers,
//! and looking costs one atomic load.
//!
//! Headers are about an event's origin and are stored as they are: nothing secret belongs there.

#[cfg(feature = "tracing")]
mod fields;
#[cfg(feature = "opentelemetry")]
mod trace;

use std::collections::BTreeMap;
use std::sync::OnceLock;

#[cfg(feature = "tracing")]
pub use fields::{FIELDS_VARIABLE, SpanFields};

/// The longest value of a header, in bytes. What is longer is cut.
pub const HEADER_BYTES_MAX: usize = 1024;

/// The most headers of an event. Further ones are left out.
pub const HEADERS_MAX: usize = 32;

/// The headers of the event that is being emitted.
///
/// # Examples
/// ```
/// let mut headers = outbox_diesel::headers::Headers::default();
/// headers.insert("request_id", "7f3a");
/// assert_eq!(headers.get("request_id"), Some("7f3a"));
/// ```
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Headers(BTreeMap<String, String>);

impl Headers {
    /// Sets a header. An empty name is ignored; a value is cut to [`HEADER_BYTES_MAX`] bytes, and after [`HEADERS_MAX`]
    /// headers no new one is taken: headers never are the reason that an event is not stored.
    pub fn insert(&mut self, name: impl Into<String>, value: impl Into<String>) {
        let (name, mut value) = (name.into(), value.into());
        let end = (0..=HEADER_BYTES_MAX).rev().find(|end| value.is_char_boundary(*end));
        if value.len() > HEADER_BYTES_MAX {
            value.truncate(end.unwrap_or_default());
        }
        let room = self.0.len() < HEADERS_MAX || self.0.contains_key(&name);
        if room && !name.is_empty() && name.len() <= HEADER_BYTES_MAX {
            self.0.insert(name, value);
        }
    }

    /// The value of a header, set by an earlier source.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&str> {
        self.0.get(name).map(String::as_str)
    }

    /// Takes a header out again.
    pub fn remove(&mut self, name: &str) {
        self.0.remove(name);
    }

    /// As the text of a JSON object; none for none.
    fn into_json(self) -> Option<String> {
        if self.0.is_empty() { None } else { serde_json::to_string(&self.0).ok() }
    }
}

/// Shows names only.
impl std::fmt::Debug for Headers {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_set().entries(self.0.keys()).finish()
    }
}

type Source = Box<dyn Fn(&mut Headers) + Send + Sync>;

static SOURCE: OnceLock<Source> = OnceLock::new();

/// A source of headers was set before.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("this process has a source of headers already: set it once, before the first event")]
pub struct HeadersAlreadySet;

/// Names the application's own source of headers, for the whole process: for those without OpenTelemetry, or with a version of
/// it that the feature `opentelemetry` does not know. It is called on the thread that emits, and sees what the other sources set.
/// It should be quick, and what it panics with comes out of `emit`.
///
/// # Errors
/// [`HeadersAlreadySet`] when there is one already.
///
/// # Examples
/// ```
/// use outbox_diesel::headers::set_headers;
///
/// tokio::task_local! { static REQUEST_ID: String; }
///
/// set_headers(|headers| {
///     let _ = REQUEST_ID.try_with(|id| headers.insert("request_id", id));
/// })?;
/// assert!(set_headers(|_| {}).is_err());
/// # Ok::<(), outbox_diesel::headers::HeadersAlreadySet>(())
/// ```
pub fn set_headers(source: impl Fn(&mut Headers) + Send + Sync + 'static) -> Result<(), HeadersAlreadySet> {
    SOURCE.set(Box::new(source)).map_err(|_| HeadersAlreadySet)
}

/// The headers of what is emitted now.
pub(crate) fn current() -> Option<String> {
    #[allow(unused_mut, reason = "the sources are features")]
    let mut headers = Headers::default();
    #[cfg(feature = "tracing")]
    fields::add(&mut headers);
    #[cfg(feature = "opentelemetry")]
    trace::add(&mut headers);
    if let Some(source) = SOURCE.get() {
        source(&mut headers);
    }
    headers.into_json()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn headers_have_limits_and_are_never_an_error() {
        let mut headers = Headers::default();
        assert_eq!(headers.clone().into_json(), None);
        headers.insert("long", "ü".repeat(HEADER_BYTES_MAX));
        headers.insert("", "nameless");
        headers.insert("nul", "a\0b");
        for number in 0..2 * HEADERS_MAX {
            headers.insert(format!("h{number}"), "x");
        }
        headers.insert("nul", "a\0c");
        assert_eq!(headers.0.len(), HEADERS_MAX);
        assert_eq!(headers.get("long").map(str::len), Some(HEADER_BYTES_MAX));
        assert!(headers.into_json().expect("some").contains(r#""nul":"a\u0000c""#));
    }

    #[test]
    fn debug_shows_names_only() {
        let mut headers = Headers::default();
        headers.insert("request_id", "hunter2");
        assert_eq!(format!("{headers:?}"), r#"{"request_id"}"#);
    }
}
