//! Settings out of variables and URLs.

use outbox_core::{VarError, Vars};

use super::vocabulary::{Flag, Host, Hosts, InsertSettings, Limit, Timeout};
use super::*;
use crate::statement::{BODY_BYTES_MAX, ROWS_MAX};

impl ClickHouseSettings {
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
        text(USER, &mut settings.user);
        text(DATABASE, &mut settings.database);
        text(EVENT_LOG_TABLE, &mut settings.event_log_table);
        settings.role = vars.text(ROLE).map(str::to_owned);
        settings.cluster = vars.text(CLUSTER).map(str::to_owned);
        settings.ca_file = vars.text(CA_FILE).map(Into::into);
        if let Some(password) = vars.text(PASSWORD) {
            settings.password = password.into();
        }
        if let Some(Hosts(hosts)) = vars.parse(HOST)? {
            settings.hosts = hosts;
        }
        settings.port = vars.parse(PORT)?;
        if let Some(Flag(secure)) = vars.parse(SECURE)? {
            settings = settings.secure(secure)?;
        }
        if let Some(ensure) = vars.parse(CREATE_TABLE)? {
            settings.ensure = ensure;
        }
        if let Some(delivery) = vars.parse(DELIVERY)? {
            settings.delivery = delivery;
        }
        if let Some(compression) = vars.parse(COMPRESSION)? {
            settings.compression = compression;
        }
        for (name, timeout) in [
            (CONNECT_TIMEOUT, &mut settings.connect_timeout),
            (SEND_TIMEOUT, &mut settings.send_timeout),
            (INSERT_TIMEOUT, &mut settings.insert_timeout),
            (QUERY_TIMEOUT, &mut settings.query_timeout),
        ] {
            if let Some(Timeout(value)) = vars.parse(name)? {
                *timeout = value;
            }
        }
        if let Some(Limit(rows)) = vars.parse::<Limit<ROWS_MAX>>(INSERT_ROWS_MAX)? {
            settings.insert_rows_max = rows;
        }
        if let Some(Limit(bytes)) = vars.parse::<Limit<BODY_BYTES_MAX>>(INSERT_BYTES_MAX)? {
            settings.insert_bytes_max = bytes;
        }
        if let Some(Limit(partitions)) = vars.parse::<Limit<PARTITIONS_MAX>>(INSERT_PARTITIONS_MAX)? {
            settings.insert_partitions_max = partitions;
        }
        if let Some(InsertSettings(pairs)) = vars.parse(INSERT_SETTINGS)? {
            settings.insert_settings = pairs.into_iter().collect();
        }
        match vars.text(URL) {
            Some(url) => settings.apply_url(url).map_err(|why| VarError::new(URL, why)),
            None => Ok(settings),
        }
    }

    /// The reasons never quote the URL: it may hold the password.
    pub(super) fn apply_url(mut self, text: &str) -> Result<Self, String> {
        let rest = match text.split_once("://") {
            Some(("http", rest)) => rest,
            Some(("https", rest)) => {
                self = self.secure(true).map_err(|_| NO_TLS)?;
                rest
            }
            _ => return Err("expected http://user:password@host:port/database, or https://".into()),
        };
        // The hosts behind the first come out before the URL is read: a URL has only one.
        let end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
        let (authority, path) = rest.split_at(end);
        let (login, hosts) = match authority.rsplit_once('@') {
            Some((login, hosts)) => (format!("{login}@"), hosts),
            None => (String::new(), authority),
        };
        let mut hosts = hosts.split(',');
        let first = hosts.next().unwrap_or_default();
        // Under a scheme of its own, because `url` takes `:80` away from a URL that begins with http.
        let url = url::Url::parse(&format!("clickhouse://{login}{first}{path}")).map_err(|why| why.to_string())?;
        let decoded = |part: &str| {
            percent_decoded(part).ok_or("the user, password and database must be percent-encoded UTF-8".to_owned())
        };
        let name = match url.host_str() {
            Some(host) if !host.is_empty() => host.to_owned(),
            _ => return Err("it has no host".into()),
        };
        let others = hosts.map(str::parse::<Host>).collect::<Result<Vec<_>, _>>()?;
        self.hosts = vec![Host { name, port: url.port() }];
        self.hosts.extend(others);
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
