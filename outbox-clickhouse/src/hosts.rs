//! The servers that the settings name: which one to ask, and which one a part has to go back to.
//!
//! The `clickhouse` crate's own connector has no connect timeout and leaves Nagle's algorithm on, which costs 40 ms per insert
//! of two chunks or more (measured: 44 ms against 1.8 ms): so the connector is one of our own.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use clickhouse::{Client, Compression};
use hyper_util::client::legacy;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use outbox_core::{SinkError, SinkErrorKind};

use crate::guard::Guard;
use crate::server::Server;
use crate::settings::Compression as Chosen;
use crate::{ClickHouseSettings, tls};

const KEEPALIVE: Duration = Duration::from_secs(60);

/// Below the server's `keep_alive_timeout` (3 s in its shipped configuration): a pooled connection that the server has
/// closed costs a failed insert.
const POOL_IDLE: Duration = Duration::from_secs(2);

/// The servers. Clones share the connections, and the knowledge which one answered last.
#[derive(Clone)]
pub(crate) struct Hosts {
    servers: Arc<[Server]>,
    good: Arc<AtomicUsize>,
}

impl Hosts {
    pub(crate) fn new(settings: ClickHouseSettings) -> Self {
        let settings = Arc::new(settings);
        let (client, broken) = client(&settings);
        let scheme = if settings.secure { "https" } else { "http" };
        let server = |address: String| Server {
            client: client.clone().with_url(format!("{scheme}://{address}")),
            address: address.into(),
            settings: Arc::clone(&settings),
            broken: broken.clone(),
        };
        Self { servers: settings.addresses().into_iter().map(server).collect(), good: Arc::default() }
    }

    /// A client whose unqualified names are in the settings' database.
    pub(crate) fn reader(settings: &ClickHouseSettings) -> Client {
        Self::new(settings.clone()).first().client.clone().with_database(settings.database.as_str())
    }

    pub(crate) fn settings(&self) -> &ClickHouseSettings {
        &self.servers[0].settings
    }

    fn first(&self) -> &Server {
        &self.servers[0]
    }

    /// All servers, the one that answered last first.
    pub(crate) fn in_order(&self) -> impl Iterator<Item = &Server> {
        let good = self.good.load(Ordering::Relaxed) % self.servers.len();
        self.servers[good..].iter().chain(&self.servers[..good])
    }

    /// The server that answered last.
    pub(crate) fn preferred(&self) -> &Server {
        self.in_order().next().unwrap_or(&self.servers[0])
    }

    /// Asked first from now on.
    pub(crate) fn prefer(&self, server: &Server) {
        if let Some(at) = self.servers.iter().position(|known| known.address == server.address) {
            self.good.store(at, Ordering::Relaxed);
        }
    }

    /// Another one is asked first from now on, if there is one.
    pub(crate) fn avoid(&self, server: &Server) {
        if let Some(at) = self.servers.iter().position(|known| known.address == server.address) {
            // Only if it is the preferred one still: two failures at once must not come back to it.
            let next = (at + 1) % self.servers.len();
            let _ = self.good.compare_exchange(at, next, Ordering::Relaxed, Ordering::Relaxed);
        }
    }

    /// The server that a part was sent to, or may be sent to: `None` in the statement means any.
    ///
    /// # Errors
    /// When the part belongs to a host that the settings do not name any more.
    pub(crate) fn of_part(&self, operation: &'static str, host: Option<&str>) -> Result<&Server, SinkError> {
        let Some(host) = host else { return Ok(self.preferred()) };
        if let Some(server) = self.servers.iter().find(|server| &*server.address == host) {
            return Ok(server);
        }
        // The only host there is, under a new name perhaps: whether it is the same server, its start tells.
        if let [only] = &*self.servers {
            return Ok(only);
        }
        let message = format!(
            "the part was first sent to {host}, whose table alone remembers its token: name that host in {} again",
            ClickHouseSettings::ADDRESS_VARS
        );
        Err(SinkError::stop(operation, message))
    }

    /// What `error` means where a part has one host and there are others: those can go on.
    pub(crate) fn blame(&self, server: &Server, pinned: bool, error: SinkError) -> SinkError {
        if is_host_at_fault(&error) {
            self.avoid(server);
        }
        if pinned && self.servers.len() > 1 && is_unreachable(&error) {
            return error.with_kind(SinkErrorKind::Environment);
        }
        error
    }
}

/// Nothing was sent: there was no connection.
pub(crate) fn is_unreachable(error: &SinkError) -> bool {
    let source = std::error::Error::source(error);
    source.and_then(|source| source.downcast_ref::<legacy::Error>()).is_some_and(legacy::Error::is_connect)
}

/// Another host may do better: this one does not answer, or has too much to do, or has lost its Keeper.
fn is_host_at_fault(error: &SinkError) -> bool {
    match error.code() {
        None => error.kind() == SinkErrorKind::Unknown,
        Some(code) => matches!(code, 202 | 203 | 241 | 242 | 243 | 252 | 999),
    }
}

/// The client of every server, less its address; and why it cannot work, if so.
fn client(settings: &ClickHouseSettings) -> (Client, Option<Arc<str>>) {
    let mut connector = HttpConnector::new();
    connector.set_nodelay(true);
    connector.set_connect_timeout(Some(settings.connect_timeout));
    connector.set_keepalive(Some(KEEPALIVE));
    let mut builder = legacy::Client::builder(TokioExecutor::new());
    builder.pool_idle_timeout(POOL_IDLE);
    let (client, broken) = match settings.secure {
        false => (Client::with_http_client(builder.build(Guard(connector))), None),
        true => tls::client(&builder, connector, settings),
    };
    // No database in the URL: names are always qualified, and a missing one shall not fail every question.
    let mut client = client
        .with_user(settings.user.as_str())
        .with_password(settings.password_text())
        .with_compression(match settings.compression {
            Chosen::None => Compression::None,
            Chosen::Lz4 => Compression::Lz4,
            Chosen::Zstd => Compression::zstd(),
        })
        // A profile that turns it on would make old answers out of questions about what is there now.
        .with_setting("use_query_cache", "0")
        .with_product_info("outbox", env!("CARGO_PKG_VERSION"));
    if let Some(role) = &settings.role {
        // Not `with_roles`, which reaches questions only.
        client = client.with_setting("role", role.as_str());
    }
    (client, broken)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hosts(names: &[&str]) -> Hosts {
        Hosts::new(ClickHouseSettings::new().hosts(names).expect("hosts"))
    }

    #[test]
    fn the_host_that_failed_goes_last_and_the_one_that_answered_stays_first() {
        let hosts = hosts(&["a", "b", "c:9"]);
        let order = || hosts.in_order().map(|server| server.address.to_string()).collect::<Vec<_>>();
        assert_eq!(order(), ["a:8123", "b:8123", "c:9"]);
        let first = hosts.preferred().clone();
        hosts.avoid(&first);
        hosts.avoid(&first);
        assert_eq!(order(), ["b:8123", "c:9", "a:8123"], "two failures of one host are one step");
        let last = hosts.in_order().last().expect("three").clone();
        hosts.prefer(&last);
        assert_eq!(order()[0], "a:8123");
    }

    #[test]
    fn a_part_goes_back_to_its_host_and_to_no_other() {
        let several = hosts(&["a", "b"]);
        assert_eq!(
            &*several.of_part("deliver", Some("b:8123")).map_err(|e| e.to_string()).expect("known").address,
            "b:8123"
        );
        let gone = several.of_part("deliver", Some("old:8123")).map(|_| ()).expect_err("not named any more");
        assert_eq!(gone.kind(), SinkErrorKind::Stop);
        assert!(gone.to_string().contains("old:8123"), "{gone}");
        let only = hosts(&["new"]);
        assert!(only.of_part("deliver", Some("old:8123")).is_ok(), "the only host may have a new name");
    }
}
