//! The servers of one run: where each comes from, and that they go away.

use std::thread;

use crate::cargo::{self, Helpers};
use crate::compose::{self, Containers};
use crate::error::{Error, Result};
use crate::local::{ClickHouse, Config, Durability, MariaDb, Postgres};
use crate::programs::{Pooler, Programs};

/// A kind of server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Service {
    Postgres,
    MySql,
    ClickHouse,
}

impl Service {
    pub(crate) const ALL: [Self; 3] = [Self::Postgres, Self::MySql, Self::ClickHouse];

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Postgres => "PostgreSQL",
            Self::MySql => "MariaDB",
            Self::ClickHouse => "ClickHouse",
        }
    }

    /// By which tests know the server; set by a person, it says to use that server.
    pub(crate) fn variable(self) -> &'static str {
        match self {
            Self::Postgres => "OUTBOX_TEST_POSTGRES_URL",
            Self::MySql => "OUTBOX_TEST_MYSQL_URL",
            Self::ClickHouse => "OUTBOX_TEST_CLICKHOUSE_URL",
        }
    }

    /// In `compose.yaml`.
    pub(crate) fn container(self) -> &'static str {
        match self {
            Self::Postgres => "postgres",
            Self::MySql => "mariadb",
            Self::ClickHouse => "clickhouse",
        }
    }

    /// Of the container: the ports and passwords are those of `compose.yaml`.
    fn container_url(self) -> &'static str {
        match self {
            Self::Postgres => "postgres://postgres:outbox@127.0.0.1:15432/postgres",
            Self::MySql => "mysql://root:outbox@127.0.0.1:13306/mysql",
            Self::ClickHouse => "http://default:outbox@127.0.0.1:18123",
        }
    }
}

/// Where a server comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Origin {
    Environment,
    Docker,
    Local,
}

/// A server that answers.
#[derive(Debug)]
pub(crate) struct Running {
    pub(crate) service: Service,
    pub(crate) origin: Origin,
    pub(crate) url: String,
    // Held for its drop.
    _server: Option<Server>,
}

#[derive(Debug)]
enum Server {
    Postgres(#[expect(dead_code, reason = "held for its drop")] Postgres),
    MySql(#[expect(dead_code, reason = "held for its drop")] MariaDb),
    ClickHouse(#[expect(dead_code, reason = "held for its drop")] ClickHouse),
}

/// The servers of one run. Dropping it stops what it started.
#[derive(Debug)]
pub(crate) struct Stack {
    pub(crate) servers: Vec<Running>,
    pub(crate) helpers: Helpers,
    _containers: Option<Containers>,
}

impl Stack {
    /// Brings them up: from the environment, docker compose or this machine, in this order, service by service.
    pub(crate) fn up(services: &[Service]) -> Result<Self> {
        Self::bring_up(services, Pooler::NotNeeded)
    }

    /// All servers, and every program that tests start by themselves.
    pub(crate) fn for_tests() -> Result<Self> {
        Self::bring_up(&Service::ALL, Pooler::Needed)
    }

    fn bring_up(services: &[Service], pooler: Pooler) -> Result<Self> {
        let helpers = cargo::helpers()?;
        let mut stack = Self { servers: Vec::new(), helpers, _containers: None };
        let mut rest = Vec::new();
        for &service in services {
            match std::env::var(service.variable()).ok().filter(|url| !url.is_empty()) {
                Some(url) => stack.servers.push(Running { service, origin: Origin::Environment, url, _server: None }),
                None => rest.push(service),
            }
        }
        let docker = !rest.is_empty() && docker_is_to_be_used()?;
        let programs = Programs::provide(if docker { &[] } else { &rest }, pooler, &stack.helpers)?;
        if docker {
            eprintln!("starting {} with docker compose", names(&rest));
            stack._containers = Some(Containers::up(&rest)?);
            let running = |service: Service| {
                let url = service.container_url().to_owned();
                Running { service, origin: Origin::Docker, url, _server: None }
            };
            stack.servers.extend(rest.into_iter().map(running));
        } else if !rest.is_empty() {
            eprintln!("starting {}", names(&rest));
            stack.servers.extend(start_all(&rest, &programs)?);
        }
        crate::interrupt::check()?;
        Ok(stack)
    }

    /// One of the servers that [`up`](Self::up) was asked for.
    pub(crate) fn get(&self, service: Service) -> Option<&Running> {
        self.servers.iter().find(|running| running.service == service)
    }

    /// What tests want to know: the URLs, and the programs for servers of their own, as far as this machine has them.
    pub(crate) fn env(&self) -> Vec<(&'static str, String)> {
        let urls = self.servers.iter().map(|running| (running.service.variable(), running.url.clone()));
        let mut env: Vec<_> = urls.collect();
        env.push(("OUTBOX_TEST_CHD", self.helpers.chd.display().to_string()));
        env.push(("OUTBOX_TEST_SUP", self.helpers.sup.display().to_string()));
        if let Some(postgres) = crate::programs::find_postgres(&self.helpers) {
            env.push(("OUTBOX_TEST_POSTGRES_BIN", postgres.bin.display().to_string()));
        }
        if let Some(pgbouncer) = crate::programs::find_pgbouncer() {
            env.push(("OUTBOX_TEST_PGBOUNCER", pgbouncer.display().to_string()));
        }
        if let Some(mariadb) = crate::programs::find_mariadb(&self.helpers) {
            let programs = [
                ("OUTBOX_TEST_MARIADBD", mariadb.server),
                ("OUTBOX_TEST_MARIADB_INSTALL_DB", mariadb.install),
                ("OUTBOX_TEST_MARIADB", mariadb.client),
            ];
            env.extend(programs.map(|(name, program)| (name, program.display().to_string())));
        }
        match crate::libchdb::obstacle() {
            Some(missing) => eprintln!("tests that crash a ClickHouse of their own will fail: {}", missing.line),
            None => match crate::libchdb::ensure() {
                Ok(library) => env.push(("OUTBOX_TEST_LIBCHDB", library.display().to_string())),
                Err(e) => eprintln!("tests that crash a ClickHouse of their own will fail: {e}"),
            },
        }
        env
    }
}

fn docker_is_to_be_used() -> Result<bool> {
    match std::env::var("XTASK_BACKEND").as_deref() {
        Ok("local") => Ok(false),
        Ok("docker") => Ok(true),
        Ok("") | Err(_) => Ok(compose::answers()),
        Ok(_) => Err(Error::Setting { variable: "XTASK_BACKEND", problem: "expected local or docker".into() }),
    }
}

fn names(services: &[Service]) -> String {
    services.iter().map(|service| service.name()).collect::<Vec<_>>().join(", ")
}

/// All at once: most of a start is waiting.
fn start_all(services: &[Service], programs: &Programs) -> Result<Vec<Running>> {
    let started: Vec<Result<Running>> = thread::scope(|scope| {
        let starts: Vec<_> = services.iter().map(|&service| scope.spawn(move || start(service, programs))).collect();
        starts.into_iter().map(|start| start.join().unwrap_or_else(|e| std::panic::resume_unwind(e))).collect()
    });
    started.into_iter().collect()
}

fn start(service: Service, programs: &Programs) -> Result<Running> {
    let (url, server) = match (service, programs) {
        (Service::Postgres, Programs { postgres: Some(programs), .. }) => {
            let server = Postgres::start(programs.clone(), Durability::Fast)?;
            (server.url(), Server::Postgres(server))
        }
        (Service::MySql, Programs { mariadb: Some(programs), .. }) => {
            let server = MariaDb::start(programs.clone(), Durability::Fast)?;
            (server.url(), Server::MySql(server))
        }
        (Service::ClickHouse, Programs { clickhouse: Some(programs), .. }) => {
            let server = ClickHouse::start(programs.clone(), &Config::default())?;
            (server.endpoint().url().to_owned(), Server::ClickHouse(server))
        }
        _ => unreachable!("the programs of every service were provided"),
    };
    Ok(Running { service, origin: Origin::Local, url, _server: Some(server) })
}
