//! The private servers, and what is asked of them between the measurements.

use outbox::postgres::PostgresStore;
use outbox::{Route, RouteSpec, Store, Tables};
use outbox_test::databases::ClickHouseDatabase;
use outbox_test::servers::{PrivateClickHouse, PrivatePostgres};
use tokio_postgres::binary_copy::BinaryCopyInWriter;
use tokio_postgres::types::{ToSql, Type};
use tokio_postgres::{Client, NoTls};

use crate::Result;
use crate::data::{self, ENVIRONMENT, EVENT_TYPE, PAYLOAD_BYTES, TABLE};
use crate::roles::At;

/// Room for what is drained, as a server of a service has it; and no checkpoint in the middle of a measurement.
const SETTINGS: [&str; 4] = [
    "ALTER SYSTEM SET shared_buffers = '512MB'",
    "ALTER SYSTEM SET max_wal_size = '8GB'",
    "ALTER SYSTEM SET checkpoint_timeout = '30min'",
    "ALTER SYSTEM SET track_wal_io_timing = off",
];

/// How many events a transaction has that fills an outbox.
const TRANSACTION: u64 = 1_000;

/// A PostgreSQL with its defaults for durability, and a ClickHouse.
pub(crate) struct Place {
    pub(crate) postgres: PrivatePostgres,
    pub(crate) clickhouse: PrivateClickHouse,
    pub(crate) database: ClickHouseDatabase,
    pub(crate) client: Client,
}

impl Place {
    pub(crate) async fn prepare() -> Result<Self> {
        let mut postgres = PrivatePostgres::start().await;
        let client = connect(postgres.url()).await?;
        for setting in SETTINGS {
            client.batch_execute(setting).await?;
        }
        drop(client);
        postgres.restart().await;
        let client = connect(postgres.url()).await?;
        let clickhouse = PrivateClickHouse::start().await;
        let database = ClickHouseDatabase::create_on(&clickhouse).await;
        let place = Self { postgres, clickhouse, database, client };
        place.at().sink()?.ensure_table().await?;
        Ok(place)
    }

    /// Where the events go.
    pub(crate) fn at(&self) -> At {
        At { url: self.database.url().to_owned(), database: self.database.name().to_owned() }
    }

    /// An outbox with this many events, unless it is there, and a route that nobody drains, so that none of them is ever pruned: every
    /// measurement opens a route of its own and drains the same events.
    pub(crate) async fn outbox(&self, prefix: &str, events: u64) -> Result<()> {
        let tables = Tables::new().with_prefix(prefix)?;
        let there = tables.sql("SELECT to_regclass('outbox_event') IS NOT NULL").into_owned();
        if self.client.query_one(&there, &[]).await?.get(0) {
            return Ok(());
        }
        let store = PostgresStore::new(self.postgres.url()).with_tables(tables.clone());
        store.setup().await?;
        store.open(&RouteSpec::new(Route::new("keeper"))).await?;
        self.client.batch_execute("SET synchronous_commit = off").await?;
        let copy = "COPY outbox_event (id, event_type, version, occurred_at, environment, destination, payload, bytes) \
                    FROM STDIN BINARY";
        let copy = tables.sql(copy).into_owned();
        let types =
            [Type::UUID, Type::TEXT, Type::INT4, Type::TIMESTAMPTZ, Type::TEXT, Type::TEXT, Type::TEXT, Type::INT4];
        let bytes = i32::try_from(64 + EVENT_TYPE.len() + ENVIRONMENT.len() + TABLE.len() + PAYLOAD_BYTES)?;
        let mut n = 0;
        while n < events {
            let rows = BinaryCopyInWriter::new(self.client.copy_in(&copy).await?, &types);
            let mut rows = std::pin::pin!(rows);
            for _ in 0..TRANSACTION.min(events - n) {
                n += 1;
                let data::Row { id, payload } = data::row(n);
                let now = chrono::Utc::now();
                let row: [&(dyn ToSql + Sync); 8] =
                    [&id, &EVENT_TYPE, &1_i32, &now, &ENVIRONMENT, &TABLE, &payload, &bytes];
                rows.as_mut().write(&row).await?;
            }
            rows.finish().await?;
        }
        // Sets the hint bits: otherwise the first measurement would, for all others.
        self.client.batch_execute(&tables.sql("SELECT count(*) FROM outbox_event; ANALYZE outbox_event")).await?;
        self.client.batch_execute("RESET synchronous_commit; CHECKPOINT").await?;
        Ok(())
    }

    /// A ready-made RowBinary row for each event, in a table of its own.
    pub(crate) async fn bodies(&self, events: u64) -> Result<()> {
        self.client
            .batch_execute(
                "SET synchronous_commit = off; DROP TABLE IF EXISTS bench_body; \
                 CREATE TABLE bench_body (seq bigint PRIMARY KEY, payload bytea NOT NULL)",
            )
            .await?;
        let copy = self.client.copy_in("COPY bench_body (seq, payload) FROM STDIN BINARY").await?;
        let rows = BinaryCopyInWriter::new(copy, &[Type::INT8, Type::BYTEA]);
        let mut rows = std::pin::pin!(rows);
        let mut body = Vec::new();
        for n in 1..=events {
            body.clear();
            data::row_binary(n, chrono::Utc::now().timestamp_micros(), &mut body);
            rows.as_mut().write(&[&i64::try_from(n)?, &body]).await?;
        }
        rows.finish().await?;
        self.client.batch_execute("RESET synchronous_commit; SELECT count(*) FROM bench_body; CHECKPOINT").await?;
        Ok(())
    }

    /// Takes the events that were delivered out of ClickHouse.
    ///
    /// # Errors
    /// When it was not each of `events` exactly once.
    pub(crate) async fn check_and_clear(&self, events: u64) -> Result<()> {
        let found = self.database.query(format!("SELECT count(), uniqExact(event_id) FROM {TABLE}")).await;
        self.database.query(format!("TRUNCATE TABLE {TABLE}")).await;
        match found == format!("{events}\t{events}") {
            true => Ok(()),
            false => Err(format!("{events} events were to arrive, rows and ids that arrived: {found}").into()),
        }
    }

    /// How many bytes of WAL have been written so far.
    pub(crate) async fn wal(&self) -> Result<f64> {
        let row = self.client.query_one("SELECT (pg_current_wal_insert_lsn() - '0/0')::float8", &[]).await?;
        Ok(row.get(0))
    }

    /// Waits until no other client is connected.
    pub(crate) async fn alone(&self) -> Result<()> {
        let sql =
            "SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'client backend' AND pid <> pg_backend_pid()";
        while self.client.query_one(sql, &[]).await?.get::<_, i64>(0) > 0 {
            tokio::time::sleep(std::time::Duration::from_millis(5)).await;
        }
        Ok(())
    }

    /// How many row versions have died so far: of every update and every delete one, however soon it is cleared away.
    pub(crate) async fn dead(&self) -> Result<f64> {
        let sql = "SELECT coalesce(sum(n_tup_upd + n_tup_del), 0)::float8 FROM pg_stat_user_tables";
        Ok(self.client.query_one(sql, &[]).await?.get(0))
    }
}

/// A connection that ends with its client.
pub(crate) async fn connect(url: &str) -> Result<Client> {
    let (client, connection) = tokio_postgres::connect(url, NoTls).await?;
    tokio::spawn(connection);
    Ok(client)
}
