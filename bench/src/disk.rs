//! The disk, while something else is measured.

use std::io::{self, Write};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use crate::Result;
use crate::tally::Tally;

/// Between two fsyncs that show what the disk does meanwhile.
const FSYNC_EVERY: Duration = Duration::from_millis(25);

/// What the disk alone takes for an fsync of 4 KiB, while something else is measured.
pub(crate) struct Disk {
    ends: mpsc::Sender<()>,
    thread: JoinHandle<io::Result<Tally>>,
}

impl Disk {
    /// In the directory for temporary files, where the servers have their data, too.
    pub(crate) fn watch() -> Self {
        let (ends, ended) = mpsc::channel();
        Self { ends, thread: std::thread::spawn(move || Self::fsyncs(&ended)) }
    }

    fn fsyncs(ended: &mpsc::Receiver<()>) -> io::Result<Tally> {
        let (mut file, mut taken) = (tempfile::tempfile()?, Tally::default());
        while ended.recv_timeout(FSYNC_EVERY) == Err(RecvTimeoutError::Timeout) {
            file.write_all(&[0; 4096])?;
            let before = Instant::now();
            file.sync_all()?;
            taken.push(before.elapsed().as_secs_f64() * 1e3);
        }
        Ok(taken)
    }

    /// Milliseconds.
    pub(crate) fn ended(self) -> Result<Tally> {
        drop(self.ends);
        let taken = self.thread.join().map_err(|_| "the thread that watches the disk has panicked")?;
        Ok(taken?)
    }
}
