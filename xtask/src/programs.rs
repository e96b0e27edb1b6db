//! Finding the programs of the servers on this machine, and installing them where we may.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::{env, fs};

use crate::cargo::Helpers;
use crate::error::{Missing, MissingList, Result};
use crate::interrupt::{foreground, show};
use crate::libchdb;
use crate::local::{ClickHousePrograms, MariaDbPrograms, PostgresPrograms, is_root};
use crate::stack::Service;

/// The programs of every service that was asked for.
#[derive(Debug, Default)]
pub(crate) struct Programs {
    pub(crate) postgres: Option<PostgresPrograms>,
    pub(crate) mariadb: Option<MariaDbPrograms>,
    pub(crate) clickhouse: Option<ClickHousePrograms>,
}

impl Programs {
    /// Finds them, or installs what is missing when we are root, or says everything that is missing at once.
    pub(crate) fn provide(services: &[Service], pooler: Pooler, helpers: &Helpers) -> Result<Self> {
        let mut missing = missing(services, pooler);
        if is_root() && in_path("apt-get").is_some() && missing.iter().any(|missing| missing.package.is_some()) {
            install(missing.iter().filter_map(|missing| missing.package))?;
            missing = self::missing(services, pooler);
        }
        if !missing.is_empty() {
            return Err(crate::error::Error::Missing(MissingList(missing)));
        }
        let mut programs = Self::default();
        for service in services {
            match service {
                Service::Postgres => programs.postgres = find_postgres(helpers),
                Service::MySql => programs.mariadb = find_mariadb(helpers),
                Service::ClickHouse => programs.clickhouse = Some(clickhouse(helpers)?),
            }
        }
        Ok(programs)
    }
}

/// Whether PgBouncer is asked for, too. It is a program and no service: tests start one each.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Pooler {
    Needed,
    NotNeeded,
}

/// PgBouncer, if it is here.
pub(crate) fn find_pgbouncer() -> Option<PathBuf> {
    in_path("pgbouncer")
}

/// PostgreSQL's programs, if they are here.
pub(crate) fn find_postgres(helpers: &Helpers) -> Option<PostgresPrograms> {
    let complete = |bin: &PathBuf| ["initdb", "postgres", "psql"].iter().all(|program| bin.join(program).exists());
    // In PATH there may be links, or wrappers beside them: what counts is the directory that they come from.
    let linked = || Some(in_path("postgres")?.canonicalize().ok()?.parent()?.to_owned());
    let bin = linked().filter(complete).or_else(|| {
        let versions = fs::read_dir("/usr/lib/postgresql").ok()?.flatten();
        let mut bins: Vec<PathBuf> = versions.map(|version| version.path().join("bin")).filter(complete).collect();
        bins.sort_by_key(|bin| major_version(bin));
        bins.pop()
    })?;
    Some(PostgresPrograms { bin, sup: helpers.sup.clone() })
}

fn major_version(bin: &Path) -> Option<u32> {
    bin.parent()?.file_name()?.to_str()?.parse().ok()
}

/// MariaDB's programs, if they are here.
pub(crate) fn find_mariadb(helpers: &Helpers) -> Option<MariaDbPrograms> {
    Some(MariaDbPrograms {
        server: in_path("mariadbd")?,
        install: in_path("mariadb-install-db")?,
        client: in_path("mariadb")?,
        sup: helpers.sup.clone(),
    })
}

/// ClickHouse's, fetched if need be.
pub(crate) fn clickhouse(helpers: &Helpers) -> Result<ClickHousePrograms> {
    Ok(ClickHousePrograms { launcher: helpers.chd.clone(), library: libchdb::ensure()? })
}

/// What is not here, in the services' order.
fn missing(services: &[Service], pooler: Pooler) -> Vec<Missing> {
    // To look, nothing is built.
    let helpers = Helpers { chd: PathBuf::new(), sup: PathBuf::new() };
    let lack = |what: &str, package, variable: &str| Missing {
        line: format!("no {what}: `apt-get install {package}` (or start docker, or set {variable})"),
        package: Some(package),
    };
    let look = |service: &Service| match service {
        Service::Postgres if find_postgres(&helpers).is_none() => {
            Some(lack("PostgreSQL", "postgresql", service.variable()))
        }
        Service::MySql if find_mariadb(&helpers).is_none() => {
            Some(lack("MariaDB", "mariadb-server", service.variable()))
        }
        Service::ClickHouse => libchdb::obstacle(),
        _ => None,
    };
    let pgbouncer = (pooler == Pooler::Needed && find_pgbouncer().is_none())
        .then(|| Missing { line: "no PgBouncer: `apt-get install pgbouncer`".to_owned(), package: Some("pgbouncer") });
    services.iter().filter_map(look).chain(pgbouncer).collect()
}

fn install<'a>(packages: impl Iterator<Item = &'a str>) -> Result<()> {
    let apt = |args: &[&str]| {
        let mut command = Command::new("apt-get");
        command.args(args).env("DEBIAN_FRONTEND", "noninteractive").stdin(Stdio::null()).stdout(Stdio::null());
        // Debian's packages start a server of their own at once, except in single-user mode. Where that does not help,
        // it is in nobody's way: ours have their own data and ports.
        command.env("RUNLEVEL", "1");
        eprintln!("{}", show(&command));
        foreground(&mut command)
    };
    apt(&["update", "-qq"])?;
    let packages: Vec<&str> = packages.collect();
    apt(&[&["install", "-qq", "-y", "--no-install-recommends"], packages.as_slice()].concat())
}

/// A program in PATH, or where Debian puts servers.
pub(crate) fn in_path(program: &str) -> Option<PathBuf> {
    let path = env::var_os("PATH").unwrap_or_default();
    let dirs = env::split_paths(&path).chain(["/usr/local/sbin", "/usr/sbin", "/sbin"].map(PathBuf::from));
    dirs.map(|dir| dir.join(program)).find(|file| file.is_file())
}
