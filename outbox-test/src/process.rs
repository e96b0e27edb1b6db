//! A child process whose output can be awaited, and which can be killed like in real life.

use std::os::unix::process::ExitStatusExt;
use std::process::{ExitStatus, Stdio};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};
use tokio::io::{AsyncBufReadExt, AsyncRead, BufReader};
use tokio::process::{Child, Command};
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::timeout;

/// Ends a test that would hang; nothing waits this long otherwise.
const DEADLINE: Duration = Duration::from_secs(120);

/// A running child. Killed on drop; what it printed is shown when the test panics.
#[derive(Debug)]
pub struct Process {
    name: String,
    child: Child,
    output: Arc<Output>,
    readers: Vec<JoinHandle<()>>,
    matched: usize,
}

#[derive(Debug)]
struct Output {
    lines: Mutex<Vec<String>>,
    /// How many outputs are open; announces every line, too.
    open: watch::Sender<usize>,
}

impl Process {
    /// Starts `command` with both its outputs captured.
    ///
    /// # Panics
    /// When it cannot be started. Outside a tokio runtime.
    #[must_use]
    pub fn spawn(mut command: Command) -> Self {
        let name = command.as_std().get_program().display().to_string();
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).kill_on_drop(true);
        let mut child = command.spawn().unwrap_or_else(|e| panic!("{name}: {e}"));
        let output = Arc::new(Output { lines: Mutex::default(), open: watch::Sender::new(2) });
        let stdout = child.stdout.take().map(|stdout| tokio::spawn(collect(stdout, Arc::clone(&output))));
        let stderr = child.stderr.take().map(|stderr| tokio::spawn(collect(stderr, Arc::clone(&output))));
        Self { name, child, output, readers: stdout.into_iter().chain(stderr).collect(), matched: 0 }
    }

    /// The process' number, while it is not reaped.
    #[must_use]
    pub fn id(&self) -> Option<u32> {
        self.child.id()
    }

    /// Everything printed so far, both outputs, in the order of arrival.
    #[must_use]
    pub fn output(&self) -> Vec<String> {
        self.output.lines().clone()
    }

    /// Waits for a line that `wanted` holds for, on either output, and returns it. Each call looks only behind the
    /// line that the call before returned.
    ///
    /// # Panics
    /// When the outputs end, or two minutes pass, without such a line.
    pub async fn wait_line(&mut self, wanted: impl Fn(&str) -> bool) -> String {
        let line = self.wait_line_or_end(wanted).await;
        line.unwrap_or_else(|| panic!("{} ended without the line that was waited for", self.name))
    }

    /// As [`wait_line`](Self::wait_line); `None` when the outputs end without such a line.
    ///
    /// # Panics
    /// When two minutes pass without such a line.
    pub async fn wait_line_or_end(&mut self, wanted: impl Fn(&str) -> bool) -> Option<String> {
        let mut open = self.output.open.subscribe();
        let search = async {
            loop {
                // Looked at before the lines: an output that ended has brought its last line.
                let ended = *open.borrow_and_update() == 0;
                let found = self
                    .output
                    .lines()
                    .iter()
                    .enumerate()
                    .skip(self.matched)
                    .find_map(|(index, line)| if wanted(line) { Some((index, line.clone())) } else { None });
                if found.is_some() || ended {
                    break found;
                }
                // The sender is ours, so this cannot fail.
                let _ = open.changed().await;
            }
        };
        match timeout(DEADLINE, search).await {
            Ok(Some((index, line))) => {
                self.matched = index + 1;
                Some(line)
            }
            Ok(None) => None,
            Err(_) => panic!("{} did not print the line that was waited for within {DEADLINE:?}", self.name),
        }
    }

    /// SIGKILL, and reaped.
    pub async fn kill9(&mut self) -> ExitStatus {
        // Fails only for a process that is gone.
        let _ = self.child.start_kill();
        self.wait().await
    }

    /// SIGTERM, and reaped.
    ///
    /// # Panics
    /// When it does not end within two minutes.
    pub async fn terminate(&mut self) -> ExitStatus {
        if let Some(pid) = self.child.id().and_then(|id| Pid::from_raw(i32::try_from(id).ok()?)) {
            // Fails only for a process that is gone.
            let _ = kill_process(pid, Signal::TERM);
        }
        self.wait().await
    }

    /// Waits for its end, however long that takes. Its last output may be missing until [`wait`](Self::wait).
    ///
    /// # Cancel safety
    /// Cancel safe.
    pub async fn ended(&mut self) {
        // Fails only for a process that is gone.
        let _ = self.child.wait().await;
    }

    /// Waits for its end, and for the last of its output.
    ///
    /// # Panics
    /// When it does not end within two minutes.
    pub async fn wait(&mut self) -> ExitStatus {
        let Ok(status) = timeout(DEADLINE, self.child.wait()).await else {
            panic!("{} did not end within {DEADLINE:?}", self.name);
        };
        for reader in self.readers.drain(..) {
            // A grandchild may hold the output open: what came until now has to do.
            let _ = timeout(Duration::from_secs(5), reader).await;
        }
        status.unwrap_or_else(|e| panic!("{}: {e}", self.name))
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let text = self.output.lines().join("\n");
            #[allow(clippy::print_stderr, reason = "the test harness shows this beside the failure")]
            {
                eprintln!("---- output of {} ----\n{text}\n----", self.name);
            }
        }
    }
}

impl Output {
    fn lines(&self) -> MutexGuard<'_, Vec<String>> {
        self.lines.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

async fn collect(from: impl AsyncRead + Unpin, output: Arc<Output>) {
    let mut from = BufReader::new(from);
    let mut line = Vec::new();
    while let Ok(1..) = from.read_until(b'\n', &mut line).await {
        let text = String::from_utf8_lossy(&line).trim_end().to_owned();
        output.lines().push(text);
        output.open.send_modify(|_| {});
        line.clear();
    }
    output.open.send_modify(|open| *open -= 1);
}

/// Whether `status` is a death by SIGKILL.
#[must_use]
pub fn was_killed(status: ExitStatus) -> bool {
    status.signal() == Some(Signal::KILL.as_raw())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sh(script: &str) -> Process {
        let mut command = Command::new("sh");
        command.args(["-c", script]).env("WORD", "hello");
        Process::spawn(command)
    }

    #[tokio::test]
    async fn lines_of_both_outputs_arrive() {
        let mut process = sh("echo out $WORD; echo err >&2; exit 3");
        assert_eq!(process.wait().await.code(), Some(3));
        let mut lines = process.output();
        lines.sort();
        assert_eq!(lines, ["err", "out hello"]);
    }

    #[tokio::test]
    async fn each_wait_goes_on_behind_the_last() {
        let mut process = sh("echo a 1; echo a 2; exec sleep 1000");
        assert_eq!(process.wait_line(|line| line.starts_with('a')).await, "a 1");
        assert_eq!(process.wait_line(|line| line.starts_with('a')).await, "a 2");
        assert!(was_killed(process.kill9().await));
    }

    #[tokio::test]
    async fn terminate_is_a_sigterm() {
        let mut process = sh("trap 'echo bye; exit 5' TERM; echo ready; while :; do sleep 0.01; done");
        process.wait_line(|line| line == "ready").await;
        assert_eq!(process.terminate().await.code(), Some(5));
        assert_eq!(process.wait_line(|line| line == "bye").await, "bye");
    }

    #[tokio::test]
    #[should_panic(expected = "ended without the line")]
    async fn an_end_without_the_line_is_a_failure() {
        sh("echo something else").wait_line(|line| line == "ready").await;
    }
}
