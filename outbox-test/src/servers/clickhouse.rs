use crate::local::{CLUSTER, ClickHouse, ClickHousePrograms, Config, Endpoint, READER, WRITER};
use crate::setting::{aside, required_path};

/// A ClickHouse server of the test's own.
#[derive(Debug)]
pub struct PrivateClickHouse {
    // `None` only while a restart is under way.
    server: Option<ClickHouse>,
    endpoint: Endpoint,
}

impl PrivateClickHouse {
    /// Starts one that lets anyone on this machine in, and waits until it answers queries.
    ///
    /// # Panics
    /// When `OUTBOX_TEST_CHD` or `OUTBOX_TEST_LIBCHDB` is not set, or the server does not come up (with its log).
    pub async fn start() -> Self {
        Self::start_with(Config::default()).await
    }

    /// Starts one with a user `outbox`, who has this password, and a user [`READER`](Self::READER), who has it, too. (Its user
    /// `default` keeps none: the server could not log in to itself.)
    ///
    /// # Panics
    /// As [`start`](Self::start).
    pub async fn start_with_password(password: &str) -> Self {
        Self::start_with(Config { password: Some(password.to_owned()), ..Config::default() }).await
    }

    /// Starts one that writes every query into `system.query_log`.
    ///
    /// # Panics
    /// As [`start`](Self::start).
    pub async fn start_with_query_log() -> Self {
        Self::start_with(Config { query_log: true, ..Config::default() }).await
    }

    /// Starts one whose data is on a disk of this size, in memory.
    ///
    /// # Errors
    /// Why there can be no such disk here: only root may mount one, and not everywhere.
    ///
    /// # Panics
    /// As [`start`](Self::start).
    pub async fn start_on_small_disk(mib: u32) -> Result<Self, String> {
        Self::try_start_with(Config { disk_mib: Some(mib), ..Config::default() }).await
    }

    /// Starts several, which are the shards of the cluster [`CLUSTER`](Self::CLUSTER).
    ///
    /// # Panics
    /// As [`start`](Self::start).
    pub async fn start_shards(count: usize) -> Vec<Self> {
        let mut servers = Vec::new();
        for _ in 0..count {
            servers.extend(Self::start().await.server);
        }
        let joined = aside(move || ClickHouse::join(&mut servers).map(|()| servers)).await;
        let servers = joined.unwrap_or_else(|e| panic!("{e}"));
        servers.into_iter().map(|server| Self { endpoint: server.endpoint().clone(), server: Some(server) }).collect()
    }

    /// The cluster of [`start_shards`](Self::start_shards).
    pub const CLUSTER: &str = CLUSTER;

    /// The user of [`start_with_password`](Self::start_with_password) who may only read.
    pub const READER: &str = READER;

    /// The user of [`start_with_password`](Self::start_with_password) who has the rights that the documentation asks for: to
    /// write into and read from tables of tests' databases, and to see `system.parts` and `system.processes`.
    pub const WRITER: &str = WRITER;

    async fn start_with(config: Config) -> Self {
        Self::try_start_with(config).await.unwrap_or_else(|e| panic!("{e}"))
    }

    async fn try_start_with(config: Config) -> Result<Self, String> {
        let (launcher, library) = (required_path("OUTBOX_TEST_CHD"), required_path("OUTBOX_TEST_LIBCHDB"));
        let programs = ClickHousePrograms { launcher, library };
        let server = aside(move || ClickHouse::start(programs, &config)).await.map_err(|e| e.to_string())?;
        Ok(Self { endpoint: server.endpoint().clone(), server: Some(server) })
    }

    /// `http://127.0.0.1:port`: the same for the server's whole life.
    #[must_use]
    pub fn url(&self) -> &str {
        self.endpoint.url()
    }

    /// `127.0.0.1:port`, for a proxy in between.
    #[must_use]
    pub fn address(&self) -> &str {
        self.url().trim_start_matches("http://")
    }

    /// The user to log in as, where there is a password.
    #[must_use]
    pub fn user(&self) -> Option<&str> {
        self.endpoint.user()
    }

    /// The user's password.
    #[must_use]
    pub fn password(&self) -> Option<&str> {
        self.endpoint.password()
    }

    /// Runs one statement and returns the answer, as [`ClickHouseDatabase::query`](crate::databases::ClickHouseDatabase::query).
    ///
    /// # Panics
    /// With the server's text when it refuses, or when it cannot be reached.
    pub async fn query(&self, sql: impl Into<String>) -> String {
        let (endpoint, sql) = (self.endpoint.clone(), sql.into());
        aside(move || endpoint.query("default", &sql).unwrap_or_else(|e| panic!("{e}\nwhile running: {sql}"))).await
    }

    /// The process that the server and all its children descend from, for who counts what they use. None while it is stopped.
    #[must_use]
    pub fn process(&self) -> Option<u32> {
        self.server.as_ref().and_then(|server| server.process())
    }

    /// SIGKILL, and reaped: what it had not written to its files is gone.
    pub fn kill(&mut self) {
        self.server().kill();
    }

    /// An orderly stop.
    pub async fn stop(&mut self) {
        self.with(ClickHouse::stop).await;
    }

    /// Starts it again with the same data on the same port, and waits until it answers queries. One that still runs
    /// gets an orderly stop first.
    ///
    /// # Panics
    /// When it does not come up (with its log).
    ///
    /// # Cancel safety
    /// Not cancel safe: a test that drops this future has no server any more.
    pub async fn restart(&mut self) {
        self.with(ClickHouse::restart).await.unwrap_or_else(|e| panic!("{e}"));
    }

    async fn with<T: Send + 'static>(&mut self, act: impl FnOnce(&mut ClickHouse) -> T + Send + 'static) -> T {
        let Some(mut server) = self.server.take() else { panic!("a restart of this server was cancelled") };
        let (result, server) = aside(move || (act(&mut server), server)).await;
        self.server = Some(server);
        result
    }

    pub(crate) fn endpoint(&self) -> &Endpoint {
        &self.endpoint
    }

    fn server(&mut self) -> &mut ClickHouse {
        match &mut self.server {
            Some(server) => server,
            None => panic!("a restart of this server was cancelled"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::databases::ClickHouseDatabase;

    #[tokio::test]
    async fn a_killed_server_comes_back_with_its_data_and_its_port() {
        let mut server = PrivateClickHouse::start().await;
        let url = server.url().to_owned();
        let database = ClickHouseDatabase::create_on(&server).await;
        database.query("CREATE TABLE t (a Int32) ENGINE = MergeTree ORDER BY a").await;
        database.query("INSERT INTO t VALUES (1)").await;
        server.kill();
        server.endpoint().query("default", "SELECT 1").expect_err("killed");
        server.restart().await;
        assert_eq!(server.url(), url);
        assert_eq!(database.query("SELECT count() FROM t").await, "1");
        server.stop().await;
        server.endpoint().query("default", "SELECT 1").expect_err("stopped");
        server.restart().await;
        assert_eq!(database.query("SELECT count() FROM t").await, "1");
    }

    #[tokio::test]
    async fn shards_know_each_other() {
        let shards = PrivateClickHouse::start_shards(2).await;
        let count = format!("SELECT uniqExact(tcpPort()) FROM cluster('{}', system.one)", PrivateClickHouse::CLUSTER);
        for shard in &shards {
            assert_eq!(shard.query(count.clone()).await, "2");
        }
    }

    #[tokio::test]
    async fn a_server_with_a_password_refuses_others() {
        let server = PrivateClickHouse::start_with_password("a<b&c").await;
        assert_eq!(server.query("SELECT 1").await, "1");
        assert_eq!(server.user(), Some("outbox"));
        assert_eq!(server.query("SELECT currentUser()").await, "outbox");
        let stranger = Endpoint::parse(server.url()).expect("a URL").with_login("outbox", "wrong");
        let refused = stranger.query("default", "SELECT 1").expect_err("a wrong password");
        assert!(refused.to_string().contains("516"), "{refused}");
    }
}
