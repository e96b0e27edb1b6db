//! Processes that do the same work in turns, and what each costs.

use std::process::Stdio;

use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader, Lines};
use tokio::process::{Child, ChildStdin, ChildStdout, Command};

use crate::place::Place;
use crate::roles::{DONE, Done, READY, Role};
use crate::{Result, cpu, memory};

/// What one measurement has found.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Ran {
    pub(crate) events: f64,
    pub(crate) seconds: f64,
    /// CPU seconds of the database's processes, of ClickHouse, and of those that were measured.
    pub(crate) database: f64,
    pub(crate) clickhouse: f64,
    pub(crate) own: f64,
    pub(crate) wal: f64,
    pub(crate) dead: f64,
    pub(crate) allocations: f64,
    /// The most memory that one of those that were measured had, in MiB.
    pub(crate) memory: f64,
}

impl Ran {
    pub(crate) fn rate(&self) -> f64 {
        self.events / self.seconds
    }

    pub(crate) fn per_million(&self, cpu: f64) -> f64 {
        cpu / self.events * 1e6
    }

    pub(crate) fn cpu(&self) -> f64 {
        self.database + self.clickhouse + self.own
    }
}

/// A process that plays a role, ready to begin.
struct Player {
    child: Child,
    input: ChildStdin,
    output: Lines<BufReader<ChildStdout>>,
}

impl Player {
    async fn ready(role: &Role) -> Result<Self> {
        let mut command = Command::new(std::env::current_exe()?);
        command.args(["--role", &serde_json::to_string(role)?]);
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).kill_on_drop(true).spawn()?;
        let (Some(input), Some(output)) = (child.stdin.take(), child.stdout.take()) else {
            return Err("a child without pipes".into());
        };
        let mut player = Self { child, input, output: BufReader::new(output).lines() };
        player.hear(READY).await?;
        Ok(player)
    }

    async fn go(&mut self) -> Result<()> {
        Ok(self.input.write_all(b"go\n").await?)
    }

    async fn done(&mut self) -> Result<Done> {
        Ok(serde_json::from_str(&self.hear(DONE).await?)?)
    }

    /// What follows `word` on its line.
    async fn hear(&mut self, word: &str) -> Result<String> {
        match self.output.next_line().await? {
            Some(line) => Ok(line.strip_prefix(word).ok_or_else(|| format!("expected {word}: {line}"))?.to_owned()),
            None => Err("a process that was measured has ended early: its error is above".into()),
        }
    }

    fn cpu(&self) -> f64 {
        self.child.id().map_or(0.0, cpu::seconds)
    }

    fn memory(&self) -> f64 {
        self.child.id().and_then(memory::peak).unwrap_or(f64::NAN)
    }

    async fn end(mut self) -> Result<()> {
        drop(self.input);
        self.child.wait().await?;
        Ok(())
    }
}

/// What is counted beside the players.
struct Meters {
    database: f64,
    clickhouse: f64,
}

impl Meters {
    fn read(database: Option<u32>, place: &Place) -> Self {
        let seconds = |process: Option<u32>| process.map_or(0.0, cpu::seconds);
        Self { database: seconds(database), clickhouse: seconds(place.clickhouse.process()) }
    }
}

/// Lets the roles play at once, over PostgreSQL.
pub(crate) async fn run(place: &Place, roles: &[Role]) -> Result<Ran> {
    let (wal, dead) = (place.wal().await?, place.dead().await?);
    let mut ran = run_over(place, place.postgres.process(), roles).await?;
    // A backend says what it has done when it ends, which is a moment after its client has.
    place.alone().await?;
    ran.wal = place.wal().await? - wal;
    ran.dead = place.dead().await? - dead;
    Ok(ran)
}

/// Lets the roles play at once, over the database with this process.
pub(crate) async fn run_over(place: &Place, database: Option<u32>, roles: &[Role]) -> Result<Ran> {
    let mut players = Vec::new();
    for role in roles {
        players.push(Player::ready(role).await?);
    }
    let before = Meters::read(database, place);
    let own: f64 = players.iter().map(Player::cpu).sum();
    for player in &mut players {
        player.go().await?;
    }
    let mut ran = Ran::default();
    for player in &mut players {
        let done = player.done().await?;
        ran.events += done.events as f64;
        ran.allocations += done.allocations as f64;
        ran.seconds = ran.seconds.max(done.seconds);
    }
    ran.own = players.iter().map(Player::cpu).sum::<f64>() - own;
    ran.memory = players.iter().map(Player::memory).fold(0.0, f64::max);
    for player in players {
        player.end().await?;
    }
    let after = Meters::read(database, place);
    ran.database = after.database - before.database;
    ran.clickhouse = after.clickhouse - before.clickhouse;
    Ok(ran)
}
