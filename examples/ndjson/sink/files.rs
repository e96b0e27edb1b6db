//! The files' names, and what it takes until a change of them is on the disk.

use std::fs::{self, File, OpenOptions};
use std::io::{self, BufRead, BufReader, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

/// A file that is full: whole lines only, for ever.
pub(super) fn full(directory: &Path, number: u64) -> PathBuf {
    directory.join(format!("events-{number:06}.ndjson"))
}

/// The one that grows.
pub(super) fn open(directory: &Path, number: u64) -> PathBuf {
    directory.join(format!("events-{number:06}.ndjson.open"))
}

/// How long it is; none at all where it is not there.
pub(super) fn length(path: &Path) -> u64 {
    fs::metadata(path).map_or(0, |file| file.len())
}

/// Cuts off what a delivery that never ended has left behind `end`, appends, and returns when it is on the disk. Returns the
/// new end.
pub(super) fn append(path: &Path, end: u64, bytes: &[u8]) -> io::Result<u64> {
    let new = !path.exists();
    let mut file = OpenOptions::new().create(true).truncate(false).write(true).open(path)?;
    file.set_len(end)?;
    file.seek(SeekFrom::Start(end))?;
    file.write_all(bytes)?;
    file.sync_data()?;
    if new {
        sync_directory_of(path)?;
    }
    Ok(end + bytes.len() as u64)
}

/// Gives a full file its final name. One that has it already is left alone.
pub(super) fn finish(directory: &Path, number: u64, end: u64) -> io::Result<()> {
    let (from, to) = (open(directory, number), full(directory, number));
    if from.exists() {
        let file = OpenOptions::new().write(true).open(&from)?;
        file.set_len(end)?;
        file.sync_all()?;
        fs::rename(&from, &to)?;
        sync_directory_of(&to)?;
    }
    Ok(())
}

/// A new name is on the disk only when its directory is.
pub(super) fn sync_directory_of(path: &Path) -> io::Result<()> {
    path.parent().map_or(Ok(()), |directory| File::open(directory)?.sync_all())
}

/// Calls `look` with each line of a file, as far as `end` says that it counts.
pub(super) fn each_line(path: &Path, end: u64, mut look: impl FnMut(&[u8])) -> io::Result<()> {
    let mut reader = BufReader::new(io::Read::take(File::open(path)?, end));
    let mut line = Vec::new();
    while reader.read_until(b'\n', &mut line)? > 0 {
        look(&line);
        line.clear();
    }
    Ok(())
}
