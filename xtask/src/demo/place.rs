//! Where a demo takes place: its servers, its databases, its files, and the settings that tell the programs.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{SystemTime, UNIX_EPOCH};
use std::{env, fs, process};

use super::{Database, client};
use crate::cargo::bin_dir;
use crate::error::{Error, Result};
use crate::interrupt::foreground;
use crate::local::Endpoint;
use crate::stack::{Origin, Running, Service, Stack};

/// Removes what it made on drop, unless it is to be kept.
pub(super) struct Place {
    stack: Stack,
    bin: PathBuf,
    dir: PathBuf,
    /// Of the database in ClickHouse, and on the service's own server.
    name: String,
    clickhouse: Endpoint,
    env: Vec<(&'static str, String)>,
    keep: bool,
}

impl Place {
    pub(super) fn prepare(database: Database, keep: bool) -> Result<Self> {
        let services: &[Service] = match database {
            Database::Sqlite => &[Service::ClickHouse],
            Database::Postgres => &[Service::Postgres, Service::ClickHouse],
            Database::MySql => &[Service::MySql, Service::ClickHouse],
        };
        let bin = bin_dir()?;
        let stack = Stack::up(services)?;
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
        let name = format!("outbox_demo_{since}_{}", process::id());
        // Beside the build's output: on the same disk, and swept by `cargo clean`.
        let dir = bin.parent().unwrap_or(Path::new("/tmp")).join("demo").join(&name);
        fs::create_dir_all(&dir).map_err(Error::io(dir.display().to_string()))?;

        let url = stack.get(Service::ClickHouse).map(|server| server.url.clone()).unwrap_or_default();
        let clickhouse = Endpoint::parse(&url)?;
        let mut place = Self { stack, bin, dir, name, clickhouse, env: Vec::new(), keep };
        place.clickhouse.query("default", &format!("CREATE DATABASE {}", place.name))?;
        let database_url = place.database_url()?;
        place.env = vec![
            ("DATABASE_URL", database_url),
            ("CLICKHOUSE_URL", place.clickhouse.url().to_owned()),
            ("CLICKHOUSE_DATABASE", place.name.clone()),
            ("OUTBOX_ENVIRONMENT", "demo".to_owned()),
            ("OUTBOX_CLICKHOUSE_CREATE_TABLE", "true".to_owned()),
            // So that what the killed relay held comes back soon.
            ("OUTBOX_LEASE", "2s".to_owned()),
        ];
        let login =
            [("CLICKHOUSE_USER", place.clickhouse.user()), ("CLICKHOUSE_PASSWORD", place.clickhouse.password())];
        let login = login.map(|(name, value)| value.map(|value| (name, value.to_owned())));
        place.env.extend(login.into_iter().flatten());
        Ok(place)
    }

    /// The command `outbox`, with its settings.
    pub(super) fn outbox(&self, args: &[&str]) -> Command {
        let mut command = self.command(&self.bin.join("outbox"));
        command.args(args);
        command
    }

    /// The example `users`, with its settings.
    pub(super) fn users(&self, verb: &str) -> Command {
        let mut command = self.command(&self.bin.join("examples/users"));
        command.arg(verb);
        command
    }

    fn command(&self, program: &Path) -> Command {
        let mut command = Command::new(program);
        // Only the demo's ClickHouse is meant. OUTBOX_* may be set, to try batch sizes and the like.
        for (name, _) in env::vars_os().filter(|(name, _)| name.to_string_lossy().starts_with("CLICKHOUSE_")) {
            command.env_remove(name);
        }
        command.envs(self.env.iter().map(|(name, value)| (name, value))).current_dir(&self.dir);
        command
    }

    /// Events in ClickHouse. None as long as there is no table.
    pub(super) fn delivered(&self) -> u64 {
        let count = self.clickhouse.query(&self.name, "SELECT count() FROM event_log");
        count.ok().and_then(|count| count.parse().ok()).unwrap_or(0)
    }

    pub(super) fn log(&self) -> PathBuf {
        self.dir.join("relay.log")
    }

    pub(super) fn describe(&self) -> String {
        let shown = self.env.iter().filter(|(name, _)| *name != "CLICKHOUSE_PASSWORD");
        let settings: Vec<String> = shown.map(|(name, value)| format!("{name}={value}")).collect();
        format!("{}, {} (^C stops the servers)", self.dir.display(), settings.join(" "))
    }

    fn database_url(&self) -> Result<String> {
        match self.server() {
            None => Ok(format!("sqlite://{}", self.dir.join("users.db").display())),
            Some(server) => {
                foreground(&mut self.statement(server, &format!("CREATE DATABASE {}", self.name))?)?;
                let (address, _) = server.url.rsplit_once('/').unwrap_or((&server.url, ""));
                Ok(format!("{address}/{}", self.name))
            }
        }
    }

    /// Of the service's database, where it has one.
    fn server(&self) -> Option<&Running> {
        self.stack.get(Service::Postgres).or_else(|| self.stack.get(Service::MySql))
    }

    fn statement(&self, server: &Running, sql: &str) -> Result<Command> {
        client::statement(server, &self.stack.helpers, sql)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        if self.keep {
            return;
        }
        // Servers of our own go away with everything in them.
        let is_another = |server: &&Running| server.origin != Origin::Local;
        if self.stack.get(Service::ClickHouse).filter(is_another).is_some() {
            let _ = self.clickhouse.query("default", &format!("DROP DATABASE IF EXISTS {} SYNC", self.name));
        }
        if let Some(server) = self.server().filter(is_another) {
            let force = if server.service == Service::Postgres { " WITH (FORCE)" } else { "" };
            let drop = self.statement(server, &format!("DROP DATABASE IF EXISTS {}{force}", self.name));
            // Also after an interrupt.
            let _ = drop.map(|mut drop| drop.status());
        }
        let _ = fs::remove_dir_all(&self.dir);
    }
}
