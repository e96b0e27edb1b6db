//! What has been delivered, one line each, and where the files end.

use std::collections::{HashMap, VecDeque};
use std::fs::{self, File, OpenOptions};
use std::io::{self, BufRead, BufReader, Seek, SeekFrom, Write};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::files::sync_directory_of;

/// So many delivered parts are remembered: an older token is told by the ids of its events. About 15 MB of memory.
const KEPT: usize = 100_000;

/// A line.
#[derive(Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Record {
    /// A part is on the disk.
    Delivered { token: Uuid, fence: i32, file: u64, end: u64 },
    /// Whoever has a lower fence for this part has lost its lease.
    Fence { token: Uuid, fence: i32 },
    /// Older ones were dropped from here on.
    Dropped { file: u64, end: u64 },
}

/// What is known of a token.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Known {
    pub(super) fence: i32,
    pub(super) delivered: bool,
}

/// The journal as it was read last. Others may have gone on with it since.
#[derive(Debug)]
pub(super) struct Journal {
    path: PathBuf,
    tokens: HashMap<Uuid, Known>,
    order: VecDeque<Uuid>,
    /// Which file it was, and how far it was read.
    inode: u64,
    read: u64,
    /// Whether tokens may have been forgotten.
    pub(super) forgets: bool,
    /// The file that grows, and where what counts of it ends.
    pub(super) file: u64,
    pub(super) end: u64,
}

impl Journal {
    pub(super) fn new(path: PathBuf) -> Self {
        let (tokens, order) = (HashMap::new(), VecDeque::new());
        Self { path, tokens, order, inode: 0, read: 0, forgets: false, file: 1, end: 0 }
    }

    pub(super) fn of(&self, token: Uuid) -> Known {
        self.tokens.get(&token).copied().unwrap_or_default()
    }

    /// Reads what has come since. Half a line at its end is of a writer that was killed: it does not count.
    pub(super) fn catch_up(&mut self) -> io::Result<()> {
        let file = OpenOptions::new().create(true).truncate(false).read(true).write(true).open(&self.path)?;
        let inode = file.metadata()?.ino();
        if inode != self.inode {
            *self = Self { inode, ..Self::new(std::mem::take(&mut self.path)) };
        }
        let mut reader = BufReader::new(file);
        reader.seek(SeekFrom::Start(self.read))?;
        let mut line = Vec::new();
        while reader.read_until(b'\n', &mut line)? > 0 {
            if line.last() != Some(&b'\n') {
                break;
            }
            self.read += line.len() as u64;
            self.learn(serde_json::from_slice(&line)?);
            line.clear();
        }
        Ok(())
    }

    fn learn(&mut self, record: Record) {
        match record {
            Record::Delivered { token, fence, file, end } => {
                let known = self.tokens.entry(token).or_default();
                (known.fence, known.delivered) = (known.fence.max(fence), true);
                (self.file, self.end) = (file, end);
                self.order.push_back(token);
            }
            Record::Fence { token, fence } => {
                let known = self.tokens.entry(token).or_default();
                known.fence = known.fence.max(fence);
                self.order.push_back(token);
            }
            Record::Dropped { file, end } => (self.forgets, self.file, self.end) = (true, file, end),
        }
    }

    /// The part counts from now on.
    pub(super) fn delivered(&mut self, token: Uuid, fence: i32, file: u64, end: u64) -> io::Result<()> {
        self.write(&[Record::Delivered { token, fence, file, end }])?;
        self.forget_the_oldest()
    }

    /// Lower fences are turned away from now on.
    pub(super) fn fence(&mut self, token: Uuid, fence: i32) -> io::Result<()> {
        if self.of(token).fence >= fence {
            return Ok(());
        }
        self.write(&[Record::Fence { token, fence }])
    }

    fn write(&mut self, records: &[Record]) -> io::Result<()> {
        let new = self.read == 0;
        let mut file = OpenOptions::new().write(true).open(&self.path)?;
        file.set_len(self.read)?;
        file.seek(SeekFrom::Start(self.read))?;
        file.write_all(&lines(records)?)?;
        file.sync_data()?;
        if new {
            sync_directory_of(&self.path)?;
        }
        self.catch_up()
    }

    /// Twice as many as are kept: the journal is written anew, beside the old one, and takes its place in one step.
    fn forget_the_oldest(&mut self) -> io::Result<()> {
        if self.order.len() < 2 * KEPT {
            return Ok(());
        }
        let (file, end) = (self.file, self.end);
        let mut records = vec![Record::Dropped { file, end }];
        for token in self.order.iter().skip(self.order.len() - KEPT) {
            let Known { fence, delivered } = self.of(*token);
            records.push(match delivered {
                true => Record::Delivered { token: *token, fence, file, end },
                false => Record::Fence { token: *token, fence },
            });
        }
        let beside = self.path.with_extension("new");
        let mut new = File::create(&beside)?;
        new.write_all(&lines(&records)?)?;
        new.sync_all()?;
        fs::rename(&beside, &self.path)?;
        sync_directory_of(&self.path)?;
        self.catch_up()
    }
}

fn lines(records: &[Record]) -> io::Result<Vec<u8>> {
    let mut lines = Vec::new();
    for record in records {
        serde_json::to_writer(&mut lines, record)?;
        lines.push(b'\n');
    }
    Ok(lines)
}

/// The journal of a directory.
pub(super) fn path(directory: &Path) -> PathBuf {
    directory.join("journal")
}
