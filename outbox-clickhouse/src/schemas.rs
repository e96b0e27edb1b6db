//! What is known about event types: which layout, which columns, which table.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, PoisonError, RwLock};

use outbox_core::{Layout, SchemaRecord, StoredEvent};

/// By type and version.
type Records = BTreeMap<(String, i32), Arc<SchemaRecord>>;

/// Clones share it.
#[derive(Clone, Debug, Default)]
pub(crate) struct Schemas(Arc<RwLock<Records>>);

impl Schemas {
    /// Adds records. One that is known already is replaced.
    pub(crate) fn learn(&self, records: &[SchemaRecord]) {
        let mut known = self.0.write().unwrap_or_else(PoisonError::into_inner);
        for record in records {
            known.insert((record.event_type.clone(), record.version), Arc::new(record.clone()));
        }
    }

    /// The schema of an event in the layout `columns`: of its own version, else of the next newer one, else of the newest.
    /// None: the layout `context`.
    pub(crate) fn of(&self, stored: &StoredEvent) -> Option<Arc<SchemaRecord>> {
        let known = self.0.read().unwrap_or_else(PoisonError::into_inner);
        let event = &stored.event;
        let versions = |from| (event.event_type.to_string(), from)..=(event.event_type.to_string(), i32::MAX);
        let newer = known.range(versions(event.version)).next();
        let (_, record) = newer.or_else(|| known.range(versions(i32::MIN)).next_back())?;
        (record.layout == Layout::Columns).then(|| Arc::clone(record))
    }

    /// Whether the event's type has a column per field and the event is of a version that came after all known ones: its
    /// columns are not known yet.
    pub(crate) fn lack(&self, stored: &StoredEvent) -> bool {
        let known = self.0.read().unwrap_or_else(PoisonError::into_inner);
        let event = &stored.event;
        let versions = (event.event_type.to_string(), i32::MIN)..=(event.event_type.to_string(), i32::MAX);
        let newest = known.range(versions).next_back();
        newest.is_some_and(|((_, version), record)| *version < event.version && record.layout == Layout::Columns)
    }

    /// For all events of a batch: each type and version is looked up once.
    pub(crate) fn lookup(&self) -> Lookup<'_, '_> {
        Lookup { schemas: self, found: HashMap::new(), kinds: Vec::new(), last: None }
    }

    /// The tables that are named, each with its schemas of the layout `columns`, oldest version first.
    pub(crate) fn tables(&self) -> BTreeMap<String, Vec<Arc<SchemaRecord>>> {
        let known = self.0.read().unwrap_or_else(PoisonError::into_inner);
        let mut tables: BTreeMap<String, Vec<_>> = BTreeMap::new();
        for record in known.values() {
            let schemas = tables.entry(record.table.clone()).or_default();
            if record.layout == Layout::Columns {
                schemas.push(Arc::clone(record));
            }
        }
        tables
    }
}

/// See [`Schemas::lookup`].
pub(crate) struct Lookup<'s, 'e> {
    schemas: &'s Schemas,
    found: HashMap<(&'e str, i32), Looked>,
    /// The schemas that were found, each once.
    kinds: Vec<Option<Arc<SchemaRecord>>>,
    /// As a rule the next event is of the same type, whose name a batch holds once.
    last: Option<(&'e Arc<str>, i32, Looked)>,
}

/// What is known of a type and version.
#[derive(Clone, Copy)]
struct Looked {
    /// The same number for what has the same columns.
    kind: usize,
    lacks: bool,
}

impl<'e> Lookup<'_, 'e> {
    /// Which list of columns the event has: events of one part have one number.
    pub(crate) fn kind(&mut self, stored: &'e StoredEvent) -> usize {
        self.look(stored).kind
    }

    /// The columns of that number. None: the layout `context`.
    pub(crate) fn schema(&self, kind: usize) -> Option<Arc<SchemaRecord>> {
        self.kinds.get(kind).cloned().flatten()
    }

    /// As [`Schemas::lack`].
    pub(crate) fn lacks(&mut self, stored: &'e StoredEvent) -> bool {
        self.look(stored).lacks
    }

    fn look(&mut self, stored: &'e StoredEvent) -> Looked {
        let (name, version) = (&stored.event.event_type, stored.event.version);
        if let Some((last, last_version, looked)) = self.last
            && Arc::ptr_eq(last, name)
            && last_version == version
        {
            return looked;
        }
        let looked = *self.found.entry((&**name, version)).or_insert_with(|| {
            let schema = self.schemas.of(stored);
            let known = self.kinds.iter().position(|known| *known == schema);
            let kind = known.unwrap_or_else(|| {
                self.kinds.push(schema);
                self.kinds.len() - 1
            });
            Looked { kind, lacks: self.schemas.lack(stored) }
        });
        self.last = Some((name, version, looked));
        looked
    }
}

#[cfg(test)]
mod tests {
    use chrono::DateTime;
    use outbox_core::{DdlRecord, Event};
    use uuid::Uuid;

    use super::*;

    fn record(version: i32, layout: Layout) -> SchemaRecord {
        let (event_type, table) = ("seen".to_owned(), "seen".to_owned());
        SchemaRecord { event_type, version, table, layout, columns: vec![], ddl: DdlRecord::default() }
    }

    fn version_of(schemas: &Schemas, version: i32) -> Option<i32> {
        let event = Event::stored(Uuid::nil(), "seen".into(), version, DateTime::UNIX_EPOCH);
        schemas.of(&StoredEvent { seq: 1, event }).map(|record| record.version)
    }

    #[test]
    fn an_event_is_read_by_its_own_version_or_the_nearest_newer_one() {
        let schemas = Schemas::default();
        assert_eq!(version_of(&schemas, 1), None, "nothing is known: the layout context");
        schemas.learn(&[record(2, Layout::Columns), record(4, Layout::Columns)]);
        assert_eq!([1, 2, 3, 4, 5].map(|version| version_of(&schemas, version)), [2, 2, 4, 4, 4].map(Some));
        let lacks = |version| {
            let event = Event::stored(Uuid::nil(), "seen".into(), version, DateTime::UNIX_EPOCH);
            schemas.lack(&StoredEvent { seq: 1, event })
        };
        assert_eq!([1, 4, 5].map(lacks), [false, false, true]);
        let stored = |version, event_type: &str| {
            let event = Event::stored(Uuid::nil(), event_type.into(), version, DateTime::UNIX_EPOCH);
            StoredEvent { seq: 1, event }
        };
        let events = [(1, "seen"), (3, "seen"), (2, "seen"), (2, "other"), (5, "seen")].map(|(v, t)| stored(v, t));
        let mut lookup = schemas.lookup();
        let looked = events.each_ref().map(|event| (lookup.kind(event), lookup.lacks(event)));
        assert_eq!(looked, [(0, false), (1, false), (0, false), (2, false), (1, true)]);
        schemas.learn(&[record(4, Layout::Context)]);
        assert!(!lacks(5), "the layout context takes any version");
        assert_eq!(version_of(&schemas, 4), None, "the last word counts");
        assert_eq!(schemas.tables()["seen"].len(), 1);
    }
}
