//! What is wrong with a table, as data and as text.

use std::fmt;

use serde::Serialize;

use crate::TableName;

/// What a look at a table found. `Display` is a line per finding.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct TableReport {
    /// The table.
    #[serde(serialize_with = "as_text")]
    pub table: TableName,
    /// What is wrong, the worst first; empty when the table is fit.
    pub findings: Vec<Finding>,
}

/// One thing that is wrong with a table.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// What follows from it.
    pub severity: Severity,
    /// What it is about, for programs.
    pub drift: Drift,
    /// What is wrong, in words.
    pub text: String,
    /// The statement that mends it, where there is one.
    pub mend: Option<String>,
}

/// What follows from a [`Finding`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Severity {
    /// No event could be written, or not as it is.
    Broken,
    /// An event might arrive twice.
    NotExactlyOnce,
}

/// What a [`Finding`] is about.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Drift {
    /// There is no such table.
    MissingTable,
    /// An engine that keeps no rows, or cannot tell a repeat.
    Engine,
    /// A column is not there.
    MissingColumn(String),
    /// A column would bend values, or takes none.
    ColumnType(String),
    /// No deduplication window, on this table or on the target of a view.
    Window(String),
    /// A view writes to a table that is not there.
    View(String),
    /// Rows may land in another partition when they come again.
    Partition,
}

impl TableReport {
    /// Whether events can be written.
    #[must_use]
    pub fn is_usable(&self) -> bool {
        self.findings.iter().all(|finding| finding.severity != Severity::Broken)
    }

    /// Whether each event arrives once.
    #[must_use]
    pub fn is_exactly_once(&self) -> bool {
        self.findings.is_empty()
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.mend {
            Some(mend) => write!(f, "{}: {mend}", self.text),
            None => f.write_str(&self.text),
        }
    }
}

impl fmt::Display for TableReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.findings.is_empty() {
            return write!(f, "{}: fit for exactly once", self.table);
        }
        let lines: Vec<_> = self.findings.iter().map(ToString::to_string).collect();
        f.write_str(&lines.join("; "))
    }
}

fn as_text<S: serde::Serializer>(table: &TableName, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(table)
}
