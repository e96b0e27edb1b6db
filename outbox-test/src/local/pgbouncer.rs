//! A PgBouncer of our own, in transaction mode, that takes another server connection for every transaction.

use std::fs;
use std::path::PathBuf;
use std::process::Command;

use super::{Error, Held, ServerDir, free_port, wait_ready};

const NAME: &str = "PgBouncer";
/// How often a start is tried when another process took the port first.
const STARTS_MAX: u32 = 3;

/// What it takes to start one.
#[derive(Clone, Debug)]
pub(crate) struct PgBouncerPrograms {
    /// `pgbouncer`.
    pub(crate) server: PathBuf,
    /// The executable of `sup`.
    pub(crate) sup: PathBuf,
}

/// A pooler in front of the databases of one PostgreSQL server.
#[derive(Debug)]
pub(crate) struct PgBouncer {
    // Before `dir`: fields drop in this order, and the server goes first.
    _process: Held,
    port: u16,
    _dir: ServerDir,
}

impl PgBouncer {
    /// Starts one on a port of its own. `server` is how it connects: `host=.. port=.. user=..`.
    pub(crate) fn start(programs: &PgBouncerPrograms, server: &str) -> Result<Self, Error> {
        for start in 1.. {
            match Self::start_at(programs, server, free_port()) {
                Err(Error::Ended { .. }) if start < STARTS_MAX => {}
                result => return result,
            }
        }
        unreachable!("the last start returns")
    }

    fn start_at(programs: &PgBouncerPrograms, server: &str, port: u16) -> Result<Self, Error> {
        let dir = ServerDir::create("pgbouncer")?;
        let settings = dir.write("pgbouncer.ini", &settings(server, port))?;
        let mut command = Command::new(&programs.sup);
        command.args(["--signal", "TERM", "--"]).arg(&programs.server).arg(settings).current_dir(dir.path());
        let log = dir.path().join("pgbouncer.log");
        let mut process = Held::spawn(&mut command, &log)?;
        // It says so when it listens; a port that answers may be a stranger's.
        let is_up = || fs::read_to_string(&log).is_ok_and(|text| text.contains("process up"));
        wait_ready(NAME, &mut process, &log, is_up)?;
        Ok(Self { _process: process, port, _dir: dir })
    }

    /// Where it listens, on 127.0.0.1.
    pub(crate) fn port(&self) -> u16 {
        self.port
    }
}

fn settings(server: &str, port: u16) -> String {
    format!(
        "[databases]\n\
         * = {server}\n\
         [pgbouncer]\n\
         listen_addr = 127.0.0.1\n\
         listen_port = {port}\n\
         unix_socket_dir =\n\
         auth_type = any\n\
         pool_mode = transaction\n\
         default_pool_size = 6\n\
         max_client_conn = 200\n\
         ; Each transaction on another connection: what relies on a session fails at once, and not now and then.\n\
         server_round_robin = 1\n"
    )
}
