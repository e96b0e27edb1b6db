//! What the sink has to know: where ClickHouse is, who asks, and which table events land in.

mod read;
mod vocabulary;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use outbox_core::VarError;
use secrecy::{ExposeSecret, SecretString};

use crate::TableName;
use crate::statement::{BODY_BYTES_MAX, ROWS_MAX};

pub(crate) use self::vocabulary::Host;
pub use self::vocabulary::{Compression, Delivery, EnsureTable};

const URL: &str = "CLICKHOUSE_URL";
const HOST: &str = "CLICKHOUSE_HOST";
const PORT: &str = "CLICKHOUSE_PORT";
const SECURE: &str = "CLICKHOUSE_SECURE";
const CA_FILE: &str = "CLICKHOUSE_CA_FILE";
const USER: &str = "CLICKHOUSE_USER";
const PASSWORD: &str = "CLICKHOUSE_PASSWORD";
const ROLE: &str = "CLICKHOUSE_ROLE";
const DATABASE: &str = "CLICKHOUSE_DATABASE";
const EVENT_LOG_TABLE: &str = "CLICKHOUSE_EVENT_LOG_TABLE";
const COMPRESSION: &str = "CLICKHOUSE_COMPRESSION";
const CONNECT_TIMEOUT: &str = "CLICKHOUSE_CONNECT_TIMEOUT";
const SEND_TIMEOUT: &str = "CLICKHOUSE_SEND_TIMEOUT";
const INSERT_TIMEOUT: &str = "CLICKHOUSE_INSERT_TIMEOUT";
const QUERY_TIMEOUT: &str = "CLICKHOUSE_QUERY_TIMEOUT";
const CREATE_TABLE: &str = "OUTBOX_CLICKHOUSE_CREATE_TABLE";
const CLUSTER: &str = "OUTBOX_CLICKHOUSE_CLUSTER";
const DELIVERY: &str = "OUTBOX_CLICKHOUSE_DELIVERY";
const INSERT_ROWS_MAX: &str = "OUTBOX_CLICKHOUSE_INSERT_ROWS_MAX";
const INSERT_BYTES_MAX: &str = "OUTBOX_CLICKHOUSE_INSERT_BYTES_MAX";
const INSERT_PARTITIONS_MAX: &str = "OUTBOX_CLICKHOUSE_INSERT_PARTITIONS_MAX";
const INSERT_SETTINGS: &str = "OUTBOX_CLICKHOUSE_INSERT_SETTINGS";

/// The table that events name when they name none, see [`EventLog::table`](outbox_core::EventLog::table).
pub(crate) const DEFAULT_EVENT_TABLE: &str = "event_log";

/// The port of the HTTP interface, and the one behind TLS.
const HTTP_PORT: u16 = 8123;
const HTTPS_PORT: u16 = 8443;

const NO_TLS: &str = "this build has no TLS: turn on the feature `tls` (of the facade: `clickhouse-tls`)";

/// The most partitions of an INSERT that can be asked for: each one is a file set of its own on the server.
pub(crate) const PARTITIONS_MAX: usize = 10_000;

/// Where ClickHouse is and how to write to it. `Debug` leaves the password out.
///
/// # Examples
/// ```
/// use outbox_clickhouse::ClickHouseSettings;
///
/// let settings = ClickHouseSettings::new().host("clickhouse.internal").database("analytics").password("hunter2");
/// assert!(!format!("{settings:?}").contains("hunter2"));
/// ```
#[derive(Clone, Debug)]
pub struct ClickHouseSettings {
    pub(crate) hosts: Vec<Host>,
    pub(crate) port: Option<u16>,
    pub(crate) secure: bool,
    pub(crate) ca_file: Option<PathBuf>,
    pub(crate) user: String,
    pub(crate) password: SecretString,
    pub(crate) role: Option<String>,
    pub(crate) database: String,
    pub(crate) event_log_table: String,
    pub(crate) compression: Compression,
    pub(crate) connect_timeout: Duration,
    pub(crate) send_timeout: Duration,
    pub(crate) insert_timeout: Duration,
    pub(crate) query_timeout: Duration,
    pub(crate) ensure: EnsureTable,
    pub(crate) cluster: Option<String>,
    pub(crate) delivery: Delivery,
    pub(crate) insert_rows_max: usize,
    pub(crate) insert_bytes_max: usize,
    pub(crate) insert_partitions_max: usize,
    pub(crate) insert_settings: BTreeMap<String, String>,
}

impl Default for ClickHouseSettings {
    fn default() -> Self {
        Self {
            hosts: vec![Host { name: "localhost".into(), port: None }],
            port: None,
            secure: false,
            ca_file: None,
            user: "default".into(),
            password: SecretString::default(),
            role: None,
            database: "default".into(),
            event_log_table: DEFAULT_EVENT_TABLE.into(),
            compression: Compression::default(),
            connect_timeout: Duration::from_secs(5),
            send_timeout: Duration::from_secs(20),
            insert_timeout: Duration::from_secs(60),
            query_timeout: Duration::from_secs(30),
            ensure: EnsureTable::default(),
            cluster: None,
            delivery: Delivery::default(),
            insert_rows_max: ROWS_MAX,
            insert_bytes_max: BODY_BYTES_MAX,
            insert_partitions_max: 100,
            insert_settings: BTreeMap::new(),
        }
    }
}

impl ClickHouseSettings {
    /// The variables that [`from_vars`](Self::from_vars) reads.
    pub const VARS: &'static [&'static str] = &[
        URL,
        HOST,
        PORT,
        SECURE,
        CA_FILE,
        USER,
        PASSWORD,
        ROLE,
        DATABASE,
        EVENT_LOG_TABLE,
        COMPRESSION,
        CONNECT_TIMEOUT,
        SEND_TIMEOUT,
        INSERT_TIMEOUT,
        QUERY_TIMEOUT,
        CREATE_TABLE,
        CLUSTER,
        DELIVERY,
        INSERT_ROWS_MAX,
        INSERT_BYTES_MAX,
        INSERT_PARTITIONS_MAX,
        INSERT_SETTINGS,
    ];

    /// A client of the `clickhouse` crate for these settings, with their database: for reading events back.
    #[must_use]
    pub fn client(&self) -> clickhouse::Client {
        crate::hosts::Hosts::reader(self)
    }

    /// The defaults: `default` without a password at `http://localhost:8123`, table `default.event_log`.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// The host name or address. Default `localhost`.
    #[must_use]
    pub fn host(self, host: impl Into<String>) -> Self {
        Self { hosts: vec![Host { name: host.into(), port: None }], ..self }
    }

    /// Several hosts, each `name` or `name:port`. The first one that answers is used; a part of a plain MergeTree table
    /// stays with the host that it was first sent to, because only that one remembers its token.
    ///
    /// # Errors
    /// [`VarError`] for `CLICKHOUSE_HOST`, when the list is empty or one of them is no host.
    pub fn hosts<H: AsRef<str>>(self, hosts: impl IntoIterator<Item = H>) -> Result<Self, VarError> {
        let hosts = hosts.into_iter().map(|host| host.as_ref().parse()).collect::<Result<Vec<Host>, _>>();
        match hosts {
            Ok(hosts) if !hosts.is_empty() => Ok(Self { hosts, ..self }),
            Ok(_) => Err(VarError::new(HOST, "needs at least one host")),
            Err(why) => Err(VarError::new(HOST, why)),
        }
    }

    /// The port of the HTTP interface, for hosts that name none. Default 8123, and 8443 with TLS.
    #[must_use]
    pub fn port(self, port: u16) -> Self {
        Self { port: Some(port), ..self }
    }

    /// Whether to speak TLS. Default no. `https://` in the URL says yes, too.
    ///
    /// # Errors
    /// [`VarError`] for `CLICKHOUSE_SECURE`, when this build has no TLS (the feature `tls`).
    pub fn secure(self, secure: bool) -> Result<Self, VarError> {
        if secure && !cfg!(feature = "tls") {
            return Err(VarError::new(SECURE, NO_TLS));
        }
        Ok(Self { secure, ..self })
    }

    /// A file with the certificates, in PEM, of the authorities to trust. Default: those that the system trusts.
    #[must_use]
    pub fn ca_file(self, file: impl Into<PathBuf>) -> Self {
        Self { ca_file: Some(file.into()), ..self }
    }

    /// The user. Default `default`.
    #[must_use]
    pub fn user(self, user: impl Into<String>) -> Self {
        Self { user: user.into(), ..self }
    }

    /// The user's password. Default empty.
    #[must_use]
    pub fn password(self, password: impl Into<String>) -> Self {
        Self { password: password.into().into(), ..self }
    }

    /// The database of tables that are not qualified. Default `default`.
    #[must_use]
    pub fn database(self, database: impl Into<String>) -> Self {
        Self { database: database.into(), ..self }
    }

    /// The table that events for `event_log` go to; `other.name` names a table in another database. Default `event_log`.
    #[must_use]
    pub fn event_log_table(self, table: impl Into<String>) -> Self {
        Self { event_log_table: table.into(), ..self }
    }

    /// A role of the user to act under. Default: the user's default roles.
    #[must_use]
    pub fn role(self, role: impl Into<String>) -> Self {
        Self { role: Some(role.into()), ..self }
    }

    /// Whether the start creates tables that are missing. Default no: in production a table belongs to whoever plans its
    /// retention.
    #[must_use]
    pub fn create_table(self, create: bool) -> Self {
        self.ensure(if create { EnsureTable::Create } else { EnsureTable::Check })
    }

    /// What the start may do to tables. Default [`EnsureTable::Check`]: nothing.
    #[must_use]
    pub fn ensure(self, ensure: EnsureTable) -> Self {
        Self { ensure, ..self }
    }

    /// Tables are created and altered `ON CLUSTER` this one. Default: on the host that answers only.
    #[must_use]
    pub fn cluster(self, cluster: impl Into<String>) -> Self {
        Self { cluster: Some(cluster.into()), ..self }
    }

    /// How bodies are compressed on their way. Default not at all.
    #[must_use]
    pub fn compression(self, compression: Compression) -> Self {
        Self { compression, ..self }
    }

    /// How often an event may arrive. Default [`Delivery::ExactlyOnce`].
    #[must_use]
    pub fn delivery(self, delivery: Delivery) -> Self {
        Self { delivery, ..self }
    }

    /// How long a connection may take to open. Default 5 s. Shorter finds a dead host sooner, longer waits for a
    /// service that wakes up.
    #[must_use]
    pub fn connect_timeout(self, timeout: Duration) -> Self {
        Self { connect_timeout: timeout, ..self }
    }

    /// How long the server may take to accept one piece (1 MiB) of a body. Default 20 s: below the 30 s after which a
    /// server gives up on a silent client itself. Longer only helps a server that answers neither.
    #[must_use]
    pub fn send_timeout(self, timeout: Duration) -> Self {
        Self { send_timeout: timeout, ..self }
    }

    /// How long an INSERT may take as a whole. Default 60 s; the server gives up after the same time. Too short, and
    /// slow materialized views make the same part come again and again; too long, and a hanging server is noticed late.
    #[must_use]
    pub fn insert_timeout(self, timeout: Duration) -> Self {
        Self { insert_timeout: timeout, ..self }
    }

    /// How long a question may take: about tables, and reading ids back. Default 30 s, which a read-back of 10,000 ids out of
    /// a large table needs when its sorting key does not help. Too short, and recovery never ends.
    #[must_use]
    pub fn query_timeout(self, timeout: Duration) -> Self {
        Self { query_timeout: timeout, ..self }
    }

    /// The most rows of one INSERT, 1 to 1,000,000 (the default): above that it would be two blocks, and a retry that is cut
    /// elsewhere doubles rows. A batch with more becomes several parts. Fewer: more parts on the server.
    #[must_use]
    pub fn insert_rows_max(self, rows: usize) -> Self {
        Self { insert_rows_max: rows.clamp(1, ROWS_MAX), ..self }
    }

    /// The largest body of one INSERT in bytes, give or take one event; 1 to 128 MiB (the default), for the same reason.
    #[must_use]
    pub fn insert_bytes_max(self, bytes: usize) -> Self {
        Self { insert_bytes_max: bytes.clamp(1, BODY_BYTES_MAX), ..self }
    }

    /// The most partitions that one INSERT may write to, 1 to 10,000. Default 100, the server's own. Each becomes a part on its
    /// disk; a batch whose times are spread further becomes several parts.
    #[must_use]
    pub fn insert_partitions_max(self, partitions: usize) -> Self {
        Self { insert_partitions_max: partitions.clamp(1, PARTITIONS_MAX), ..self }
    }

    /// A setting of ClickHouse that goes with every INSERT, `insert_quorum` say. Default none.
    ///
    /// # Errors
    /// [`VarError`] for `OUTBOX_CLICKHOUSE_INSERT_SETTINGS`, when it is one that the sink decides itself.
    pub fn insert_setting(mut self, name: &str, value: &str) -> Result<Self, VarError> {
        vocabulary::check_insert_setting(name).map_err(|why| VarError::new(INSERT_SETTINGS, why))?;
        self.insert_settings.insert(name.to_owned(), value.to_owned());
        Ok(self)
    }

    /// Takes host, port, user, password and database from `http://user:password@host:port/database`, each where it is
    /// spelled out.
    ///
    /// # Errors
    /// [`VarError`] for `CLICKHOUSE_URL` that says what is wrong and never shows the URL.
    pub fn url(self, url: &str) -> Result<Self, VarError> {
        self.apply_url(url).map_err(|why| VarError::new(URL, why))
    }

    /// The addresses of the hosts, without user and password.
    #[must_use]
    pub fn address(&self) -> String {
        self.addresses().join(",")
    }

    /// `host:port` of each host.
    pub(crate) fn addresses(&self) -> Vec<String> {
        let port = self.port.unwrap_or(if self.secure { HTTPS_PORT } else { HTTP_PORT });
        self.hosts.iter().map(|host| host.address(port)).collect()
    }

    /// The names of the settings by which a person mends an address.
    pub(crate) const ADDRESS_VARS: &'static str = "CLICKHOUSE_HOST and CLICKHOUSE_PORT (or CLICKHOUSE_URL)";

    /// The table of an event that is bound for `table`.
    pub(crate) fn table(&self, table: &str) -> TableName {
        let table = if table == DEFAULT_EVENT_TABLE { &self.event_log_table } else { table };
        match table.split_once('.') {
            Some((database, table)) => TableName::new(database, table),
            None => TableName::new(&self.database, table),
        }
    }

    pub(crate) fn password_text(&self) -> &str {
        self.password.expose_secret()
    }
}

#[cfg(test)]
mod tests;
