//! The relays: processes of the `outbox` command, each killed again and again, or suspended beyond its lease.

use std::fs::{self, File};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use fastrand::Rng;
use outbox_test::process::Process;
use rustix::process::{Pid, Signal, kill_process};
use tokio::process::Command;
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, timeout_at};

use crate::Failure;
use crate::calm::after_calm;
use crate::place::Place;
use crate::sends::Sends;
use crate::transaction::millis;

const RELAYS: u64 = 3;
/// How long one lives, in milliseconds: with three of them, one dies every 400 ms or so. Many die before they have delivered
/// anything, and some deliver several batches.
const LIFE: std::ops::Range<u64> = 150..2_300;
/// Of a hundred lives, how many are suspended before they end.
const SUSPENDED: u8 = 35;
/// In milliseconds. Around the lease's end, because a zombie does the most harm that wakes up while another relay has just
/// taken its batch over ..
const SHORT_SUSPENSION: std::ops::Range<u64> = 950..1_300;
/// .. and far beyond it.
const LONG_SUSPENSION: std::ops::Range<u64> = 1_300..3_000;
/// As a service manager waits before it starts a relay that has ended by itself.
const AGAIN: Duration = Duration::from_millis(50);

/// How relays are started, and where their logs go.
pub(crate) struct Fleet {
    command: Arc<dyn Fn() -> Command + Send + Sync>,
    logs: PathBuf,
}

/// What a relay's lives came to.
#[derive(Debug, Default)]
pub(crate) struct Lives {
    pub(crate) kills: u64,
    /// Partitions on PostgreSQL, rows on SQLite.
    pub(crate) pruned: u64,
    pub(crate) sends: Sends,
}

/// Running relays.
pub(crate) struct Running {
    slots: JoinSet<Result<Lives, Failure>>,
    stop: watch::Sender<bool>,
}

impl Fleet {
    pub(crate) fn new(place: &Place, seed: u64) -> Result<Self, Failure> {
        let logs = std::env::temp_dir().join(format!("outbox-chaos-{seed}-{}", std::process::id()));
        fs::create_dir_all(&logs)?;
        Ok(Self { command: Arc::new(place.relay()?), logs })
    }

    pub(crate) fn logs(&self) -> &Path {
        &self.logs
    }

    pub(crate) fn forget_logs(&self) {
        // Left in the temporary directory at worst.
        let _ = fs::remove_dir_all(&self.logs);
    }

    /// Starts them. Their troubles end at `until`; they themselves at [`Running::stop`].
    pub(crate) fn start(&self, rng: &mut Rng, until: Instant) -> Running {
        let stop = watch::Sender::new(false);
        let mut slots = JoinSet::new();
        for slot in 0..RELAYS {
            let log = self.logs.join(format!("relay-{slot}.log"));
            let slot = Slot { command: Arc::clone(&self.command), log, rng: rng.fork(), lives: Lives::default() };
            slots.spawn(slot.run(until, stop.subscribe()));
        }
        Running { slots, stop }
    }
}

impl Running {
    /// Stops them in order, and returns what all their lives came to.
    pub(crate) async fn stop(mut self) -> Result<Lives, Failure> {
        self.stop.send_replace(true);
        let mut all = Lives::default();
        while let Some(lives) = self.slots.join_next().await {
            let lives = lives??;
            all.kills += lives.kills;
            all.pruned += lives.pruned;
            all.sends.add(lives.sends);
        }
        Ok(all)
    }
}

/// One relay, life after life.
struct Slot {
    command: Arc<dyn Fn() -> Command + Send + Sync>,
    log: PathBuf,
    rng: Rng,
    lives: Lives,
}

impl Slot {
    async fn run(mut self, until: Instant, mut stop: watch::Receiver<bool>) -> Result<Lives, Failure> {
        while Instant::now() < until {
            let mut relay = Process::spawn((self.command)());
            let life = millis(&mut self.rng, LIFE);
            let end = after_calm(Instant::now() + life, until);
            if timeout_at(end, relay.ended()).await.is_ok() {
                // By itself: ClickHouse or the database did not answer when it started.
                relay.wait().await;
                sleep(AGAIN).await;
            } else {
                if self.rng.u8(..100) < SUSPENDED {
                    let suspension = if self.rng.bool() { SHORT_SUSPENSION } else { LONG_SUSPENSION };
                    suspend(&relay, millis(&mut self.rng, suspension)).await;
                    // It wakes up and goes on with what it was about, under a lease that is gone.
                    sleep(life / 2).await;
                }
                relay.kill9().await;
                self.lives.kills += 1;
            }
            self.buried(&relay)?;
        }
        // From here on nobody harms it.
        loop {
            let mut relay = Process::spawn((self.command)());
            let stopped = tokio::select! {
                _ = stop.wait_for(|stop| *stop) => true,
                _ = relay.ended() => false,
            };
            if stopped {
                relay.terminate().await;
            } else {
                relay.wait().await;
                sleep(AGAIN).await;
            }
            self.buried(&relay)?;
            if stopped {
                return Ok(self.lives);
            }
        }
    }

    fn buried(&mut self, relay: &Process) -> Result<(), Failure> {
        let lines = relay.output();
        self.lives.sends.read(lines.iter().map(String::as_str));
        self.lives.pruned += lines.iter().map(|line| pruned(line)).sum::<u64>();
        let mut log = File::options().create(true).append(true).open(&self.log)?;
        lines.iter().try_for_each(|line| writeln!(log, "{line}"))?;
        Ok(())
    }
}

/// What a line of the log says about pruning.
fn pruned(line: &str) -> u64 {
    let line = Some(line).filter(|line| line.contains("\"pruned\":"));
    let line: Option<serde_json::Value> = line.and_then(|line| serde_json::from_str(line).ok());
    line.and_then(|line| line.get("pruned")?.as_u64()).unwrap_or(0)
}

/// SIGSTOP, a while, SIGCONT.
async fn suspend(relay: &Process, time: Duration) {
    let Some(pid) = relay.id().and_then(|id| Pid::from_raw(i32::try_from(id).ok()?)) else { return };
    // Both fail only for a process that is gone.
    let _ = kill_process(pid, Signal::STOP);
    sleep(time).await;
    let _ = kill_process(pid, Signal::CONT);
}
