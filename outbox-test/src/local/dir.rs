//! A server's directory: under the system's temporary directory, owned by the server's user, gone with its owner.

use std::fs::{self, File};
use std::io;
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown};
use std::path::{Path, PathBuf};

use super::Error;

/// The user and group that servers run as when they are started by root, which PostgreSQL refuses to run as.
pub(crate) const NOBODY: u32 = 65_534;

/// Whether this process runs as root.
pub(crate) fn is_root() -> bool {
    fs::metadata("/proc/self").is_ok_and(|own| own.uid() == 0)
}

/// In each directory, locked as long as its owner lives.
const LOCK: &str = "owner.lock";

/// A directory that is removed on drop. Those of owners that were killed are removed when the next one is made.
#[derive(Debug)]
pub(crate) struct ServerDir {
    path: PathBuf,
    // Held for the lock.
    _lock: File,
}

impl ServerDir {
    /// Makes `outbox-NAME-...`, which only the server's user (and root) can enter.
    pub(crate) fn create(name: &str) -> Result<Self, Error> {
        let base = std::env::temp_dir();
        let prefix = format!("outbox-{name}-");
        sweep(&base, &prefix);
        let dir = tempfile::Builder::new().prefix(&prefix).tempdir_in(&base).map_err(Error::io(show(&base)))?;
        // Removed by our own drop, so that a server that is still writing cannot make it fail silently.
        let path = dir.keep();
        let lock = own(&path).map_err(Error::io(show(&path)))?;
        let dir = Self { path, _lock: lock };
        give_to_server(dir.path())?;
        Ok(dir)
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// Writes a file that the server can read.
    pub(crate) fn write(&self, name: &str, text: &str) -> Result<PathBuf, Error> {
        let path = self.path.join(name);
        fs::write(&path, text).map_err(Error::io(show(&path)))?;
        give_to_server(&path)?;
        Ok(path)
    }

    /// Makes a directory that the server can write to. One that exists is left as it is.
    pub(crate) fn subdir(&self, name: &str) -> Result<PathBuf, Error> {
        let path = self.path.join(name);
        fs::create_dir_all(&path).map_err(Error::io(show(&path)))?;
        give_to_server(&path)?;
        Ok(path)
    }
}

impl Drop for ServerDir {
    fn drop(&mut self) {
        // A killed server's children may still write a file or two.
        for _ in 0..50 {
            match fs::remove_dir_all(&self.path) {
                Err(e) if e.kind() == std::io::ErrorKind::DirectoryNotEmpty => {
                    std::thread::sleep(std::time::Duration::from_millis(20));
                }
                _ => return,
            }
        }
    }
}

/// Makes the lock under another name first: whoever finds it under its own finds it locked.
fn own(dir: &Path) -> io::Result<File> {
    let fresh = dir.join("owner.new");
    let lock = File::create(&fresh)?;
    lock.lock()?;
    fs::rename(fresh, dir.join(LOCK))?;
    fs::set_permissions(dir, fs::Permissions::from_mode(0o700))?;
    Ok(lock)
}

/// Removes what killed processes left. What cannot be removed is somebody else's.
fn sweep(base: &Path, prefix: &str) {
    for entry in fs::read_dir(base).into_iter().flatten().flatten() {
        let ours = entry.file_name().to_str().is_some_and(|name| name.starts_with(prefix));
        if ours && File::open(entry.path().join(LOCK)).is_ok_and(|lock| lock.try_lock().is_ok()) {
            let _ = fs::remove_dir_all(entry.path());
        }
    }
}

fn give_to_server(path: &Path) -> Result<(), Error> {
    if is_root() { chown(path, Some(NOBODY), Some(NOBODY)).map_err(Error::io(show(path))) } else { Ok(()) }
}

fn show(path: &Path) -> String {
    path.display().to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_directory_without_an_owner_is_swept_and_one_with_is_not() {
        let owned = ServerDir::create("sweep").expect("made");
        let left = std::env::temp_dir().join("outbox-sweep-left");
        fs::create_dir_all(&left).expect("made");
        drop(own(&left).expect("locked"));
        let next = ServerDir::create("sweep").expect("made");
        assert!(!left.exists() && owned.path().exists() && next.path().exists());
    }
}
