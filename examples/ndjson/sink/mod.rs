//! [`NdjsonSink`]: every event a line of JSON in a file, once, whatever is killed when.
//!
//! * **Files.** `events-000001.ndjson.open` grows; when it is full it becomes `events-000001.ndjson`, and whoever reads such a
//!   file finds whole lines only. The open one may end in half a line after a crash, until the next delivery cuts it off.
//! * **The journal.** A part counts when `journal` says so: its lines are flushed to the disk first, then one line with its
//!   token, its fence and where it ended. What a file holds beyond that is of a delivery that never ended, and is cut off.
//! * **Tokens.** A part whose token is in the journal is there already, and nothing is written.
//! * **Fences.** Whoever looks for an earlier send writes its fence down. A relay that lost its lease and does not know it
//!   yet has a lower one, and is turned away.
//! * **Several relays** may write into one directory: a lock file keeps them one at a time.

mod files;
mod folder;
mod journal;
mod line;

use std::io;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};

use outbox::{Part, Recovery, Sink, SinkError, SinkErrorKind};

use self::folder::{Folder, Refused};

/// A file is full from here on, unless said otherwise: 64 MiB.
const FILE_BYTES: u64 = 64 << 20;

/// Delivers events into files of a directory. Clones share it.
#[derive(Clone, Debug)]
pub struct NdjsonSink {
    folder: Arc<Mutex<Folder>>,
}

impl NdjsonSink {
    /// A sink for this directory, which is made when it is missing.
    #[must_use]
    pub fn new(directory: impl Into<PathBuf>) -> Self {
        Self::with_file_bytes(directory, FILE_BYTES)
    }

    /// As [`new`](Self::new), with files that are full from so many bytes on. A part is never spread over two.
    #[must_use]
    pub fn with_file_bytes(directory: impl Into<PathBuf>, bytes: u64) -> Self {
        Self { folder: Arc::new(Mutex::new(Folder::new(directory.into(), bytes))) }
    }

    /// Files block, so they are left to a thread that may. It goes on when the relay does not wait any longer: the token
    /// then tells the repeat.
    async fn with<T: Send + 'static>(
        &self,
        operation: &'static str,
        work: impl FnOnce(&mut Folder) -> Result<T, Refused> + Send + 'static,
    ) -> Result<T, SinkError> {
        let folder = Arc::clone(&self.folder);
        let done =
            tokio::task::spawn_blocking(move || work(&mut folder.lock().unwrap_or_else(PoisonError::into_inner)));
        match done.await {
            Ok(Ok(value)) => Ok(value),
            Ok(Err(refused)) => Err(explain(operation, refused)),
            Err(panicked) => Err(SinkError::unknown(operation, "the writer has ended").with_source(panicked)),
        }
    }
}

impl Sink for NdjsonSink {
    async fn deliver(&self, part: &Part) -> Result<(), SinkError> {
        let part = part.clone();
        self.with("deliver", move |folder| folder.append(&part)).await
    }

    async fn check(&self) -> Result<(), SinkError> {
        self.with("check", |folder| folder.open().map(drop)).await
    }

    async fn recover(&self, part: &Part) -> Result<Recovery, SinkError> {
        let part = part.clone();
        self.with("recover", move |folder| folder.recover(&part)).await
    }
}

fn explain(operation: &'static str, refused: Refused) -> SinkError {
    match refused {
        Refused::Fenced { fence } => {
            let message = format!("a relay with the fence {fence} has taken this part over");
            SinkError::unknown(operation, message)
        }
        // No room: the same again, and not so soon.
        Refused::Io(error) if matches!(error.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded) => {
            SinkError::new(SinkErrorKind::Busy, operation, "the disk is full: make room").with_source(error)
        }
        Refused::Io(error)
            if matches!(error.kind(), io::ErrorKind::PermissionDenied | io::ErrorKind::ReadOnlyFilesystem) =>
        {
            SinkError::stop(operation, "the directory cannot be written to: see who owns it").with_source(error)
        }
        Refused::Io(error) => SinkError::unknown(operation, "a file cannot be written").with_source(error),
    }
}
