//! An open connection, and who moves its bytes.
//!
//! Diesel has a task of the runtime do that. The 50,000 rows of a batch come in two thousand pieces then, and for each of them the
//! two tasks wake one another, as a rule on two threads: 0.6 of the 1.7 CPU seconds that reading a million events took. So here the
//! task that waits for the answer reads the socket itself.

use std::future::{Future, poll_fn};
use std::pin::{Pin, pin};
use std::task::{Poll, ready};

use diesel::result::{DatabaseErrorKind, Error};
use diesel::{ConnectionError, ConnectionResult, QueryResult};
use diesel_async::AsyncPgConnection;
use futures_util::FutureExt;
use tokio_postgres::tls::TlsStream;
use tokio_postgres::{Client, Connection, Socket};

use super::pooler;

/// Who moves a connection's bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Driver {
    /// The step that uses it, while it runs.
    Step,
    /// A task, all the time: for one that is listened on.
    Task,
}

/// How a connection is opened.
#[derive(Clone, Copy, Debug)]
pub(super) struct Manner {
    pub(super) driver: Driver,
    /// Whether a pooler in transaction mode lies between.
    pub(super) pooled: bool,
}

pub(super) type Opening = Pin<Box<dyn Future<Output = ConnectionResult<Opened>> + Send>>;

/// An open connection.
pub(super) struct Opened {
    conn: AsyncPgConnection,
    /// None: a task has them.
    bytes: Option<Bytes>,
}

impl Opened {
    /// Over what [`tokio_postgres::connect`] answers.
    pub(super) async fn from_client<S>(
        connecting: impl Future<Output = Result<(Client, Connection<Socket, S>), tokio_postgres::Error>>,
        Manner { driver, pooled }: Manner,
    ) -> ConnectionResult<Self>
    where
        S: TlsStream + Unpin + Send + 'static,
    {
        let (client, connection) = connecting.await.map_err(pooler::bad)?;
        if driver == Driver::Task {
            let conn = match pooled {
                true => pooler::behind_pooler(client, connection).await,
                false => AsyncPgConnection::try_from_client_and_connection(client, connection).await,
            };
            return conn.map(Self::driven_by_task);
        }
        let mut bytes = Bytes::of(connection);
        let set_up = async {
            if !pooled {
                return AsyncPgConnection::try_from(client).await;
            }
            pooler::begin_setup(&client).await?;
            pooler::end_setup(AsyncPgConnection::try_from(client).await?).await
        };
        match bytes.move_during(set_up).await {
            (Ok(conn), _) => Ok(Self { conn, bytes: Some(bytes) }),
            (Err(_), Some(ended)) => Err(ConnectionError::BadConnection(ended)),
            (Err(error), None) => Err(error),
        }
    }

    /// One that Diesel has given to a task.
    pub(super) fn driven_by_task(conn: AsyncPgConnection) -> Self {
        Self { conn, bytes: None }
    }

    /// Runs a step. After anything but a clean end the connection is no longer fit for use.
    pub(super) async fn run<T>(
        &mut self,
        step: impl AsyncFnOnce(&mut AsyncPgConnection) -> QueryResult<T>,
    ) -> QueryResult<T> {
        let Some(bytes) = &mut self.bytes else { return step(&mut self.conn).await };
        match bytes.move_during(step(&mut self.conn)).await {
            // Diesel only knows that it has gone.
            (Err(Error::DatabaseError(DatabaseErrorKind::UnableToSendCommand, _)), Some(ended)) => {
                Err(Error::DatabaseError(DatabaseErrorKind::UnableToSendCommand, Box::new(ended)))
            }
            (done, _) => done,
        }
    }

    /// This one, unless it has ended, as far as one can tell without asking the server.
    pub(super) fn still_open(mut self) -> Option<Self> {
        let ended = self.bytes.as_mut().is_some_and(Bytes::have_ended);
        (!ended).then_some(self)
    }

    pub(super) fn into_connection(self) -> AsyncPgConnection {
        self.conn
    }
}

/// The side of a connection that reads and writes the socket.
struct Bytes {
    /// Ends with the connection: why.
    moving: Pin<Box<dyn Future<Output = String> + Send>>,
    ended: bool,
}

impl Bytes {
    fn of<S>(mut connection: Connection<Socket, S>) -> Self
    where
        S: TlsStream + Unpin + Send + 'static,
    {
        let moving = poll_fn(move |cx| {
            loop {
                match ready!(connection.poll_message(cx)) {
                    // Notices, and notifications that nobody has asked for.
                    Some(Ok(_)) => {}
                    Some(Err(error)) => return Poll::Ready(text(&error)),
                    None => return Poll::Ready("the connection was closed".to_owned()),
                }
            }
        });
        Self { moving: Box::pin(moving), ended: false }
    }

    /// Until `work` is done. With it comes why the connection has ended, if it has.
    async fn move_during<T>(&mut self, work: impl Future<Output = T>) -> (T, Option<String>) {
        let mut work = pin!(work);
        let ended = tokio::select! {
            // What has come is read before anybody looks for it.
            biased;
            ended = &mut self.moving => ended,
            done = &mut work => return (done, None),
        };
        self.ended = true;
        // What has come before that is still to be had.
        (work.await, Some(ended))
    }

    fn have_ended(&mut self) -> bool {
        self.ended = self.ended || (&mut self.moving).now_or_never().is_some();
        self.ended
    }
}

/// The server's own words are one level down.
pub(super) fn text(error: &tokio_postgres::Error) -> String {
    std::error::Error::source(error).map_or_else(|| error.to_string(), ToString::to_string)
}
