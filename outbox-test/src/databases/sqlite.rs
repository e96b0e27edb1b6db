use std::path::{Path, PathBuf};

use tempfile::TempDir;

/// A path for an SQLite database, in a directory of its own. Dropping it removes the directory.
#[derive(Debug)]
pub struct SqliteFile {
    path: PathBuf,
    // Held for its drop.
    _dir: TempDir,
}

impl SqliteFile {
    /// Makes the directory; the file is made by the first connection.
    ///
    /// # Panics
    /// When the directory cannot be made.
    #[must_use]
    pub fn create() -> Self {
        let dir = tempfile::Builder::new().prefix("outbox-sqlite-").tempdir();
        let dir = dir.unwrap_or_else(|e| panic!("a directory in {}: {e}", std::env::temp_dir().display()));
        Self { path: dir.path().join("test.db"), _dir: dir }
    }

    /// `sqlite:///absolute/path`.
    #[must_use]
    pub fn url(&self) -> String {
        format!("sqlite://{}", self.path.display())
    }

    /// The file's path.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_directory_is_there_and_goes_away() {
        let file = SqliteFile::create();
        let dir = file.path().parent().expect("in a directory").to_owned();
        assert!(dir.is_dir() && file.url().starts_with("sqlite:///"));
        drop(file);
        assert!(!dir.exists());
    }
}
