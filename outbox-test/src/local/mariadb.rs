//! A MariaDB server of our own.

use std::fs;
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::Command;

use rustix::process::{Pid, Signal, kill_process};

use super::{Durability, Error, Held, NOBODY, ServerDir, free_port, is_root, wait_ready};

const NAME: &str = "MariaDB";
/// Bytes of log; the default writes 100 MB into every new data directory.
const LOG_FILE_SIZE: &str = "--innodb-log-file-size=8M";
/// How often a start is tried when another process took the port first.
const STARTS_MAX: u32 = 3;

/// What it takes to start one.
#[derive(Clone, Debug)]
pub(crate) struct MariaDbPrograms {
    /// `mariadbd`.
    pub(crate) server: PathBuf,
    /// `mariadb-install-db`.
    pub(crate) install: PathBuf,
    /// `mariadb`.
    pub(crate) client: PathBuf,
    /// The executable of `sup`.
    pub(crate) sup: PathBuf,
}

/// A server, with its data directory and its port, which outlive a crash.
#[derive(Debug)]
pub(crate) struct MariaDb {
    // Before `dir`: fields drop in this order, and the server goes first.
    process: Option<Held>,
    programs: MariaDbPrograms,
    durability: Durability,
    port: u16,
    dir: ServerDir,
}

impl MariaDb {
    /// Makes a data directory, starts a server on a port of its own and waits until it answers a query.
    pub(crate) fn start(programs: MariaDbPrograms, durability: Durability) -> Result<Self, Error> {
        let dir = ServerDir::create("mariadb")?;
        let data = dir.subdir("data")?;
        let mut install = Command::new(&programs.install);
        install.args(["--no-defaults", "--auth-root-authentication-method=normal", "--skip-test-db", LOG_FILE_SIZE]);
        install.arg(format!("--datadir={}", data.display())).current_dir(dir.path());
        if is_root() {
            install.uid(NOBODY).gid(NOBODY);
        }
        let program = programs.install.display().to_string();
        let output = install.output().map_err(Error::io(program.clone()))?;
        if !output.status.success() {
            let text = [output.stdout, output.stderr].concat();
            let output_text = String::from_utf8_lossy(&text).trim().to_owned();
            return Err(Error::Program { program, status: output.status, output: output_text });
        }
        let mut server = Self { process: None, programs, durability, port: free_port(), dir };
        for start in 1.. {
            match server.restart() {
                Err(Error::Ended { .. }) if start < STARTS_MAX => server.port = free_port(),
                result => return result.map(|()| server),
            }
        }
        unreachable!("the last start returns")
    }

    /// The server's URL, as root, without a password, with a database that is always there.
    pub(crate) fn url(&self) -> String {
        format!("mysql://root@127.0.0.1:{}/mysql", self.port)
    }

    /// SIGKILL, and reaped: what it had not written to its files is gone.
    pub(crate) fn kill(&mut self) {
        let Some(mut process) = self.process.take() else { return };
        if let Some(pid) = self.pid() {
            // Fails only for a process that is gone.
            let _ = kill_process(pid, Signal::KILL);
            // `sup` ends when its server has, and reaps it: the next start finds no lock.
            process.wait_ended();
        }
    }

    /// The process whose descendants are the server. None while it is stopped.
    pub(crate) fn process(&self) -> Option<u32> {
        self.process.as_ref().map(Held::id)
    }

    /// An orderly stop.
    pub(crate) fn stop(&mut self) {
        self.process = None;
    }

    /// Starts it again with the same data on the same port; one that still runs is stopped first.
    pub(crate) fn restart(&mut self) -> Result<(), Error> {
        self.stop();
        let path = |name: &str| self.dir.path().join(name).display().to_string();
        // A killed server leaves its own behind.
        let _ = fs::remove_file(path("server.pid"));
        let mut command = Command::new(&self.programs.sup);
        command.args(["--signal", "TERM", "--"]).arg(&self.programs.server).arg("--no-defaults").args([
            format!("--datadir={}", path("data")),
            format!("--port={}", self.port),
            "--bind-address=127.0.0.1".to_owned(),
            // Relative to the data directory: a socket's path has a length limit that a long TMPDIR breaks.
            "--socket=server.sock".to_owned(),
            format!("--pid-file={}", path("server.pid")),
            LOG_FILE_SIZE.to_owned(),
            "--max-connections=300".to_owned(),
            // The one of a machine far from UTC: nothing may depend on it.
            "--default-time-zone=+05:45".to_owned(),
        ]);
        if self.durability == Durability::Fast {
            command.arg("--innodb-flush-log-at-trx-commit=0");
        }
        let log = self.dir.path().join("mariadb.log");
        let process = self.process.insert(Held::spawn(command.current_dir(self.dir.path()), &log)?);
        // Its data's place, because a stranger's server may have taken the port.
        let place = format!("{}/", path("data"));
        let answer = || {
            let mut client = Command::new(&self.programs.client);
            client.args(["--no-defaults", "--host=127.0.0.1", "--user=root", "--connect-timeout=5", "-N", "-B"]);
            client.arg(format!("--port={}", self.port)).args(["-e", "SELECT @@datadir"]).output()
        };
        wait_ready(NAME, process, &log, || {
            answer().is_ok_and(|output| String::from_utf8_lossy(&output.stdout).trim() == place)
        })
    }

    fn pid(&self) -> Option<Pid> {
        let text = fs::read_to_string(self.dir.path().join("server.pid")).ok()?;
        Pid::from_raw(text.trim().parse().ok()?)
    }
}
