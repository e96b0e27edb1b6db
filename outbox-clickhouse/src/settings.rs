//! What the sink has to know: where ClickHouse is, who asks, and which table events land in.

use std::str::FromStr;
use std::time::Duration;

use outbox_core::{VarError, Vars};
use secrecy::{ExposeSecret, SecretString};

use crate::TableName;

const URL: &str = "CLICKHOUSE_URL";
const HOST: &str = "CLICKHOUSE_HOST";
const PORT: &str = "CLICKHOUSE_PORT";
const USER: &str = "CLICKHOUSE_USER";
const PASSWORD: &str = "CLICKHOUSE_PASSWORD";
const DATABASE: &str = "CLICKHOUSE_DATABASE";
const EVENT_LOG_TABLE: &str = "CLICKHOUSE_EVENT_LOG_TABLE";
const CREATE_TABLE: &str = "OUTBOX_CLICKHOUSE_CREATE_TABLE";
const DELIVERY: &str = "OUTBOX_CLICKHOUSE_DELIVERY";
const CONNECT_TIMEOUT: &str = "CLICKHOUSE_CONNECT_TIMEOUT";
const INSERT_TIMEOUT: &str = "CLICKHOUSE_INSERT_TIMEOUT";

/// The table that events name when they name none, see [`EventLog::table`](outbox_core::EventLog::table).
pub(crate) const DEFAULT_EVENT_TABLE: &str = "event_log";

/// How often an event may arrive.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Delivery {
    /// Each event once. The table must have `event_id` and a deduplication window; the sink refuses to start without.
    #[default]
    ExactlyOnce,
    /// Each event once or, after a crash or a lost reply, more often. Any MergeTree table will do.
    AtLeastOnce,
}

impl FromStr for Delivery {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text {
            "exactly_once" => Ok(Self::ExactlyOnce),
            "at_least_once" => Ok(Self::AtLeastOnce),
            _ => Err("expected exactly_once or at_least_once"),
        }
    }
}

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
    pub(crate) host: String,
    pub(crate) port: u16,
    pub(crate) user: String,
    pub(crate) password: SecretString,
    pub(crate) database: String,
    pub(crate) event_log_table: String,
    pub(crate) create_table: bool,
    pub(crate) delivery: Delivery,
    pub(crate) connect_timeout: Duration,
    pub(crate) insert_timeout: Duration,
}

impl Default for ClickHouseSettings {
    fn default() -> Self {
        Self {
            host: "localhost".into(),
            port: 8123,
            user: "default".into(),
            password: SecretString::default(),
            database: "default".into(),
            event_log_table: DEFAULT_EVENT_TABLE.into(),
            create_table: false,
            delivery: Delivery::default(),
            connect_timeout: Duration::from_secs(5),
            insert_timeout: Duration::from_secs(60),
        }
    }
}

impl ClickHouseSettings {
    /// The variables that [`from_vars`](Self::from_vars) reads.
    pub const VARS: &'static [&'static str] = &[
        URL,
        HOST,
        PORT,
        USER,
        PASSWORD,
        DATABASE,
        EVENT_LOG_TABLE,
        CREATE_TABLE,
        DELIVERY,
        CONNECT_TIMEOUT,
        INSERT_TIMEOUT,
    ];

    /// A client of the `clickhouse` crate for these settings, with their database: for reading events back.
    #[must_use]
    pub fn client(&self) -> clickhouse::Client {
        crate::client::Server::new(self.clone()).reader()
    }

    /// The defaults: `default` without a password at `http://localhost:8123`, table `default.event_log`.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// The settings in `vars`. Each has its own variable; what `CLICKHOUSE_URL` spells out wins over the variables for
    /// its pieces, and what it leaves open (usually the password) comes from them.
    ///
    /// # Errors
    /// [`VarError`] that names the variable at fault and never shows its value.
    pub fn from_vars(vars: &Vars) -> Result<Self, VarError> {
        let mut settings = Self::default();
        let text = |name: &'static str, into: &mut String| {
            if let Some(value) = vars.text(name) {
                value.clone_into(into);
            }
        };
        text(HOST, &mut settings.host);
        text(USER, &mut settings.user);
        text(DATABASE, &mut settings.database);
        text(EVENT_LOG_TABLE, &mut settings.event_log_table);
        if let Some(password) = vars.text(PASSWORD) {
            settings.password = password.into();
        }
        if let Some(port) = vars.parse(PORT)? {
            settings.port = port;
        }
        if let Some(Flag(create)) = vars.parse(CREATE_TABLE)? {
            settings.create_table = create;
        }
        if let Some(delivery) = vars.parse(DELIVERY)? {
            settings.delivery = delivery;
        }
        if let Some(Timeout(timeout)) = vars.parse(CONNECT_TIMEOUT)? {
            settings.connect_timeout = timeout;
        }
        if let Some(Timeout(timeout)) = vars.parse(INSERT_TIMEOUT)? {
            settings.insert_timeout = timeout;
        }
        if settings.host.contains(['/', '@', ' ']) {
            return Err(VarError::new(HOST, format!("expected a host name or an address; a URL goes into {URL}")));
        }
        match vars.text(URL) {
            Some(url) => settings.apply_url(url).map_err(|why| VarError::new(URL, why)),
            None => Ok(settings),
        }
    }

    /// The host name or address. Default `localhost`.
    #[must_use]
    pub fn host(self, host: impl Into<String>) -> Self {
        Self { host: host.into(), ..self }
    }

    /// The port of the HTTP interface. Default 8123.
    #[must_use]
    pub fn port(self, port: u16) -> Self {
        Self { port, ..self }
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

    /// Whether the start creates the event log table when it is missing. Default no: in production a table belongs to
    /// whoever plans its retention.
    #[must_use]
    pub fn create_table(self, create: bool) -> Self {
        Self { create_table: create, ..self }
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

    /// How long an INSERT or a question may take. Default 60 s; the server gives up after the same time. Too short, and
    /// slow materialized views make the same part come again and again; too long, and a hanging server is noticed late.
    #[must_use]
    pub fn insert_timeout(self, timeout: Duration) -> Self {
        Self { insert_timeout: timeout, ..self }
    }

    /// Takes host, port, user, password and database from `http://user:password@host:port/database`, each where it is
    /// spelled out.
    ///
    /// # Errors
    /// [`VarError`] for `CLICKHOUSE_URL` that says what is wrong and never shows the URL.
    pub fn url(self, url: &str) -> Result<Self, VarError> {
        self.apply_url(url).map_err(|why| VarError::new(URL, why))
    }

    /// The server's address, without user and password.
    #[must_use]
    pub fn address(&self) -> String {
        let host = self.host.as_str();
        let bare_v6 = host.contains(':') && !host.starts_with('[');
        if bare_v6 { format!("[{host}]:{}", self.port) } else { format!("{host}:{}", self.port) }
    }

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

    /// The reasons never quote the URL: it may hold the password.
    fn apply_url(mut self, text: &str) -> Result<Self, String> {
        let Some(("http", rest)) = text.split_once("://") else {
            return Err(match text.split_once("://") {
                Some(("https", _)) => "this version speaks http only: end TLS in front of it (a proxy, a sidecar) and \
                                       name that address with http://"
                    .into(),
                _ => "expected http://user:password@host:port/database".into(),
            });
        };
        // Under a scheme of its own, because `url` takes `:80` away from a URL that begins with http.
        let url = url::Url::parse(&format!("clickhouse://{rest}")).map_err(|why| why.to_string())?;
        let decoded = |part: &str| {
            percent_decoded(part).ok_or("the user, password and database must be percent-encoded UTF-8".to_owned())
        };
        self.host = match url.host_str() {
            Some(host) if !host.is_empty() => host.to_owned(),
            _ => return Err("it has no host".into()),
        };
        if let Some(port) = url.port() {
            self.port = port;
        }
        if !url.username().is_empty() {
            self.user = decoded(url.username())?;
        }
        if let Some(password) = url.password() {
            self.password = decoded(password)?.into();
        }
        match url.path().trim_start_matches('/').trim_end_matches('/') {
            "" => {}
            path if path.contains('/') => return Err("its path must be one name: the database".into()),
            path => self.database = decoded(path)?,
        }
        match url.query() {
            None => Ok(self),
            Some(_) => Err("it must not have a query string: every setting has a variable of its own".into()),
        }
    }
}

fn percent_decoded(text: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        bytes.push(match byte {
            b'%' => {
                let mut digit = || char::from(rest.next()?).to_digit(16);
                u8::try_from(digit()? * 16 + digit()?).ok()?
            }
            byte => byte,
        });
    }
    String::from_utf8(bytes).ok()
}

struct Flag(bool);

impl FromStr for Flag {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text {
            "true" | "1" | "yes" | "on" => Ok(Self(true)),
            "false" | "0" | "no" | "off" => Ok(Self(false)),
            _ => Err("expected true or false"),
        }
    }
}

struct Timeout(Duration);

impl FromStr for Timeout {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let expected = "expected a time over zero, in seconds (30) or with a unit (500ms, 2m)";
        let timeout = match text.parse() {
            Ok(seconds) => Duration::from_secs(seconds),
            Err(_) => humantime::parse_duration(text).map_err(|_| expected)?,
        };
        if timeout.is_zero() { Err(expected) } else { Ok(Self(timeout)) }
    }
}

#[cfg(test)]
mod tests;
