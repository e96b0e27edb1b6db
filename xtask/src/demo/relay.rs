//! The relay as a child: started, killed, stopped.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{Child, ExitStatus, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

use super::in_our_lifetime;
use super::place::Place;
use crate::error::{Error, Result};
use crate::local;

/// The relay's own grace time is shorter.
const STOP_WITHIN: Duration = Duration::from_secs(60);
const POLL: Duration = Duration::from_millis(20);

/// `outbox run`. Killed on drop.
pub(super) struct Relay {
    child: Child,
    log: PathBuf,
}

impl Relay {
    /// Starts one that appends to the place's log.
    pub(super) fn start(place: &Place) -> Result<Self> {
        let log = place.log();
        let told = |e| Error::io(log.display().to_string())(e);
        let file = File::options().create(true).append(true).open(&log).map_err(told)?;
        let mut command = place.outbox(&["run"]);
        command.stdin(Stdio::null()).stdout(file.try_clone().map_err(told)?).stderr(file);
        let child = in_our_lifetime(&mut command).spawn().map_err(Error::io("outbox run"))?;
        Ok(Self { child, log })
    }

    pub(super) fn id(&self) -> u32 {
        self.child.id()
    }

    pub(super) fn log(&self) -> &Path {
        &self.log
    }

    /// Fails when it has ended, which nobody asked it to.
    pub(super) fn check(&mut self) -> Result<()> {
        match self.child.try_wait() {
            Ok(Some(status)) => Err(self.ended(status)),
            _ => Ok(()),
        }
    }

    /// SIGKILL, and reaped.
    pub(super) fn kill(&mut self) {
        // Both fail only for a process that has ended.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }

    /// SIGTERM, and waits for an end that must be a good one.
    pub(super) fn stop(mut self) -> Result<()> {
        self.check()?;
        if let Some(pid) = i32::try_from(self.child.id()).ok().and_then(Pid::from_raw) {
            // Fails only for a process that has ended.
            let _ = kill_process(pid, Signal::TERM);
        }
        let deadline = Instant::now() + STOP_WITHIN;
        loop {
            match self.child.try_wait().map_err(Error::io("outbox run"))? {
                Some(status) if status.success() => return Ok(()),
                Some(status) => return Err(self.ended(status)),
                None if Instant::now() > deadline => {
                    self.kill();
                    eprintln!("the relay did not stop within {} s of SIGTERM; killed", STOP_WITHIN.as_secs());
                    let status = self.child.wait().map_err(Error::io("outbox run"))?;
                    return Err(self.ended(status));
                }
                None => thread::sleep(POLL),
            }
        }
    }

    fn ended(&self, status: ExitStatus) -> Error {
        Error::RelayEnded { status, log: local::tail(&self.log) }
    }
}

impl Drop for Relay {
    fn drop(&mut self) {
        self.kill();
    }
}
