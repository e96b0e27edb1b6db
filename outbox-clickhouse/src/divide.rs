//! Cuts a batch's events for one table into what one INSERT takes: one statement for all, and not too many rows, bytes or
//! partitions.

use std::collections::BTreeMap;

use outbox_core::StoredEvent;

use crate::ClickHouseSettings;
use crate::partition::PartitionKey;

/// Groups of positions, each ascending. `kind` tells events that need different statements apart: one token is one statement.
pub(crate) fn divide<'e, K: PartialEq>(
    events: &[&'e StoredEvent],
    settings: &ClickHouseSettings,
    partitions: Option<&PartitionKey>,
    mut kind: impl FnMut(&'e StoredEvent) -> K,
) -> Vec<Vec<usize>> {
    let mut kinds: Vec<(K, Vec<usize>)> = Vec::new();
    for (at, event) in events.iter().enumerate() {
        let of = kind(event);
        match kinds.iter_mut().find(|(known, _)| *known == of) {
            Some((_, group)) => group.push(at),
            None => kinds.push((of, vec![at])),
        }
    }
    let by_partition = kinds.into_iter().flat_map(|(_, group)| match partitions {
        Some(key) => spread(events, group, key, settings.insert_partitions_max),
        None => vec![group],
    });
    by_partition.flat_map(|group| cut(events, group, settings)).collect()
}

/// Groups that touch at most `max` partitions each. Only what needs it is taken apart.
fn spread(events: &[&StoredEvent], group: Vec<usize>, key: &PartitionKey, max: usize) -> Vec<Vec<usize>> {
    // As a rule all are in one, and need no looking up.
    let Some(first) = group.first().map(|at| events[*at]) else { return vec![group] };
    if max > 0 && group.iter().all(|at| key.is_same(first, events[*at])) {
        return vec![group];
    }
    let mut partitions: BTreeMap<_, Vec<usize>> = BTreeMap::new();
    for at in &group {
        partitions.entry(key.of(events[*at])).or_default().push(*at);
    }
    if partitions.len() <= max {
        return vec![group];
    }
    let partitions: Vec<_> = partitions.into_values().collect();
    let join = |some: &[Vec<usize>]| {
        let mut group = some.concat();
        group.sort_unstable();
        group
    };
    partitions.chunks(max).map(join).collect()
}

/// Cuts where rows or bytes reach their limit.
fn cut(events: &[&StoredEvent], group: Vec<usize>, settings: &ClickHouseSettings) -> Vec<Vec<usize>> {
    // As a rule all fit, whatever they hold, and nobody has to look at every byte.
    let worst = |at: &usize| ESCAPED_MAX * events[*at].event.bytes() + FRAME;
    if group.len() <= settings.insert_rows_max && group.iter().map(worst).sum::<usize>() <= settings.insert_bytes_max {
        return vec![group];
    }
    let (mut groups, mut current, mut bytes) = (Vec::new(), Vec::new(), 0_usize);
    for at in group {
        let size = body_bytes(events[at]);
        let full = current.len() >= settings.insert_rows_max || bytes + size > settings.insert_bytes_max;
        if full && !current.is_empty() {
            groups.push(std::mem::take(&mut current));
            bytes = 0;
        }
        current.push(at);
        bytes += size;
    }
    groups.push(current);
    groups
}

/// Names of columns, quotes, numbers.
const FRAME: usize = 256;

/// How many bytes one can become in JSON: a control character.
const ESCAPED_MAX: usize = 1 + EXTRA_MAX as usize;
const EXTRA_MAX: u8 = 5;

/// The most that an event can take in a body: in JSON, characters are escaped.
fn body_bytes(stored: &StoredEvent) -> usize {
    let event = &stored.event;
    let headers = event.headers.as_deref().map_or(0, escapes);
    event.bytes() + escapes(&event.payload) + headers + FRAME
}

/// By how many bytes a text becomes longer in JSON.
fn escapes(text: &str) -> usize {
    let extra = |byte: &u8| u8::from(matches!(byte, b'"' | b'\\')) + EXTRA_MAX * u8::from(*byte < 0x20);
    // In sums of one byte, of which the compiler makes vectors: a third of the time that one sum of `usize` takes.
    let pieces = text.as_bytes().chunks(u8::MAX as usize / EXTRA_MAX as usize);
    pieces.map(|piece| usize::from(piece.iter().map(extra).sum::<u8>())).sum()
}

#[cfg(test)]
mod tests {
    use chrono::{DateTime, TimeDelta};
    use outbox_core::Event;
    use uuid::Uuid;

    use super::*;

    fn events(count: i64) -> Vec<StoredEvent> {
        let event = |day| {
            let at = DateTime::UNIX_EPOCH + TimeDelta::days(day);
            let mut event = Event::stored(Uuid::nil(), if day % 2 == 0 { "even" } else { "odd" }.into(), 1, at);
            event.payload = "{}".into();
            StoredEvent { seq: day, event }
        };
        (0..count).map(event).collect()
    }

    fn divided(settings: &ClickHouseSettings, key: Option<&str>, count: i64) -> Vec<Vec<usize>> {
        let events = events(count);
        let key = key.map(|key| PartitionKey::parse(key).expect("known"));
        divide(&events.iter().collect::<Vec<_>>(), settings, key.as_ref(), |_| ())
    }

    #[test]
    fn one_group_where_nothing_is_exceeded() {
        let settings = ClickHouseSettings::new();
        assert_eq!(divided(&settings, Some("toYYYYMM(event_date_time)"), 90), [(0..90).collect::<Vec<_>>()]);
    }

    #[test]
    fn each_limit_makes_groups_of_its_own() {
        let rows = ClickHouseSettings::new().insert_rows_max(4);
        assert_eq!(divided(&rows, None, 9), [vec![0, 1, 2, 3], vec![4, 5, 6, 7], vec![8]]);
        let bytes = ClickHouseSettings::new().insert_bytes_max(1);
        assert_eq!(divided(&bytes, None, 2), [[0], [1]], "one event always goes");
        let partitions = ClickHouseSettings::new().insert_partitions_max(2);
        assert_eq!(divided(&partitions, Some("toDate(event_date_time)"), 5), [vec![0, 1], vec![2, 3], vec![4]]);
    }

    #[test]
    fn events_of_other_statements_are_other_groups() {
        let events = events(4);
        let kind = |stored: &StoredEvent| stored.event.event_type.clone();
        let groups = divide(&events.iter().collect::<Vec<_>>(), &ClickHouseSettings::new(), None, kind);
        assert_eq!(groups, [[0, 2], [1, 3]]);
    }

    #[test]
    fn a_thousand_months_need_few_inserts_and_no_partition_is_in_two() {
        let settings = ClickHouseSettings::new();
        let groups = divided(&settings, Some("toYYYYMM(event_date_time)"), 30_000);
        assert_eq!(groups.len(), 10, "986 months, a hundred at a time");
        assert_eq!(groups.iter().map(Vec::len).sum::<usize>(), 30_000);
    }
}
