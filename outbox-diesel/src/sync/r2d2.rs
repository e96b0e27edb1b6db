//! Connections out of r2d2's pools, with Diesel's manager or another one. Such a pool looks at what it gets back, and closes a
//! connection that was left in a transaction.

use diesel::QueryResult;
use diesel::r2d2::{ManageConnection, Pool, PooledConnection};

use super::{Acquire, Emit};
use crate::error::no_connection;

impl<M: ManageConnection<Connection: Emit>> Acquire for &Pool<M> {
    type Conn = M::Connection;
    type Guard = PooledConnection<M>;

    fn acquire(self) -> QueryResult<Self::Guard> {
        self.get().map_err(no_connection)
    }
}

impl<M: ManageConnection<Connection: Emit>> Acquire for Pool<M> {
    type Conn = M::Connection;
    type Guard = PooledConnection<M>;

    fn acquire(self) -> QueryResult<Self::Guard> {
        (&self).acquire()
    }
}

impl<M: ManageConnection<Connection: Emit>> Acquire for PooledConnection<M> {
    type Conn = M::Connection;
    type Guard = Self;

    fn acquire(self) -> QueryResult<Self> {
        Ok(self)
    }
}
