//! A MariaDB server of our own. Only `up` starts one so far.

use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::Command;

use crate::local::{Error, Held, NOBODY, ServerDir, free_port, is_root, wait_ready};

/// Bytes of log; the default writes 100 MB into every new data directory.
const LOG_FILE_SIZE: &str = "--innodb-log-file-size=8M";
const STARTS_MAX: u32 = 3;

/// What it takes to start one.
#[derive(Clone, Debug)]
pub(crate) struct MariaDbPrograms {
    pub(crate) server: PathBuf,
    pub(crate) install: PathBuf,
    pub(crate) client: PathBuf,
    pub(crate) sup: PathBuf,
}

/// A running server; dropping it stops it and removes its data.
#[derive(Debug)]
pub(crate) struct MariaDb {
    port: u16,
    // In the order of dropping.
    _process: Held,
    _dir: ServerDir,
}

impl MariaDb {
    pub(crate) fn start(programs: &MariaDbPrograms) -> Result<Self, Error> {
        let dir = ServerDir::create("mariadb")?;
        let data = dir.subdir("data")?;
        let mut install = Command::new(&programs.install);
        install.args(["--no-defaults", "--auth-root-authentication-method=normal", "--skip-test-db", LOG_FILE_SIZE]);
        install.arg(format!("--datadir={}", data.display())).current_dir(dir.path());
        if is_root() {
            install.uid(NOBODY).gid(NOBODY);
        }
        let name = programs.install.display().to_string();
        let output = install.output().map_err(Error::io(name.clone()))?;
        if !output.status.success() {
            let text = [output.stdout, output.stderr].concat();
            let output_text = String::from_utf8_lossy(&text).trim().to_owned();
            return Err(Error::Program { program: name, status: output.status, output: output_text });
        }
        for start in 1.. {
            match Self::spawn(programs, &dir) {
                Err(Error::Ended { .. }) if start < STARTS_MAX => {}
                result => return result.map(|(port, process)| Self { port, _process: process, _dir: dir }),
            }
        }
        unreachable!("the last start returns")
    }

    fn spawn(programs: &MariaDbPrograms, dir: &ServerDir) -> Result<(u16, Held), Error> {
        let port = free_port();
        let path = |name: &str| dir.path().join(name).display().to_string();
        let mut command = Command::new(&programs.sup);
        command.args(["--signal", "TERM", "--"]).arg(&programs.server).arg("--no-defaults").args([
            format!("--datadir={}", path("data")),
            format!("--port={port}"),
            "--bind-address=127.0.0.1".to_owned(),
            // Relative to the data directory: a socket's path has a length limit that a long TMPDIR breaks.
            "--socket=server.sock".to_owned(),
            format!("--pid-file={}", path("server.pid")),
            LOG_FILE_SIZE.to_owned(),
            "--innodb-flush-log-at-trx-commit=0".to_owned(),
            "--max-connections=300".to_owned(),
        ]);
        let log = dir.path().join("mariadb.log");
        let mut process = Held::spawn(command.current_dir(dir.path()), &log)?;
        // Its data's place, because a stranger's server may have taken the port.
        let place = format!("{}/", path("data"));
        let answer = || {
            let mut client = Command::new(&programs.client);
            client.args(["--no-defaults", "--host=127.0.0.1", "--user=root", "--connect-timeout=5", "-N", "-B"]);
            client.arg(format!("--port={port}")).args(["-e", "SELECT @@datadir"]).output()
        };
        wait_ready("MariaDB", &mut process, &log, || {
            answer().is_ok_and(|output| String::from_utf8_lossy(&output.stdout).trim() == place)
        })?;
        Ok((port, process))
    }

    /// The server's URL, as root, without a password, with a database that is always there.
    pub(crate) fn url(&self) -> String {
        format!("mysql://root@127.0.0.1:{}/mysql", self.port)
    }
}
