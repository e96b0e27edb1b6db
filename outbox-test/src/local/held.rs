//! Processes that live as long as their standard input: the ClickHouse launcher, and any server under `sup`.
//!
//! The kernel closes the pipe when its owner dies, however it dies, so nothing outlives the tests.

use std::fs::{self, File};
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use super::Error;

/// How long a server may take to answer its first query. Seconds on an idle machine.
const READY_WITHIN: Duration = Duration::from_secs(120);
/// How long an orderly stop may take before it becomes a kill.
const STOP_WITHIN: Duration = Duration::from_secs(30);
/// Between two looks at something that sends no signal.
const POLL: Duration = Duration::from_millis(20);
/// How much of a log an error shows.
const LOG_LINES: usize = 20;

/// A running process; dropping it is an orderly stop.
#[derive(Debug)]
pub(crate) struct Held(Child);

impl Held {
    /// Starts `command` with its output appended to the file `log`.
    pub(crate) fn spawn(command: &mut Command, log: &Path) -> Result<Self, Error> {
        let name = command.get_program().display().to_string();
        let file = || File::options().create(true).append(true).open(log);
        let (out, err) = (file().map_err(Error::io(log.display().to_string()))?, file());
        let err = err.map_err(Error::io(log.display().to_string()))?;
        let child = command.stdin(Stdio::piped()).stdout(out).stderr(err).spawn().map_err(Error::io(name))?;
        Ok(Self(child))
    }

    /// The process, which is the ancestor of whatever it starts.
    pub(crate) fn id(&self) -> u32 {
        self.0.id()
    }

    /// How it ended, if it has.
    pub(crate) fn ended(&mut self) -> Option<ExitStatus> {
        self.0.try_wait().ok().flatten()
    }

    /// SIGKILL, and reaped: after this the process is gone.
    pub(crate) fn kill(&mut self) {
        // Both can only fail for a process that is gone already.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }

    /// Waits for an end that the caller brought about, and kills what does not end.
    pub(crate) fn wait_ended(&mut self) {
        let deadline = Instant::now() + STOP_WITHIN;
        while self.ended().is_none() {
            if Instant::now() > deadline {
                return self.kill();
            }
            thread::sleep(POLL);
        }
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        drop(self.0.stdin.take());
        self.wait_ended();
    }
}

/// Waits until `answers`, which is to be a real query: servers accept connections before they can be used.
pub(crate) fn wait_ready(
    server: &'static str,
    process: &mut Held,
    log: &Path,
    mut answers: impl FnMut() -> bool,
) -> Result<(), Error> {
    let started = Instant::now();
    while !answers() {
        if let Some(status) = process.ended() {
            return Err(Error::Ended { server, status, log: tail(log) });
        }
        if started.elapsed() > READY_WITHIN {
            return Err(Error::NotReady { server, waited: started.elapsed(), log: tail(log) });
        }
        thread::sleep(POLL);
    }
    Ok(())
}

/// The end of a log, for an error.
pub(crate) fn tail(log: &Path) -> String {
    let text = fs::read(log).unwrap_or_default();
    let text = String::from_utf8_lossy(&text);
    let lines: Vec<&str> = text.lines().collect();
    lines[lines.len().saturating_sub(LOG_LINES)..].join("\n")
}
