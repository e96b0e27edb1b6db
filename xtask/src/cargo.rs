//! Calls of cargo, in the workspace, with the profile that xtask itself was built with.

use std::env;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::error::{Error, Result};
use crate::interrupt::foreground;

/// The workspace's directory.
pub(crate) fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("xtask is a directory of the workspace")
}

/// `cargo`, in the workspace.
pub(crate) fn cargo(args: &[&str]) -> Command {
    let mut command = Command::new(env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    command.args(args).current_dir(root());
    command
}

/// The executables of this build: `target/debug`, as a rule.
pub(crate) fn bin_dir() -> Result<PathBuf> {
    let own = env::current_exe().map_err(Error::io("the path of xtask"))?;
    Ok(own.parent().map(Path::to_owned).unwrap_or_default())
}

/// Builds something with xtask's own profile, so that it lands beside xtask.
pub(crate) fn build(args: &[&str]) -> Result<()> {
    let dir = bin_dir()?;
    let profile = match dir.file_name().and_then(|name| name.to_str()) {
        Some("debug") | None => "dev",
        Some(name) => name,
    };
    foreground(cargo(&["build", "--quiet", "--profile", profile]).args(args))
}

/// The launcher of ClickHouse and the supervisor of the other servers.
#[derive(Clone, Debug)]
pub(crate) struct Helpers {
    pub(crate) chd: PathBuf,
    pub(crate) sup: PathBuf,
}

/// Builds the helpers. An xtask that was not started by cargo takes them as they are: there may be no cargo.
pub(crate) fn helpers() -> Result<Helpers> {
    let dir = bin_dir()?;
    let helpers = Helpers { chd: dir.join("chd"), sup: dir.join("sup") };
    if env::var_os("CARGO").is_some() || !helpers.chd.exists() || !helpers.sup.exists() {
        build(&["--package", "xtask", "--bin", "chd", "--bin", "sup"])?;
    }
    Ok(helpers)
}
