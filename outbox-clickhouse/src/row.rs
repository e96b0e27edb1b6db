//! Reading events back into the types that they were emitted from.

use chrono::{DateTime, Utc};
use clickhouse::Row;
use outbox_core::{DecodeError, EventSchema};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use uuid::Uuid;

/// A row of the default table. `Debug` leaves the payload out.
///
/// # Examples
/// ```
/// use clickhouse::Client;
/// use outbox_clickhouse::EventLogRow;
/// use outbox_core::{EventSchema, EventType};
///
/// #[derive(serde::Deserialize)]
/// struct UserCreated { email: String }
/// # impl EventSchema for UserCreated {
/// #     const EVENT_TYPES: &'static [EventType] = &[EventType::new("user_created", 1, "event_log")];
/// # }
///
/// async fn emails(client: &Client) -> Result<Vec<String>, Box<dyn std::error::Error>> {
///     let rows = client.query("SELECT ?fields FROM event_log WHERE event_type = 'user_created'").fetch_all::<EventLogRow>();
///     rows.await?.iter().map(|row| Ok(row.decode::<UserCreated>()?.email)).collect()
/// }
/// ```
#[derive(Clone, PartialEq, Eq, Row, Deserialize)]
pub struct EventLogRow {
    /// The event's id.
    #[serde(with = "clickhouse::serde::uuid")]
    pub event_id: Uuid,
    /// The stored name of its type.
    pub event_type: String,
    /// When it happened.
    #[serde(with = "clickhouse::serde::chrono::datetime64::micros")]
    pub event_date_time: DateTime<Utc>,
    /// Where it happened.
    pub environment: String,
    /// The text of one JSON object: the event's fields.
    pub event_context: String,
    /// The version of their shape.
    pub metadata_version: i32,
}

impl EventLogRow {
    /// The event that this row was emitted from. A row of an older version goes through the type's `upcast`.
    ///
    /// # Errors
    /// [`DecodeError`] when the row is of another type, of a newer version than `T` knows, cannot be upgraded, or its fields do
    /// not fit.
    pub fn decode<T: EventSchema + DeserializeOwned>(&self) -> Result<T, DecodeError> {
        outbox_core::decode(&self.event_type, self.metadata_version, &self.event_context)
    }
}

impl std::fmt::Debug for EventLogRow {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("EventLogRow")
            .field("event_id", &self.event_id)
            .field("event_type", &self.event_type)
            .field("event_date_time", &self.event_date_time)
            .field("environment", &self.environment)
            .field("metadata_version", &self.metadata_version)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use outbox_core::EventType;

    use super::*;

    #[derive(Debug, PartialEq, Deserialize)]
    struct UserCreated {
        email: String,
    }

    impl EventSchema for UserCreated {
        const EVENT_TYPES: &'static [EventType] = &[EventType::new("user_created", 2, "event_log")];
    }

    fn row(event_type: &str, version: i32, payload: &str) -> EventLogRow {
        EventLogRow {
            event_id: Uuid::nil(),
            event_type: event_type.into(),
            event_date_time: DateTime::UNIX_EPOCH,
            environment: "test".into(),
            event_context: payload.into(),
            metadata_version: version,
        }
    }

    #[test]
    fn decodes_its_own_type_up_to_the_known_version() {
        let ann = UserCreated { email: "ann@example.org".into() };
        for version in [1, 2] {
            assert_eq!(
                row("user_created", version, r#"{"email":"ann@example.org"}"#)
                    .decode::<UserCreated>()
                    .expect("it fits"),
                ann
            );
        }
    }

    #[test]
    fn refusals_name_both_sides_and_no_payload() {
        let refused = |row: EventLogRow| row.decode::<UserCreated>().expect_err("does not fit").to_string();
        let other = refused(row("user_deleted", 1, "{}"));
        assert!(other.contains("`user_deleted`") && other.contains("`user_created`"), "{other}");
        let newer = refused(row("user_created", 3, "{}"));
        assert!(newer.contains("version 3") && newer.contains("knows 2"), "{newer}");
        let fields = refused(row("user_created", 2, r#"{"email":{"secret":"hunter2"}}"#));
        assert!(!fields.contains("hunter2") && !fields.contains("secret"), "{fields}");
        assert!(!format!("{:?}", row("user_created", 1, "hunter2")).contains("hunter2"));
    }
}
