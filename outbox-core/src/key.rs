//! What a field must be to become an event's key or its time. The derive expands to calls of these.

use std::fmt::Display;
use std::time::SystemTime;

use chrono::{DateTime, TimeZone, Utc};

/// What an event can be about: anything with a text, by its `Display`.
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot be the key of an event",
    label = "a key is stored as its `Display` text, and this has none",
    note = "implement `Display` for it, or store what a function makes of it: `#[event_log(key, with = path)]`"
)]
pub trait EventKey {
    /// The key as it is stored, at most 255 bytes.
    fn event_key(&self) -> String;
}

#[diagnostic::do_not_recommend]
impl<T: Display + ?Sized> EventKey for T {
    fn event_key(&self) -> String {
        self.to_string()
    }
}

/// When an event can have happened: a time of any zone, the system's, or an `Option` of one.
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot be the time of an event",
    label = "expected a `chrono::DateTime`, a `SystemTime` or an `Option` of one",
    note = "for a type of your own, implement `outbox::EventTime`"
)]
pub trait EventTime {
    /// The time, none where it is not known.
    fn event_time(&self) -> Option<DateTime<Utc>>;
}

impl<Tz: TimeZone> EventTime for DateTime<Tz> {
    fn event_time(&self) -> Option<DateTime<Utc>> {
        Some(self.with_timezone(&Utc))
    }
}

impl EventTime for SystemTime {
    fn event_time(&self) -> Option<DateTime<Utc>> {
        Some(DateTime::from(*self))
    }
}

impl<T: EventTime> EventTime for Option<T> {
    fn event_time(&self) -> Option<DateTime<Utc>> {
        self.as_ref()?.event_time()
    }
}

#[diagnostic::do_not_recommend]
impl<T: EventTime + ?Sized> EventTime for &T {
    fn event_time(&self) -> Option<DateTime<Utc>> {
        (**self).event_time()
    }
}

/// A key, or maybe one, out of what a function returned: a macro does not see which. An `Option` has the inherent method,
/// everything else falls back to the trait's.
#[doc(hidden)]
#[derive(Debug)]
pub struct KeyOf<T>(pub T);

impl<T> KeyOf<Option<T>> {
    /// None where there is none.
    #[must_use]
    pub fn key(self) -> Option<String>
    where
        T: EventKey,
    {
        self.0.as_ref().map(EventKey::event_key)
    }
}

/// See [`KeyOf`]. The bound is the method's, so that its lack is said in [`EventKey`]'s words.
#[doc(hidden)]
pub trait KeyFallback<T> {
    /// Always some.
    fn key(self) -> Option<String>
    where
        T: EventKey;
}

impl<T> KeyFallback<T> for KeyOf<T> {
    fn key(self) -> Option<String>
    where
        T: EventKey,
    {
        Some(self.0.event_key())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_function_returned_is_a_key_or_maybe_one() {
        assert_eq!(KeyOf("a").key().as_deref(), Some("a"));
        assert_eq!(KeyOf(Some(7)).key().as_deref(), Some("7"));
        assert_eq!(KeyOf(None::<String>).key(), None);
    }

    #[test]
    fn times_of_every_zone_are_stored_as_utc() {
        let time = DateTime::parse_from_rfc3339("2026-01-02T03:04:05+02:00").expect("a time");
        assert_eq!(time.event_time().map(|time| time.to_rfc3339()).as_deref(), Some("2026-01-02T01:04:05+00:00"));
        assert_eq!(SystemTime::UNIX_EPOCH.event_time(), Some(DateTime::UNIX_EPOCH));
        assert_eq!(Some(&SystemTime::UNIX_EPOCH).event_time(), Some(DateTime::UNIX_EPOCH));
        assert_eq!(None::<DateTime<Utc>>.event_time(), None);
    }
}
