//! A ClickHouse server of our own, out of `libchdb.so` by way of the launcher `chd`.

use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::thread;
use std::time::Duration;

use super::{Endpoint, Error, Held, ServerDir, free_port, wait_ready};

const NAME: &str = "ClickHouse";
/// The user of a server with a password.
const USER: &str = "outbox";
/// One of the same password who may only read.
pub(crate) const READER: &str = "outbox_reader";
/// One of the same password who may do what a sink does with a table that is there, and nothing else.
pub(crate) const WRITER: &str = "outbox_writer";
/// How often a start is tried when another process took the port first.
const STARTS_MAX: u32 = 3;
/// Between two looks at whether the server is still there.
const WATCH: Duration = Duration::from_millis(50);
/// SIGABRT.
const ABORTED: i32 = 6;

/// What it takes to start one.
#[derive(Clone, Debug)]
pub(crate) struct ClickHousePrograms {
    /// The executable of `chd`.
    pub(crate) launcher: PathBuf,
    /// `libchdb.so`.
    pub(crate) library: PathBuf,
}

/// A server, with its data directory and its port, which outlive a crash.
///
/// It is started again when it aborts by itself, as a service manager would: version 26.7 does so, rarely, when a client is
/// killed at the moment of its answer (an uncaught "Broken pipe").
#[derive(Debug)]
pub(crate) struct ClickHouse {
    // Before `dir`: fields drop in this order, and the server goes first.
    process: Arc<Mutex<Option<Held>>>,
    programs: ClickHousePrograms,
    endpoint: Endpoint,
    tcp: u16,
    config: Config,
    // Before `dir`, which cannot go while something is mounted in it.
    _disk: Option<SmallDisk>,
    dir: ServerDir,
}

/// What is in the configuration beside ports and paths.
#[derive(Clone, Debug, Default)]
pub(crate) struct Config {
    /// Who may log in beside `default`.
    pub(crate) password: Option<String>,
    /// The size of a disk of its own for the data, in MiB.
    pub(crate) disk_mib: Option<u32>,
    /// Whether every query is written into `system.query_log`.
    pub(crate) query_log: bool,
    /// The native ports of the shards of the cluster [`CLUSTER`].
    pub(crate) shards: Vec<u16>,
}

/// The cluster that [`ClickHouse::join`] makes.
pub(crate) const CLUSTER: &str = "outbox_shards";

/// What starts a server again.
struct Restart {
    programs: ClickHousePrograms,
    config: PathBuf,
    log: PathBuf,
}

impl Restart {
    fn spawn(&self) -> Result<Held, Error> {
        let mut command = Command::new(&self.programs.launcher);
        command.arg(&self.programs.library).arg(&self.config);
        Held::spawn(&mut command, &self.log)
    }

    /// Ends with the server's owner.
    fn watch(self, process: &Weak<Mutex<Option<Held>>>) {
        while let Some(process) = process.upgrade() {
            let mut slot = lock(&process);
            if slot.as_mut().and_then(Held::ended).is_some_and(aborted) {
                // A failure is the next query's: nobody listens.
                *slot = self.spawn().ok();
            }
            drop(slot);
            drop(process);
            thread::sleep(WATCH);
        }
    }
}

fn aborted(status: ExitStatus) -> bool {
    status.signal() == Some(ABORTED)
}

fn lock(process: &Mutex<Option<Held>>) -> MutexGuard<'_, Option<Held>> {
    process.lock().unwrap_or_else(PoisonError::into_inner)
}

impl ClickHouse {
    /// Starts a server on a port of its own and waits until it answers a query. Without a password anyone on this
    /// machine may use it as `default`; with one there is the user `outbox`, too.
    pub(crate) fn start(programs: ClickHousePrograms, config: &Config) -> Result<Self, Error> {
        for start in 1.. {
            let (http, tcp) = (free_port(), free_port());
            let dir = ServerDir::create("clickhouse")?;
            let disk = config.disk_mib.map(|mib| SmallDisk::mount(&dir.subdir("data")?, mib)).transpose()?;
            dir.subdir("data")?;
            let mut endpoint = Endpoint::parse(&format!("http://127.0.0.1:{http}"))?;
            if let Some(password) = &config.password {
                endpoint = endpoint.with_login(USER, password);
            }
            let (programs, config) = (programs.clone(), config.clone());
            let mut server = Self { process: Arc::default(), programs, endpoint, tcp, config, _disk: disk, dir };
            server.write_config()?;
            match server.restart() {
                Err(Error::Ended { .. }) if start < STARTS_MAX => {}
                result => {
                    result?;
                    let (restart, process) = (server.restart_command(), Arc::downgrade(&server.process));
                    thread::spawn(move || restart.watch(&process));
                    return Ok(server);
                }
            }
        }
        unreachable!("the last start returns")
    }

    /// Makes these servers the shards of one cluster, and starts them again.
    pub(crate) fn join(servers: &mut [Self]) -> Result<(), Error> {
        let shards: Vec<u16> = servers.iter().map(|server| server.tcp).collect();
        for server in servers {
            server.config.shards.clone_from(&shards);
            server.write_config()?;
            server.restart()?;
        }
        Ok(())
    }

    fn write_config(&self) -> Result<(), Error> {
        let http = self.endpoint.url().rsplit_once(':').and_then(|(_, port)| port.parse().ok()).unwrap_or_default();
        write_config(&self.dir, http, self.tcp, &self.config)
    }

    pub(crate) fn endpoint(&self) -> &Endpoint {
        &self.endpoint
    }

    /// The server's process. None while it is stopped.
    pub(crate) fn process(&self) -> Option<u32> {
        lock(&self.process).as_ref().map(Held::id)
    }

    /// SIGKILL.
    pub(crate) fn kill(&mut self) {
        if let Some(mut process) = lock(&self.process).take() {
            process.kill();
        }
    }

    /// An orderly stop.
    pub(crate) fn stop(&mut self) {
        let process = lock(&self.process).take();
        drop(process);
    }

    fn restart_command(&self) -> Restart {
        let path = self.dir.path();
        Restart { programs: self.programs.clone(), config: path.join("config.xml"), log: path.join("chd.log") }
    }

    /// Starts it again with the same data on the same port; one that still runs is stopped first. One that aborts on its
    /// way up, because a client was killed, gets another chance.
    pub(crate) fn restart(&mut self) -> Result<(), Error> {
        self.stop();
        let restart = self.restart_command();
        // Not /ping, which answers before the tables are loaded, also when that then fails. Its data's place, because a
        // stranger's server may have taken the port.
        let place = format!("{}/", self.dir.path().join("data").display());
        let answer = || self.endpoint.query("default", "SELECT path FROM system.disks WHERE name = 'default'");
        let mut slot = lock(&self.process);
        for start in 1.. {
            let process = slot.insert(restart.spawn()?);
            match wait_ready(NAME, process, &restart.log, || answer().is_ok_and(|path| path == place)) {
                Err(Error::Ended { status, .. }) if aborted(status) && start < STARTS_MAX => {}
                result => return result,
            }
        }
        unreachable!("the last start returns")
    }
}

/// A file system in memory of a fixed size.
#[derive(Debug)]
struct SmallDisk(PathBuf);

impl SmallDisk {
    /// Only root may, and not everywhere.
    fn mount(at: &Path, mib: u32) -> Result<Self, Error> {
        let mut command = Command::new("mount");
        command.args(["-t", "tmpfs", "-o", &format!("size={mib}m,mode=0777"), "tmpfs"]).arg(at);
        let output = command.output().map_err(Error::io("mount"))?;
        match output.status.success() {
            true => Ok(Self(at.to_owned())),
            false => {
                let text = String::from_utf8_lossy(&output.stderr).trim().to_owned();
                Err(Error::Program { program: "mount".into(), status: output.status, output: text })
            }
        }
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        // Lazily: a killed server's threads may hold a file for a moment.
        let _ = Command::new("umount").arg("-l").arg(&self.0).status();
    }
}

impl Drop for ClickHouse {
    fn drop(&mut self) {
        // Its data goes, too; an orderly stop would wait for the idle connections of clients.
        self.kill();
    }
}

fn write_config(dir: &ServerDir, http: u16, tcp: u16, config: &Config) -> Result<(), Error> {
    let data = dir.subdir("data")?;
    let shard = |port: &u16| format!("<shard><replica><host>127.0.0.1</host><port>{port}</port></replica></shard>");
    let shards: String = config.shards.iter().map(shard).collect();
    let cluster = match shards.as_str() {
        "" => String::new(),
        shards => format!("<remote_servers><{CLUSTER}>{shards}</{CLUSTER}></remote_servers>"),
    };
    let users = match &config.password {
        Some(password) => {
            let path = dir.write("users.xml", &users(password))?;
            let path = xml(&path);
            format!("<user_directories><users_xml><path>{path}</path></users_xml></user_directories>")
        }
        None => String::new(),
    };
    let query_log = match config.query_log {
        true => "<query_log><database>system</database><table>query_log</table></query_log>",
        false => "",
    };
    // `<path>` comes first: the launcher takes the first one. The level is not where a server has it: this one would log
    // at level trace, tens of megabytes in a busy minute.
    let config = format!(
        "<clickhouse>
    <path>{data}/</path>
    <listen_host>127.0.0.1</listen_host>
    <http_port>{http}</http_port>
    <tcp_port>{tcp}</tcp_port>
    <log-level>warning</log-level>
    <logger><log>{log}</log></logger>
    {users}
    {cluster}
    {query_log}
</clickhouse>
",
        data = xml(&data),
        log = xml(&dir.path().join("server.log")),
    );
    dir.write("config.xml", &config).map(drop)
}

/// [`USER`] with this password, [`READER`] and [`WRITER`]. `default` stays open: the server itself logs in as `default` without a
/// password, as if from 127.0.0.1, and does not start when it may not.
fn users(password: &str) -> String {
    let password = escape(password);
    format!(
        "<clickhouse>
    <profiles><default/></profiles>
    <quotas><default/></quotas>
    <users>
        <default>
            <password></password>
            <networks><ip>127.0.0.1</ip></networks>
            <profile>default</profile>
            <quota>default</quota>
        </default>
        <{USER}>
            <password>{password}</password>
            <networks><ip>127.0.0.1</ip></networks>
            <profile>default</profile>
            <quota>default</quota>
        </{USER}>
        <{READER}>
            <password>{password}</password>
            <networks><ip>127.0.0.1</ip></networks>
            <profile>default</profile>
            <quota>default</quota>
            <grants><query>GRANT SELECT ON *.*</query></grants>
        </{READER}>
        <{WRITER}>
            <password>{password}</password>
            <networks><ip>127.0.0.1</ip></networks>
            <profile>default</profile>
            <quota>default</quota>
            <grants>
                <query>GRANT SELECT, INSERT ON outbox_test*.*</query>
                <query>GRANT SELECT ON system.merge_tree_settings</query>
                <query>GRANT SELECT ON system.replicated_merge_tree_settings</query>
                <query>GRANT SELECT ON system.parts</query>
                <query>GRANT SELECT ON system.processes</query>
            </grants>
        </{WRITER}>
    </users>
</clickhouse>
"
    )
}

fn xml(path: &Path) -> String {
    escape(&path.display().to_string())
}

fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}
