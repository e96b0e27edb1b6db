//! Writing an event's payload: one JSON object, field by field, straight into its text.

use std::borrow::Cow;

use serde::Serialize;
use serde_json::Value;

use crate::EncodeError;

/// What stands in the payload instead of the value of a sensitive field: this text, whatever the field's type.
pub const REDACTED: &str = "[redacted]";

/// What most payloads and their number of fields stay below: they are written without asking for memory again and again.
const PAYLOAD_BYTES: usize = 256;
const FIELDS: usize = 8;

/// Builds the JSON text of an event's fields. `#[derive(EventLog)]` expands to calls of it.
///
/// Fields keep the order of the calls. A name that comes twice is an error, because JSON readers disagree on which one
/// wins (ClickHouse takes the first, most parsers the last).
///
/// # Examples
/// ```
/// let mut payload = outbox_core::PayloadWriter::new();
/// payload.field("email", &"ann@example.org")?;
/// payload.field("visits", &3)?;
/// assert_eq!(payload.finish(), r#"{"email":"ann@example.org","visits":3}"#);
/// # Ok::<(), outbox_core::EncodeError>(())
/// ```
pub struct PayloadWriter {
    text: Vec<u8>,
    names: Vec<Cow<'static, str>>,
}

impl PayloadWriter {
    /// An empty object.
    #[must_use]
    pub fn new() -> Self {
        let mut text = Vec::with_capacity(PAYLOAD_BYTES);
        text.push(b'{');
        Self { text, names: Vec::with_capacity(FIELDS) }
    }

    /// Adds one field.
    ///
    /// # Errors
    /// [`EncodeError`] that names the field, when the value cannot be JSON (a map whose keys are not text, or a
    /// `Serialize` that fails) or the name is there already.
    pub fn field<T: Serialize + ?Sized>(&mut self, name: &'static str, value: &T) -> Result<(), EncodeError> {
        self.write(Cow::Borrowed(name), value)
    }

    /// Adds a field whose value is not stored: [`REDACTED`] stands in its place. The value is not even looked at.
    ///
    /// # Errors
    /// [`EncodeError`] when the name is there already.
    pub fn redacted(&mut self, name: &'static str) -> Result<(), EncodeError> {
        self.field(name, REDACTED)
    }

    /// Adds the members of a struct or map as if they were fields of this event. `None` and `()` add nothing.
    ///
    /// # Errors
    /// [`EncodeError`] that names the field, when the value is not an object or one of its members is there already.
    pub fn flatten<T: Serialize + ?Sized>(&mut self, name: &'static str, value: &T) -> Result<(), EncodeError> {
        match serde_json::to_value(value).map_err(|source| EncodeError::field(name, source))? {
            Value::Object(members) => {
                members.into_iter().try_for_each(|(member, value)| self.write(Cow::Owned(member), &value))
            }
            Value::Null => Ok(()),
            _ => Err(EncodeError::not_an_object(name)),
        }
    }

    /// The finished JSON text.
    #[must_use]
    pub fn finish(mut self) -> String {
        self.text.push(b'}');
        // serde_json writes UTF-8 only, so nothing is ever replaced here.
        String::from_utf8(self.text).unwrap_or_else(|e| String::from_utf8_lossy(e.as_bytes()).into_owned())
    }

    fn write<T: Serialize + ?Sized>(&mut self, name: Cow<'static, str>, value: &T) -> Result<(), EncodeError> {
        if self.names.contains(&name) {
            return Err(EncodeError::duplicate(&name));
        }
        if !self.names.is_empty() {
            self.text.push(b',');
        }
        let encoded = serde_json::to_writer(&mut self.text, &*name).and_then(|()| {
            self.text.push(b':');
            serde_json::to_writer(&mut self.text, value)
        });
        encoded.map_err(|source| EncodeError::field(&name, source))?;
        self.names.push(name);
        Ok(())
    }
}

impl Default for PayloadWriter {
    fn default() -> Self {
        Self::new()
    }
}

impl std::fmt::Debug for PayloadWriter {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("PayloadWriter").field("names", &self.names).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    #[test]
    fn an_empty_event_is_an_empty_object() {
        assert_eq!(PayloadWriter::new().finish(), "{}");
        assert_eq!(PayloadWriter::default().finish(), "{}");
    }

    #[test]
    fn names_and_values_are_escaped() {
        let mut payload = PayloadWriter::new();
        payload.field("a\"b", &"x\"\n\u{1F600}").expect("plain text encodes");
        assert_eq!(payload.finish(), "{\"a\\\"b\":\"x\\\"\\n\u{1F600}\"}");
    }

    #[test]
    fn flatten_adds_members_and_refuses_what_is_no_object() {
        let mut payload = PayloadWriter::new();
        payload.field("a", &1).expect("a number encodes");
        payload.flatten("more", &BTreeMap::from([("b", 2), ("c", 3)])).expect("a map flattens");
        payload.flatten("nothing", &None::<BTreeMap<String, i32>>).expect("None adds nothing");
        let refused = payload.flatten("bad", &7).expect_err("a number is no object");
        assert!(refused.to_string().contains("`bad`"), "{refused}");
        assert_eq!(payload.finish(), r#"{"a":1,"b":2,"c":3}"#);
    }

    #[test]
    fn a_name_that_comes_twice_is_refused() {
        let mut payload = PayloadWriter::new();
        payload.field("a", &1).expect("a number encodes");
        let refused = payload.flatten("more", &BTreeMap::from([("a", 2)])).expect_err("`a` is there already");
        assert!(refused.to_string().contains("`a`"), "{refused}");
    }
}
