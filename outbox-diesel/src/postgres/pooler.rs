//! Connections through a pooler that hands each transaction to whichever of its server connections is free: PgBouncer's
//! `pool_mode = transaction`.
//!
//! There a prepared statement is only there for the rest of its transaction, and nothing else of a session is there for longer.
//! Diesel prepares every statement, those that it sets a new connection up with too. So such a connection is set up inside a
//! transaction, forgets each statement when it has run, and is used in transactions only.

use diesel::connection::CacheSize;
use diesel::{ConnectionError, ConnectionResult};
use diesel_async::{AsyncConnection, AsyncPgConnection, SimpleAsyncConnection};
use tokio_postgres::tls::TlsStream;
use tokio_postgres::{Client, Connection, NoTls, Socket};

use super::opened::text;

/// Connects to `url`, without TLS, through a pooler in transaction mode: for a service that emits.
///
/// Whatever is done on the connection has to be in a transaction, as in a function with `#[transactional_event]`: Diesel sends a
/// statement in two messages, and outside a transaction the pooler may take them to different servers.
///
/// # Errors
/// As `AsyncPgConnection::establish`.
///
/// # Cancel safety
/// Dropped, it leaves nothing behind.
pub async fn connect_behind_pooler(url: &str) -> ConnectionResult<AsyncPgConnection> {
    let (client, connection) = tokio_postgres::connect(url, NoTls).await.map_err(bad)?;
    behind_pooler(client, connection).await
}

/// As [`connect_behind_pooler`], over a connection that was made otherwise: with TLS, say.
///
/// # Errors
/// As `AsyncPgConnection::try_from_client_and_connection`.
///
/// # Cancel safety
/// Dropped, it leaves nothing behind.
pub async fn behind_pooler<S>(
    client: Client,
    mut connection: Connection<Socket, S>,
) -> ConnectionResult<AsyncPgConnection>
where
    S: TlsStream + Unpin + Send + 'static,
{
    // Diesel, which is to drive the connection, prepares its first statement at once: the transaction begins before that.
    tokio::select! {
        begun = begin_setup(&client) => begun?,
        ended = &mut connection => {
            ended.map_err(bad)?;
            return Err(ConnectionError::BadConnection("the connection was closed".to_owned()));
        }
    }
    let conn = AsyncPgConnection::try_from_client_and_connection(client, connection).await?;
    end_setup(conn).await
}

/// What begins the transaction in which Diesel sets a connection up.
pub(super) async fn begin_setup(client: &Client) -> ConnectionResult<()> {
    client.batch_execute("BEGIN").await.map_err(bad)
}

/// What ends it.
pub(super) async fn end_setup(mut conn: AsyncPgConnection) -> ConnectionResult<AsyncPgConnection> {
    // What Diesel has set, the time zone and the encoding, is what PgBouncer keeps for each of its clients.
    conn.batch_execute("COMMIT").await.map_err(ConnectionError::CouldntSetupConfiguration)?;
    conn.set_prepared_statement_cache_size(CacheSize::Disabled);
    Ok(conn)
}

pub(super) fn bad(error: tokio_postgres::Error) -> ConnectionError {
    ConnectionError::BadConnection(text(&error))
}
