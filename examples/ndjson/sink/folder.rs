//! The directory: what is done to it under its lock.

use std::collections::HashSet;
use std::fs::{self, File, OpenOptions};
use std::io;
use std::path::PathBuf;

use outbox::{Part, Recovery};
use uuid::Uuid;

use super::journal::Journal;
use super::{files, journal, line};

/// Why nothing was done.
#[derive(Debug)]
pub(super) enum Refused {
    /// Somebody with this fence has taken the part over.
    Fenced {
        fence: i32,
    },
    Io(io::Error),
}

impl From<io::Error> for Refused {
    fn from(error: io::Error) -> Self {
        Self::Io(error)
    }
}

#[derive(Debug)]
pub(super) struct Folder {
    directory: PathBuf,
    file_bytes: u64,
    journal: Journal,
}

impl Folder {
    pub(super) fn new(directory: PathBuf, file_bytes: u64) -> Self {
        let journal = Journal::new(journal::path(&directory));
        Self { directory, file_bytes, journal }
    }

    /// Takes the lock, which ends with the file that is returned or with the process, and reads what others have done.
    pub(super) fn open(&mut self) -> Result<File, Refused> {
        fs::create_dir_all(&self.directory)?;
        let lock = OpenOptions::new().create(true).truncate(false).write(true).open(self.directory.join("lock"))?;
        lock.lock()?;
        self.journal.catch_up()?;
        Ok(lock)
    }

    /// Writes a part, unless it is there.
    pub(super) fn append(&mut self, part: &Part) -> Result<(), Refused> {
        let _lock = self.open()?;
        let known = self.journal.of(part.token);
        if known.delivered {
            return Ok(());
        }
        if known.fence > part.fence {
            return Err(Refused::Fenced { fence: known.fence });
        }
        let mut lines = Vec::new();
        for stored in part.events.iter() {
            line::push(&mut lines, stored)?;
        }
        let (mut file, mut end) = (self.journal.file, self.journal.end);
        if end >= self.file_bytes {
            files::finish(&self.directory, file, end)?;
            (file, end) = (file + 1, 0);
        } else if files::length(&files::open(&self.directory, file)) < end {
            // Somebody has taken it away, or its end.
            (file, end) = (file + 1, 0);
        }
        let end = files::append(&files::open(&self.directory, file), end, &lines)?;
        Ok(self.journal.delivered(part.token, part.fence, file, end)?)
    }

    /// What became of an earlier send.
    pub(super) fn recover(&mut self, part: &Part) -> Result<Recovery, Refused> {
        let _lock = self.open()?;
        if self.journal.of(part.token).delivered {
            return Ok(Recovery::Delivered);
        }
        self.journal.fence(part.token, part.fence)?;
        // A replay's events may have come under any token, and an old token may be forgotten: the ids tell.
        if !part.replay && !self.journal.forgets {
            return Ok(Recovery::Resend);
        }
        let landed = self.landed(part)?;
        Ok(match landed.len() {
            0 => Recovery::Resend,
            all if all == part.events.len() => Recovery::Delivered,
            _ => Recovery::Replace { landed },
        })
    }

    /// Those of the part's events that are in the files.
    fn landed(&self, part: &Part) -> io::Result<Vec<Uuid>> {
        let wanted: HashSet<Uuid> = part.events.iter().map(|stored| stored.event.id).collect();
        let mut found = HashSet::new();
        for number in 1..=self.journal.file {
            let (full, open) = (files::full(&self.directory, number), files::open(&self.directory, number));
            let (path, end) = if full.exists() { (full, u64::MAX) } else { (open, self.journal.end) };
            // A file that somebody has taken away is read elsewhere.
            if path.exists() {
                files::each_line(&path, end, |line| {
                    let id = serde_json::from_slice::<line::Id>(line).map(|line| line.id);
                    found.extend(id.ok().filter(|id| wanted.contains(id)));
                })?;
            }
        }
        Ok(part.events.iter().map(|stored| stored.event.id).filter(|id| found.contains(id)).collect())
    }
}
