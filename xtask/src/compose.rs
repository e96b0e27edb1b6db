//! Servers from `compose.yaml`, where a docker engine answers.

use std::process::{Command, Stdio};
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use crate::cargo::root;
use crate::error::Result;
use crate::interrupt::foreground;
use crate::stack::Service;

/// A client without an engine can take long to say so.
const ENGINE_WITHIN: Duration = Duration::from_secs(3);

/// Containers that are up. Those that this process started are removed with it; those that ran before stay.
#[derive(Debug)]
pub(crate) struct Containers {
    started: Vec<&'static str>,
}

impl Containers {
    pub(crate) fn up(services: &[Service]) -> Result<Self> {
        let names: Vec<&str> = services.iter().map(|service| service.container()).collect();
        let running = compose(&["ps", "--quiet", "--services", "--status", "running"]).output();
        let running = running.map(|output| String::from_utf8_lossy(&output.stdout).into_owned()).unwrap_or_default();
        let started = services.iter().map(|service| service.container());
        let started = started.filter(|name| !running.lines().any(|line| line == *name)).collect();
        // Made before the start, so that a start that fails half way is cleaned up, too.
        let containers = Self { started };
        foreground(compose(&["up", "--detach", "--wait"]).args(names).stdout(Stdio::null()))?;
        Ok(containers)
    }
}

impl Drop for Containers {
    fn drop(&mut self) {
        if !self.started.is_empty() {
            let mut remove = compose(&["rm", "--stop", "--force", "--volumes"]);
            let _ = remove.args(&self.started).stdout(Stdio::null()).status();
        }
    }
}

/// Whether there is an engine, and a client that knows `compose`.
pub(crate) fn answers() -> bool {
    let (sender, receiver) = mpsc::channel();
    thread::spawn(move || {
        let works = |args: &[&str]| {
            let mut docker = Command::new("docker");
            docker.args(args).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
            docker.status().is_ok_and(|status| status.success())
        };
        let _ = sender.send(works(&["version", "-f", "{{.Server.Version}}"]) && works(&["compose", "version"]));
    });
    receiver.recv_timeout(ENGINE_WITHIN).unwrap_or(false)
}

/// `cargo xtask down`.
pub(crate) fn down() -> Result<()> {
    foreground(&mut compose(&["down", "--volumes"]))
}

/// The `psql` of the container, with one statement to run.
pub(crate) fn psql(sql: &str) -> Command {
    let mut psql = compose(&["exec", "--no-TTY", "postgres", "psql", "-X", "-q", "-U", "postgres"]);
    psql.args(["-v", "ON_ERROR_STOP=1", "-c", sql]);
    psql
}

/// The `mariadb` of the container, with one statement to run. The password is that of `compose.yaml`.
pub(crate) fn mariadb(sql: &str) -> Command {
    let mut mariadb = compose(&["exec", "--no-TTY", "mariadb", "mariadb", "--host=127.0.0.1", "--user=root"]);
    mariadb.args(["--password=outbox", "-e", sql]);
    mariadb
}

fn compose(args: &[&str]) -> Command {
    let mut command = Command::new("docker");
    command.args(["compose", "--file", "compose.yaml"]).args(args).current_dir(root());
    command
}
