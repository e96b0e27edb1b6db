//! ClickHouse over HTTP, as much as tests and demos need.

use std::fmt;
use std::time::Duration;

use super::Error;

/// Creating and dropping databases is quick; a server that is gone must not hold a test up.
const TIMEOUT: Duration = Duration::from_secs(60);

/// Where a ClickHouse listens, and as whom to speak to it. `Debug` leaves the password out.
#[derive(Clone)]
pub(crate) struct Endpoint {
    url: String,
    user: Option<String>,
    password: Option<String>,
    agent: ureq::Agent,
}

impl Endpoint {
    /// From `http://[user:password@]host:port`.
    pub(crate) fn parse(url: &str) -> Result<Self, Error> {
        let wrong = || Error::Url { url: without_password(url) };
        let rest = url.strip_prefix("http://").ok_or_else(wrong)?.trim_end_matches('/');
        let (login, address) = rest.rsplit_once('@').map_or((None, rest), |(login, address)| (Some(login), address));
        if address.is_empty() || address.contains(['/', '?']) {
            return Err(wrong());
        }
        let (user, password) = match login.map(|login| login.split_once(':').unwrap_or((login, ""))) {
            Some((user, password)) => (Some(user.to_owned()), Some(password.to_owned())),
            None => (None, None),
        };
        // A proxy that the environment names is not for servers on this machine.
        let config = ureq::Agent::config_builder();
        let config = config.proxy(None).http_status_as_error(false).timeout_global(Some(TIMEOUT));
        // An idle connection would hold up the server's orderly stop.
        let config = config.max_idle_connections(0).build();
        Ok(Self { url: format!("http://{address}"), user, password, agent: config.new_agent() })
    }

    /// Speaks as this user.
    pub(crate) fn with_login(mut self, user: &str, password: &str) -> Self {
        (self.user, self.password) = (Some(user.to_owned()), Some(password.to_owned()));
        self
    }

    /// `http://host:port`, without a slash at its end and without the login.
    pub(crate) fn url(&self) -> &str {
        &self.url
    }

    pub(crate) fn user(&self) -> Option<&str> {
        self.user.as_deref()
    }

    pub(crate) fn password(&self) -> Option<&str> {
        self.password.as_deref()
    }

    /// Runs one statement in `database` and returns what the server answered, less the last line's end.
    pub(crate) fn query(&self, database: &str, sql: &str) -> Result<String, Error> {
        let unreachable = |source| Error::Unreachable { source: Box::new(source) };
        let mut request = self.agent.post(&self.url).header("X-ClickHouse-Database", database);
        // The answer is complete, or it is an error: none is sent before the query has ended.
        request = request.query("wait_end_of_query", "1");
        if let Some(user) = &self.user {
            request = request.header("X-ClickHouse-User", user);
            request = request.header("X-ClickHouse-Key", self.password.as_deref().unwrap_or_default());
        }
        let mut answer = request.send(sql).map_err(unreachable)?;
        let text = answer.body_mut().with_config().limit(u64::MAX).read_to_string().map_err(unreachable)?;
        let text = text.strip_suffix('\n').unwrap_or(&text).to_owned();
        if answer.status().is_success() { Ok(text) } else { Err(Error::Refused { message: text }) }
    }
}

impl fmt::Debug for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Endpoint").field("url", &self.url).field("user", &self.user).finish_non_exhaustive()
    }
}

fn without_password(url: &str) -> String {
    url.rsplit_once('@').map_or_else(|| url.to_owned(), |(_, address)| format!("...@{address}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_login_is_split_off() {
        let endpoint = Endpoint::parse("http://bob:se:cret@127.0.0.1:8123/").expect("a good URL");
        assert_eq!(endpoint.url(), "http://127.0.0.1:8123");
        assert_eq!((endpoint.user(), endpoint.password()), (Some("bob"), Some("se:cret")));
        assert!(!format!("{endpoint:?}").contains("cret"));
    }

    #[test]
    fn a_wrong_url_is_named_without_its_password() {
        let error = Endpoint::parse("tcp://bob:secret@127.0.0.1:9000").expect_err("not HTTP");
        assert!(error.to_string().contains("127.0.0.1:9000"));
        assert!(!error.to_string().contains("secret"));
    }
}
