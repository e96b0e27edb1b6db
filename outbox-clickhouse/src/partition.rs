//! How many partitions events fall into, as far as that can be said here: each partition that an INSERT touches is a part of
//! its own on the server's disk.

use chrono::{DateTime, Datelike, Utc};
use outbox_core::StoredEvent;

use crate::columns::{self, Field};
use crate::types::arguments;

/// A piece of a partition key.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Piece {
    Text(Field),
    Time(Unit),
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Unit {
    Year,
    Month,
    Week,
    Day,
    Hour,
}

/// A partition key that depends on the envelope in a way that is known here. Times are taken in UTC: in another zone the
/// borders lie elsewhere, and a group of events may touch one partition more.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct PartitionKey(Vec<Piece>);

impl PartitionKey {
    /// Understands `toYYYYMM(event_date_time)`, a column, and tuples of those. None for anything else: then the server
    /// counts, and refuses.
    pub(crate) fn parse(key: &str) -> Option<Self> {
        let key = key.trim();
        let inner = match key.strip_prefix('(').and_then(|rest| rest.strip_suffix(')')) {
            Some(inner) => inner,
            None => key.strip_prefix("tuple(").and_then(|rest| rest.strip_suffix(')')).unwrap_or(key),
        };
        arguments(inner).into_iter().map(piece).collect::<Option<Vec<_>>>().map(Self)
    }

    /// The partition of an event: equal for two events when they share one.
    pub(crate) fn of<'e>(&self, stored: &'e StoredEvent) -> Vec<Value<'e>> {
        self.0.iter().map(|piece| piece.of(stored)).collect()
    }

    /// Whether two events share a partition.
    pub(crate) fn is_same(&self, one: &StoredEvent, other: &StoredEvent) -> bool {
        self.0.iter().all(|piece| piece.of(one) == piece.of(other))
    }
}

/// What a piece of the key is for one event.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Value<'e> {
    Text(&'e str),
    Time(i64),
}

impl Piece {
    fn of(self, stored: &StoredEvent) -> Value<'_> {
        let event = &stored.event;
        match self {
            Self::Time(unit) => Value::Time(unit.floor(event.occurred_at)),
            Self::Text(Field::EventType) => Value::Text(&event.event_type),
            Self::Text(Field::Environment) => Value::Text(&event.environment),
            Self::Text(Field::Key) => Value::Text(event.key.as_deref().unwrap_or_default()),
            // `piece` makes no other.
            Self::Text(_) => Value::Text(""),
        }
    }
}

fn piece(text: &str) -> Option<Piece> {
    let (function, argument) = match text.split_once('(') {
        Some((function, rest)) => (Some(function), rest.strip_suffix(')')?),
        None => (None, text),
    };
    let field = columns::spec(argument.trim().trim_matches('`'))?.field;
    match (function, field) {
        (None, Field::EventType | Field::Environment | Field::Key) => Some(Piece::Text(field)),
        (Some(function), Field::OccurredAt) => Some(Piece::Time(match function {
            "toYear" | "toStartOfYear" => Unit::Year,
            "toYYYYMM" | "toStartOfMonth" => Unit::Month,
            "toMonday" | "toStartOfWeek" => Unit::Week,
            "toYYYYMMDD" | "toDate" | "toDate32" | "toStartOfDay" => Unit::Day,
            "toStartOfHour" => Unit::Hour,
            _ => return None,
        })),
        _ => None,
    }
}

impl Unit {
    /// The number of the unit that the time is in, counted from anywhere.
    fn floor(self, at: DateTime<Utc>) -> i64 {
        match self {
            Self::Year => at.year().into(),
            Self::Month => i64::from(at.year()) * 12 + i64::from(at.month0()),
            Self::Week => (at.timestamp().div_euclid(86_400) + 3).div_euclid(7),
            Self::Day => at.timestamp().div_euclid(86_400),
            Self::Hour => at.timestamp().div_euclid(3_600),
        }
    }
}

#[cfg(test)]
mod tests {
    use outbox_core::Event;
    use uuid::Uuid;

    use super::*;

    fn event(at: &str, event_type: &str) -> StoredEvent {
        let at = at.parse().expect("a time");
        StoredEvent { seq: 1, event: Event::stored(Uuid::nil(), event_type.into(), 1, at) }
    }

    #[test]
    fn times_share_a_partition_when_the_server_says_so() {
        for (key, same, other) in [
            ("toYYYYMM(event_date_time)", "2026-03-31T23:59:59Z", "2026-04-01T00:00:00Z"),
            ("toMonday(event_date_time)", "2026-03-08T23:59:59Z", "2026-03-09T00:00:00Z"),
            ("toDate(event_date_time)", "2026-03-02T23:59:59Z", "2026-03-03T00:00:00Z"),
            ("toStartOfHour(`event_date_time`)", "2026-03-02T00:59:59Z", "2026-03-02T01:00:00Z"),
        ] {
            let key = PartitionKey::parse(key).expect(key);
            let (first, same, other) = (event("2026-03-02T00:00:00Z", "a"), event(same, "b"), event(other, "a"));
            assert_eq!(key.of(&first), key.of(&same), "{key:?}");
            assert_ne!(key.of(&first), key.of(&other), "{key:?}");
            assert!(key.is_same(&first, &same) && !key.is_same(&first, &other), "{key:?}");
        }
    }

    #[test]
    fn a_tuple_is_all_of_its_pieces_and_an_unknown_one_is_left_to_the_server() {
        let key = PartitionKey::parse("(toYYYYMM(event_date_time), event_type)").expect("both are known");
        let (a, b) = (event("2026-03-02T00:00:00Z", "a"), event("2026-03-02T00:00:00Z", "b"));
        assert_ne!(key.of(&a), key.of(&b));
        for unknown in ["cityHash64(event_id) % 8", "toYYYYMM(created)", "intDiv(seq, 10)"] {
            assert_eq!(PartitionKey::parse(unknown), None, "{unknown}");
        }
    }
}
