//! A PostgreSQL server of our own.

use std::fs;
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::Command;

use rustix::process::{Pid, Signal, kill_process};

use super::{Error, Held, NOBODY, ServerDir, free_port, is_root, wait_ready};

const NAME: &str = "PostgreSQL";
const STARTS_MAX: u32 = 3;

/// What it takes to start one.
#[derive(Clone, Debug)]
pub(crate) struct PostgresPrograms {
    /// The directory of `initdb`, `postgres` and `psql`.
    pub(crate) bin: PathBuf,
    /// The executable of `sup`.
    pub(crate) sup: PathBuf,
}

impl PostgresPrograms {
    /// Runs one statement and returns its rows, columns separated by `|`.
    pub(crate) fn psql(&self, url: &str, sql: &str) -> Result<String, Error> {
        let mut psql = Command::new(self.bin.join("psql"));
        psql.env("PGCONNECT_TIMEOUT", "5").args(["-X", "-q", "-A", "-t", "-v", "ON_ERROR_STOP=1"]);
        psql.args(["-d", url, "-c", sql]);
        output(&mut psql)
    }
}

/// What a server promises to keep.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Durability {
    /// PostgreSQL's defaults: a commit is on the disk.
    Durable,
    /// No fsync: quick, and worth nothing after a crash of the machine. For servers that only tests see.
    Fast,
}

/// A server, with its data directory and its port, which outlive a crash.
#[derive(Debug)]
pub(crate) struct Postgres {
    // Before `dir`: fields drop in this order, and the server goes first.
    process: Option<Held>,
    programs: PostgresPrograms,
    durability: Durability,
    port: u16,
    dir: ServerDir,
}

impl Postgres {
    /// Makes a cluster, starts it on a port of its own and waits until it answers a query.
    pub(crate) fn start(programs: PostgresPrograms, durability: Durability) -> Result<Self, Error> {
        let dir = ServerDir::create("postgres")?;
        let data = dir.subdir("data")?;
        let mut initdb = Command::new(programs.bin.join("initdb"));
        initdb.args(["--username=postgres", "--auth=trust", "--encoding=UTF8", "--locale=C", "--no-sync", "-D"]);
        initdb.arg(&data).current_dir(dir.path());
        if is_root() {
            initdb.uid(NOBODY).gid(NOBODY);
        }
        output(&mut initdb)?;
        let mut server = Self { process: None, programs, durability, port: free_port(), dir };
        for start in 1.. {
            match server.restart() {
                Err(Error::Ended { .. }) if start < STARTS_MAX => server.port = free_port(),
                result => return result.map(|()| server),
            }
        }
        unreachable!("the last start returns")
    }

    /// The URL of the database `postgres`, as its superuser, without a password.
    pub(crate) fn url(&self) -> String {
        format!("postgres://postgres@127.0.0.1:{}/postgres", self.port)
    }

    /// What `pg_ctl stop -m immediate` does: no checkpoint, connections cut, recovery at the next start.
    pub(crate) fn stop_immediate(&mut self) {
        let Some(mut process) = self.process.take() else { return };
        if let Some(pid) = self.postmaster() {
            // Fails only for a process that is gone.
            let _ = kill_process(pid, Signal::QUIT);
            // `sup` ends when its server has: what is left is reaped, so that the next start finds no lock.
            process.wait_ended();
        }
    }

    /// The process whose descendants are the server. None while it is stopped.
    pub(crate) fn process(&self) -> Option<u32> {
        self.process.as_ref().map(Held::id)
    }

    /// An orderly stop ("fast": clients are disconnected).
    pub(crate) fn stop(&mut self) {
        self.process = None;
    }

    /// Starts it again with the same data on the same port; one that still runs is stopped first.
    pub(crate) fn restart(&mut self) -> Result<(), Error> {
        self.stop();
        let mut command = Command::new(&self.programs.sup);
        command.args(["--signal", "INT", "--"]).arg(self.programs.bin.join("postgres")).arg("-D");
        command.arg(self.dir.path().join("data")).args(["-p", &self.port.to_string()]);
        for setting in self.settings() {
            command.args(["-c", setting]);
        }
        command.current_dir(self.dir.path()).env("LC_ALL", "C");
        let log = self.dir.path().join("postgres.log");
        let process = self.process.insert(Held::spawn(&mut command, &log)?);
        let url = format!("postgres://postgres@127.0.0.1:{}/postgres", self.port);
        // Its data's place, because a stranger's server may have taken the port.
        let place = self.dir.path().join("data").display().to_string();
        let answer = || self.programs.psql(&url, "SHOW data_directory");
        wait_ready(NAME, process, &log, || answer().is_ok_and(|path| path == place))
    }

    fn settings(&self) -> Vec<&'static str> {
        let mut settings = vec![
            "listen_addresses=127.0.0.1",
            // TCP only: a socket's path has a length limit that a long TMPDIR breaks.
            "unix_socket_directories=",
            "max_connections=300",
            "wal_level=logical",
            "max_prepared_transactions=100",
        ];
        if self.durability == Durability::Fast {
            settings.extend(["fsync=off", "synchronous_commit=off", "full_page_writes=off"]);
        }
        settings
    }

    fn postmaster(&self) -> Option<Pid> {
        let text = fs::read_to_string(self.dir.path().join("data/postmaster.pid")).ok()?;
        Pid::from_raw(text.lines().next()?.trim().parse().ok()?)
    }
}

/// Runs a program to its end and returns what it printed, less the last line's end.
fn output(command: &mut Command) -> Result<String, Error> {
    let program = command.get_program().display().to_string();
    let output = command.env("LC_ALL", "C").output().map_err(Error::io(program.clone()))?;
    if !output.status.success() {
        let text = String::from_utf8_lossy(&output.stderr).trim().to_owned();
        return Err(Error::Program { program, status: output.status, output: text });
    }
    let text = String::from_utf8_lossy(&output.stdout);
    Ok(text.strip_suffix('\n').unwrap_or(&text).to_owned())
}
