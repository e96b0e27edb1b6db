//! A server's directory: under the system's temporary directory, owned by the server's user, gone with its owner.

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown};
use std::path::{Path, PathBuf};

use super::Error;

/// The user and group that servers run as when they are started by root, which PostgreSQL refuses to run as.
pub(crate) const NOBODY: u32 = 65_534;

/// Whether this process runs as root.
pub(crate) fn is_root() -> bool {
    fs::metadata("/proc/self").is_ok_and(|own| own.uid() == 0)
}

/// A directory that is removed on drop.
#[derive(Debug)]
pub(crate) struct ServerDir(PathBuf);

impl ServerDir {
    /// Makes `outbox-NAME-...`, which only the server's user (and root) can enter.
    pub(crate) fn create(name: &str) -> Result<Self, Error> {
        let base = std::env::temp_dir();
        let dir = tempfile::Builder::new()
            .prefix(&format!("outbox-{name}-"))
            .tempdir_in(&base)
            .map_err(Error::io(format!("a directory in {}", base.display())))?;
        // Removed by our own drop, so that a server that is still writing cannot make it fail silently.
        let dir = Self(dir.keep());
        fs::set_permissions(dir.path(), fs::Permissions::from_mode(0o700)).map_err(Error::io(dir.show()))?;
        dir.give_to_server(dir.path())?;
        Ok(dir)
    }

    pub(crate) fn path(&self) -> &Path {
        &self.0
    }

    /// Writes a file that the server can read.
    pub(crate) fn write(&self, name: &str, text: &str) -> Result<PathBuf, Error> {
        let path = self.0.join(name);
        fs::write(&path, text).map_err(Error::io(path.display().to_string()))?;
        self.give_to_server(&path)?;
        Ok(path)
    }

    /// Makes a directory that the server can write to. One that exists is left as it is.
    pub(crate) fn subdir(&self, name: &str) -> Result<PathBuf, Error> {
        let path = self.0.join(name);
        fs::create_dir_all(&path).map_err(Error::io(path.display().to_string()))?;
        self.give_to_server(&path)?;
        Ok(path)
    }

    fn give_to_server(&self, path: &Path) -> Result<(), Error> {
        if is_root() { chown(path, Some(NOBODY), Some(NOBODY)).map_err(Error::io(self.show())) } else { Ok(()) }
    }

    fn show(&self) -> String {
        self.0.display().to_string()
    }
}

impl Drop for ServerDir {
    fn drop(&mut self) {
        // A killed server's children may still write a file or two.
        for _ in 0..50 {
            match fs::remove_dir_all(&self.0) {
                Err(e) if e.kind() == std::io::ErrorKind::DirectoryNotEmpty => {
                    std::thread::sleep(std::time::Duration::from_millis(20));
                }
                _ => return,
            }
        }
    }
}
