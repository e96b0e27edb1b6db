//! What is known about tables, for a little while: asking anew before each part would cost as much as the INSERT.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use outbox_core::SinkError;

use crate::TableName;
use crate::definition::Definition;
use crate::observe::Watched;
use crate::server::Server;
use crate::statement::Mark;

/// How long what is known about a table is used for new parts, when nothing says that it was altered.
const DEFINITION_AGE_MAX: Duration = Duration::from_secs(60);

/// How long a mark serves for new parts before another one is asked for. An older one is safe, recovery is only more careful.
const MARK_FRESH: Duration = Duration::from_secs(5);

/// How long a mark serves while the next one is asked for meanwhile: the question takes ClickHouse 20 ms, for which no part
/// waits where parts come often. It also is how long an alteration goes unnoticed by new parts.
const MARK_AGE_MAX: Duration = Duration::from_secs(10);

/// By table and host.
type Entries = HashMap<(TableName, Arc<str>), Entry>;

/// Clones share it.
#[derive(Clone, Default)]
pub(crate) struct Known(Arc<Mutex<Entries>>);

/// What is known about a table, and since when.
#[derive(Default)]
struct Entry {
    definition: Option<(Instant, Arc<Definition>)>,
    mark: Option<(Instant, Mark)>,
    /// Somebody is asking for the next mark.
    asked: bool,
}

/// A mark that will do.
pub(crate) struct KnownMark {
    pub(crate) mark: Mark,
    /// It is no longer fresh, and nobody else asks for the next one.
    pub(crate) ask: Option<Asking>,
}

/// Who asks for the next mark. Nobody does any more when this is dropped.
pub(crate) struct Asking {
    known: Known,
    key: (TableName, Arc<str>),
}

impl Drop for Asking {
    fn drop(&mut self) {
        if let Some(entry) = self.known.entries().get_mut(&self.key) {
            entry.asked = false;
        }
    }
}

impl Known {
    fn entries(&self) -> MutexGuard<'_, HashMap<(TableName, Arc<str>), Entry>> {
        // Every change under the lock is a single assignment.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn forget(&self, table: &TableName) {
        self.entries().retain(|(known, _), _| known != table);
    }

    pub(crate) fn definition(&self, table: &TableName, host: &Arc<str>) -> Option<Arc<Definition>> {
        let key = (table.clone(), Arc::clone(host));
        let (since, definition) = self.entries().get(&key)?.definition.clone()?;
        (since.elapsed() < DEFINITION_AGE_MAX).then_some(definition)
    }

    pub(crate) fn mark(&self, table: &TableName, host: &Arc<str>) -> Option<KnownMark> {
        let key = (table.clone(), Arc::clone(host));
        let mut entries = self.entries();
        let entry = entries.get_mut(&key)?;
        let (since, mark) = entry.mark.clone()?;
        let age = since.elapsed();
        if age >= MARK_AGE_MAX {
            return None;
        }
        let ask = age >= MARK_FRESH && !entry.asked;
        entry.asked |= ask;
        Some(KnownMark { mark, ask: ask.then(|| Asking { known: self.clone(), key }) })
    }

    /// Asks for the table's mark and keeps it. False: the table is another one than `definition`, which is forgotten.
    ///
    /// # Errors
    /// [`SinkError`] when the server cannot be asked.
    pub(crate) async fn ask_mark(
        &self,
        operation: &'static str,
        server: &Server,
        table: &TableName,
        definition: &Definition,
    ) -> Result<(Mark, bool), SinkError> {
        let before = Instant::now();
        let (mark, stamp) = server.mark(operation, &Watched::of(definition)).await?;
        let current = stamp == definition.stamp();
        if !current {
            self.forget(table);
        }
        self.keep_mark(table, &server.address, before, mark.clone());
        Ok((mark, current))
    }

    pub(crate) fn keep_definition(&self, table: &TableName, host: &Arc<str>, since: Instant, of: Arc<Definition>) {
        self.entries().entry((table.clone(), Arc::clone(host))).or_default().definition = Some((since, of));
    }

    fn keep_mark(&self, table: &TableName, host: &Arc<str>, since: Instant, mark: Mark) {
        self.entries().entry((table.clone(), Arc::clone(host))).or_default().mark = Some((since, mark));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_asks_for_the_next_mark_while_all_use_the_last() {
        let (known, table, host) = (Known::default(), TableName::new("db", "log"), Arc::from("host:1"));
        let kept = |age: Duration| {
            let mark = serde_json::from_value(serde_json::json!({ "start": "a", "blocks": 1 })).expect("a mark");
            known.keep_mark(&table, &host, Instant::now().checked_sub(age).expect("a machine that is up"), mark);
            known.mark(&table, &host)
        };
        assert!(known.mark(&table, &host).is_none(), "nothing is known");
        assert!(kept(Duration::ZERO).expect("fresh").ask.is_none());
        let first = kept(MARK_FRESH).expect("it serves");
        assert!(first.ask.is_some());
        assert!(kept(MARK_FRESH).expect("it serves").ask.is_none(), "somebody asks");
        drop(first);
        assert!(kept(MARK_FRESH).expect("it serves").ask.is_some(), "nobody asks any more");
        assert!(kept(MARK_AGE_MAX).is_none(), "too old");
    }
}
