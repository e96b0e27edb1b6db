//! ClickHouse without docker: `libchdb.so`, a whole server as a library, out of the npm package of one pinned version.
//!
//! It lands in the user's cache once, verified. `npm pack` is what fetches it, so that whatever registry and proxy npm is
//! set up for is used.

use std::fs::{self, File};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::{env, io};

use crate::error::{Error, Missing, MissingList, Result};
use crate::interrupt::foreground;

const VERSION: &str = "26.7.3-stable.1";
const PACKAGE: &str = "@chdb/lib-linux-x64-gnu";
/// Of the package: the registry's `integrity`, in hexadecimal.
const PACKAGE_SHA512: &str = "5cff7b98caa7739b59a4a432c11f0dedc2d3b073624e61ebdf4a42e66ce8de35\
                              a6ba48ca9f62016bad1cd81fe059435cb858ce3235a8a2b408082a81563e70a7";
/// Of `libchdb.so`.
const LIBRARY_SHA256: &str = "36ad4e999882821ef13cf2d0f52c93f48e6ee1b4498b35a201c23ce4b8d15bf5";

/// What stops this machine from having it, if anything does.
pub(crate) fn obstacle() -> Option<Missing> {
    let elsewhere = "start docker, or set OUTBOX_TEST_CLICKHOUSE_URL";
    let no = |line: String, package| Some(Missing { line, package });
    if !cfg!(all(target_os = "linux", target_arch = "x86_64", target_env = "gnu")) {
        return no(format!("no ClickHouse: {PACKAGE} is for x86-64 Linux with glibc ({elsewhere})"), None);
    }
    let cpu = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    if !cpu.split_ascii_whitespace().any(|flag| flag == "avx2") {
        return no(format!("no ClickHouse: {PACKAGE} needs a processor with AVX2 ({elsewhere})"), None);
    }
    let cached = cache_dir().is_ok_and(|dir| dir.join("libchdb.so").exists());
    if !cached && crate::programs::in_path("npm").is_none() {
        let line = format!("no npm, to fetch ClickHouse with: `apt-get install npm` (or {elsewhere})");
        return no(line, Some("npm"));
    }
    None
}

/// `cargo xtask fetch`.
pub(crate) fn fetch() -> Result<()> {
    if let Some(missing) = obstacle() {
        return Err(Error::Missing(MissingList(vec![missing])));
    }
    let library = ensure()?;
    verify("sha256sum", LIBRARY_SHA256, &library)?;
    println!("{}", library.display());
    Ok(())
}

/// The path of the library, fetched if it is not there.
///
/// It may be in a directory that only root can enter: the launcher opens it before it becomes `nobody`.
pub(crate) fn ensure() -> Result<PathBuf> {
    let dir = cache_dir()?;
    let library = dir.join("libchdb.so");
    if library.exists() {
        return Ok(library);
    }
    let parent = dir.parent().unwrap_or(Path::new("/")).to_owned();
    let told = |e| Error::io(parent.display().to_string())(e);
    fs::create_dir_all(&parent).map_err(told)?;
    // Held to the end of this function: of two processes one fetches and the other waits and finds it.
    let lock = File::create(parent.join("fetch.lock")).map_err(told)?;
    lock.lock().map_err(told)?;
    if library.exists() {
        return Ok(library);
    }
    eprintln!("fetching ClickHouse {VERSION} once: {PACKAGE}, 178 MB, 566 MB unpacked, into {}", dir.display());
    let fresh = tempfile::Builder::new().prefix("fetch-").tempdir_in(&parent).map_err(told)?;
    let package = pack(fresh.path())?;
    verify("sha512sum", PACKAGE_SHA512, &package)?;
    let unpacked = fresh.path().join("package");
    foreground(Command::new("tar").arg("-xzf").arg(&package).arg("package/libchdb.so").current_dir(fresh.path()))?;
    verify("sha256sum", LIBRARY_SHA256, &unpacked.join("libchdb.so"))?;
    fs::rename(&unpacked, &dir).map_err(told)?;
    Ok(library)
}

fn cache_dir() -> Result<PathBuf> {
    let home = || Some(PathBuf::from(env::var_os("HOME")?).join(".cache"));
    let cache = env::var_os("XDG_CACHE_HOME").filter(|dir| !dir.is_empty()).map(PathBuf::from).or_else(home);
    let none = || Error::Setting { variable: "HOME", problem: "not set, so there is no place for a cache".into() };
    Ok(cache.ok_or_else(none)?.join("outbox").join(format!("libchdb-{VERSION}")))
}

fn pack(into: &Path) -> Result<PathBuf> {
    let mut npm = Command::new("npm");
    npm.args(["pack", "--silent", &format!("{PACKAGE}@{VERSION}")]).current_dir(into).stdout(Stdio::null());
    foreground(&mut npm)?;
    let mut files = fs::read_dir(into).map_err(Error::io(into.display().to_string()))?.flatten();
    let package = files.find(|file| file.path().extension().is_some_and(|extension| extension == "tgz"));
    let none = || Error::io("npm pack")(io::Error::new(io::ErrorKind::NotFound, "it left no .tgz"));
    Ok(package.ok_or_else(none)?.path())
}

/// By coreutils: hashing half a gigabyte in an unoptimised build takes minutes.
fn verify(program: &str, hash: &str, file: &Path) -> Result<()> {
    let mut command = Command::new(program);
    command.args(["--check", "--status"]).stdin(Stdio::piped());
    let mut child = command.spawn().map_err(Error::io(program))?;
    let line = format!("{hash}  {}\n", file.display());
    child.stdin.take().map_or(Ok(()), |mut input| input.write_all(line.as_bytes())).map_err(Error::io(program))?;
    let status = child.wait().map_err(Error::io(program))?;
    if status.success() { Ok(()) } else { Err(Error::Hash { file: file.display().to_string() }) }
}
