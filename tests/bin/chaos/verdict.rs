//! The comparison of what was committed with what arrived, and the closing line.

use std::collections::{HashMap, HashSet};
use std::fmt;

use crate::Database;
use crate::sends::Sends;

/// How many ids an explanation shows.
const SHOWN: usize = 5;

/// What was done to the system.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Counts {
    pub(crate) relay_kills: u64,
    /// Of its server; on SQLite, which has none, of processes that wrote into the file.
    pub(crate) database_crashes: u64,
    pub(crate) clickhouse_crashes: u64,
    pub(crate) cuts: u64,
    /// Partitions on PostgreSQL, rows elsewhere.
    pub(crate) pruned: u64,
}

/// `Display` is the closing line.
#[derive(Debug)]
pub(crate) struct Verdict {
    database: Database,
    committed: usize,
    delivered: usize,
    lost: usize,
    phantom: usize,
    duplicated: usize,
    sends: Sends,
    counts: Counts,
}

impl Verdict {
    /// `delivered` has an id for each row.
    pub(crate) fn new(
        database: Database,
        committed: &HashSet<String>,
        delivered: &[String],
        sends: Sends,
        counts: Counts,
    ) -> Self {
        let distinct: HashSet<&String> = delivered.iter().collect();
        Self {
            database,
            committed: committed.len(),
            delivered: distinct.len(),
            lost: committed.iter().filter(|id| !distinct.contains(id)).count(),
            phantom: distinct.iter().filter(|id| !committed.contains(**id)).count(),
            duplicated: delivered.len() - distinct.len(),
            sends,
            counts,
        }
    }

    /// A run in which nothing was written or sent shows nothing either.
    pub(crate) fn is_good(&self) -> bool {
        let wrong = [self.lost, self.phantom, self.duplicated, self.sends.differing().count()];
        wrong == [0; 4] && self.committed > 0 && !self.sends.is_empty()
    }

    /// Some of the ids at fault, to look for in the relays' logs and the database.
    pub(crate) fn explain(&self, committed: &HashSet<String>, delivered: &[String]) {
        let mut rows: HashMap<&str, u32> = HashMap::new();
        for id in delivered {
            *rows.entry(id).or_default() += 1;
        }
        let show = |what: &str, ids: Vec<&str>| {
            if !ids.is_empty() {
                eprintln!("{what}: {}, ..", ids[..ids.len().min(SHOWN)].join(", "));
            }
        };
        show("lost", committed.iter().map(String::as_str).filter(|id| !rows.contains_key(id)).collect());
        show("phantom", rows.keys().copied().filter(|id| !committed.contains(*id)).collect());
        show("duplicated", rows.iter().filter(|(_, count)| **count > 1).map(|(id, _)| *id).collect());
        show("tokens with differing events", self.sends.differing().collect());
    }
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { database, committed, delivered, lost, phantom, duplicated, sends, counts } = self;
        let Counts { relay_kills, database_crashes, clickhouse_crashes, cuts, pruned } = counts;
        let (crashes_of, pruned_what) = match database {
            Database::Postgres => ("postgres_crashes", "truncated_partitions"),
            Database::MySql => ("mysql_crashes", "pruned_rows"),
            Database::Sqlite => ("writer_kills", "pruned_rows"),
        };
        write!(
            f,
            "committed={committed} delivered={delivered} lost={lost} phantom={phantom} duplicated={duplicated} \
             resent_batches={} resent_differing={} relay_kills={relay_kills} {crashes_of}={database_crashes} \
             clickhouse_crashes={clickhouse_crashes} cuts={cuts} {pruned_what}={pruned}",
            sends.resent(),
            sends.differing().count(),
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn verdict(committed: &[&str], delivered: &[&str]) -> Verdict {
        let mut sends = Sends::default();
        sends.read([r#"{"message":"sending","token":"a","digest":"1"}"#]);
        let committed = committed.iter().map(|id| (*id).to_owned()).collect();
        let delivered: Vec<_> = delivered.iter().map(|id| (*id).to_owned()).collect();
        Verdict::new(Database::Postgres, &committed, &delivered, sends, Counts::default())
    }

    #[test]
    fn the_closing_line_counts_what_is_wrong() {
        assert!(verdict(&["a", "b"], &["b", "a"]).is_good());
        let bad = verdict(&["a", "b", "c"], &["b", "b", "b", "d"]);
        assert!(!bad.is_good());
        assert_eq!(
            bad.to_string(),
            "committed=3 delivered=2 lost=2 phantom=1 duplicated=2 resent_batches=0 resent_differing=0 relay_kills=0 \
             postgres_crashes=0 clickhouse_crashes=0 cuts=0 truncated_partitions=0"
        );
        assert!(!verdict(&[], &[]).is_good(), "nothing happened");
    }
}
