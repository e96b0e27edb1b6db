//! Connections out of deadpool's pools, with Diesel's manager or another one.
//!
//! Such a pool looks at a connection only when it gives it out again: one that was left in a transaction stays there, with all
//! its locks. So it is taken out of the pool, and closed, as soon as it is no longer needed.

use std::future::{Future, ready};
use std::ops::{Deref, DerefMut};

use deadpool::managed::{Manager, Object, Pool};
use diesel::QueryResult;
use diesel_async::TransactionManager;

use super::emit::Manager as Transactions;
use super::{Acquire, Emit};
use crate::error::no_connection;

/// A pooled connection, which is closed if it is left in a transaction.
#[allow(missing_debug_implementations, reason = "a manager need not have one")]
pub struct Detached<M: Manager<Type: Emit>>(Option<Object<M>>);

impl<M: Manager<Type: Emit>> Deref for Detached<M> {
    type Target = M::Type;

    #[allow(clippy::expect_used, reason = "only the drop takes it")]
    fn deref(&self) -> &M::Type {
        self.0.as_ref().expect("the connection is there until the drop")
    }
}

impl<M: Manager<Type: Emit>> DerefMut for Detached<M> {
    #[allow(clippy::expect_used, reason = "only the drop takes it")]
    fn deref_mut(&mut self) -> &mut M::Type {
        self.0.as_mut().expect("the connection is there until the drop")
    }
}

impl<M: Manager<Type: Emit>> Drop for Detached<M> {
    fn drop(&mut self) {
        if let Some(mut object) = self.0.take()
            && Transactions::<M::Type>::is_broken_transaction_manager(&mut object)
        {
            drop(Object::take(object));
        }
    }
}

impl<M: Manager<Type: Emit, Error: std::error::Error + Send + Sync + 'static> + 'static> Acquire for &Pool<M> {
    type Conn = M::Type;
    type Guard = Detached<M>;

    async fn acquire(self) -> QueryResult<Self::Guard> {
        self.get().await.map(|object| Detached(Some(object))).map_err(no_connection)
    }
}

impl<M: Manager<Type: Emit, Error: std::error::Error + Send + Sync + 'static> + 'static> Acquire for Pool<M> {
    type Conn = M::Type;
    type Guard = Detached<M>;

    async fn acquire(self) -> QueryResult<Self::Guard> {
        self.get().await.map(|object| Detached(Some(object))).map_err(no_connection)
    }
}

impl<M: Manager<Type: Emit>> Acquire for Object<M> {
    type Conn = M::Type;
    type Guard = Detached<M>;

    fn acquire(self) -> impl Future<Output = QueryResult<Self::Guard>> + Send {
        ready(Ok(Detached(Some(self))))
    }
}
