//! Connections out of bb8's pools, with Diesel's manager or another one. Such a pool looks at what it gets back, and closes a
//! connection that was left in a transaction.

use std::future::{Future, ready};

use bb8::{ManageConnection, Pool, PooledConnection};
use diesel::QueryResult;

use super::{Acquire, Emit};
use crate::error::no_connection;

impl<'p, M> Acquire for &'p Pool<M>
where
    M: ManageConnection<Connection: Emit, Error: std::error::Error + Sync>,
{
    type Conn = M::Connection;
    type Guard = PooledConnection<'p, M>;

    async fn acquire(self) -> QueryResult<Self::Guard> {
        self.get().await.map_err(no_connection)
    }
}

impl<M> Acquire for Pool<M>
where
    M: ManageConnection<Connection: Emit, Error: std::error::Error + Sync>,
{
    type Conn = M::Connection;
    type Guard = PooledConnection<'static, M>;

    async fn acquire(self) -> QueryResult<Self::Guard> {
        self.get_owned().await.map_err(no_connection)
    }
}

impl<M: ManageConnection<Connection: Emit>> Acquire for PooledConnection<'_, M> {
    type Conn = M::Connection;
    type Guard = Self;

    fn acquire(self) -> impl Future<Output = QueryResult<Self>> + Send {
        ready(Ok(self))
    }
}
