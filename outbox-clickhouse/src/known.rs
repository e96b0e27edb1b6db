//! What is known about tables, for a little while: asking anew before each part would cost as much as the INSERT.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use crate::TableName;
use crate::definition::Definition;
use crate::statement::Mark;

/// How long what is known about a table is used for new parts, when nothing says that it was altered.
const DEFINITION_AGE_MAX: Duration = Duration::from_secs(60);

/// How long a mark serves for new parts. An older one is safe, recovery is only more careful. It also is how long an
/// alteration goes unnoticed.
const MARK_AGE_MAX: Duration = Duration::from_secs(1);

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

    pub(crate) fn mark(&self, table: &TableName, host: &Arc<str>) -> Option<Mark> {
        let key = (table.clone(), Arc::clone(host));
        let (since, mark) = self.entries().get(&key)?.mark.clone()?;
        (since.elapsed() < MARK_AGE_MAX).then_some(mark)
    }

    pub(crate) fn keep_definition(&self, table: &TableName, host: &Arc<str>, since: Instant, of: Arc<Definition>) {
        self.entries().entry((table.clone(), Arc::clone(host))).or_default().definition = Some((since, of));
    }

    pub(crate) fn keep_mark(&self, table: &TableName, host: &Arc<str>, since: Instant, mark: Mark) {
        self.entries().entry((table.clone(), Arc::clone(host))).or_default().mark = Some((since, mark));
    }
}
