//! One statement for the server that the demo's database is made on, by the server's own command line client.

use std::path::PathBuf;
use std::process::{Command, Stdio};

use crate::cargo::Helpers;
use crate::compose;
use crate::error::{Error, Missing, MissingList, Result};
use crate::programs::{find_postgres, in_path};
use crate::stack::{Origin, Running, Service};

/// The command that runs `sql` on `server`, which must be a database that tables live in.
pub(super) fn statement(server: &Running, helpers: &Helpers, sql: &str) -> Result<Command> {
    let mut command = match (server.service, server.origin) {
        (Service::MySql, Origin::Docker) => compose::mariadb(sql),
        (_, Origin::Docker) => compose::psql(sql),
        (Service::MySql, _) => mariadb(server, sql)?,
        _ => psql(server, helpers, sql)?,
    };
    command.stdin(Stdio::null());
    Ok(command)
}

fn psql(server: &Running, helpers: &Helpers, sql: &str) -> Result<Command> {
    let psql = find_postgres(helpers).map(|programs| programs.bin.join("psql")).or_else(|| in_path("psql"));
    let mut psql = Command::new(psql.ok_or_else(|| missing("psql", "postgresql-client"))?);
    psql.args(["-X", "-q", "-v", "ON_ERROR_STOP=1", "-d", &server.url, "-c", sql]);
    Ok(psql)
}

fn mariadb(server: &Running, sql: &str) -> Result<Command> {
    let client: Option<PathBuf> = in_path("mariadb").or_else(|| in_path("mysql"));
    let mut client = Command::new(client.ok_or_else(|| missing("mariadb", "mariadb-client"))?);
    let login = Login::of(&server.url).ok_or_else(|| Error::Setting {
        variable: server.service.variable(),
        problem: "expected mysql://user:password@host:port/database".into(),
    })?;
    client.args(["--no-defaults", "--protocol=tcp", "--host", login.host, "--port", login.port, "--user", login.user]);
    // Not an argument: those can be seen by every process.
    client.env("MYSQL_PWD", login.password).args(["-e", sql]);
    Ok(client)
}

fn missing(program: &str, package: &'static str) -> Error {
    let line = format!("no {program}, to make a database with: `apt-get install {package}`");
    Error::Missing(MissingList(vec![Missing { line, package: Some(package) }]))
}

/// What a MySQL URL says, as far as its client is told.
#[derive(Debug, PartialEq, Eq)]
struct Login<'u> {
    user: &'u str,
    password: &'u str,
    host: &'u str,
    port: &'u str,
}

impl<'u> Login<'u> {
    fn of(url: &'u str) -> Option<Self> {
        let (login, place) = url.strip_prefix("mysql://")?.rsplit_once('@')?;
        let (user, password) = login.split_once(':').unwrap_or((login, ""));
        let address = place.split_once('/').map_or(place, |(address, _)| address);
        let (host, port) = address.rsplit_once(':').unwrap_or((address, "3306"));
        Some(Self { user, password, host, port })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_url_says_who_and_where() {
        let login = |user, password, host, port| Some(Login { user, password, host, port });
        assert_eq!(Login::of("mysql://root@127.0.0.1:13306/mysql"), login("root", "", "127.0.0.1", "13306"));
        assert_eq!(Login::of("mysql://me:s@crt@db/x"), login("me", "s@crt", "db", "3306"));
        assert_eq!(Login::of("postgres://me@db/x"), None);
    }
}
