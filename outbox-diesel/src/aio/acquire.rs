//! Where an async transaction gets its connection from.

use std::future::{Future, ready};
use std::ops::DerefMut;

use diesel::QueryResult;

use super::Emit;

/// A connection, or a pool that gives one: what `#[transactional_event(from = ..)]` and
/// [`transaction_with`](super::transaction_with) take.
///
/// It is there for `&mut C` of every connection that can [`Emit`]; with the feature `bb8` for `&Pool` and
/// `PooledConnection` of bb8, and with `deadpool` for `&Pool`, `Pool` and `Object` of deadpool.
#[diagnostic::on_unimplemented(
    message = "`{Self}` is neither an async connection nor a pool of them",
    label = "expected `&mut` of an async Diesel connection, or `&Pool` of bb8 or deadpool",
    note = "pools are supported with the features `bb8` and `deadpool`",
    note = "with a blocking connection or pool write `fn` without `async`, and use `outbox::sync`"
)]
pub trait Acquire {
    /// The connection.
    type Conn: Emit;
    /// What holds it.
    type Guard: DerefMut<Target = Self::Conn> + Send;

    /// Takes a connection.
    ///
    /// # Errors
    /// [`NoConnection`](crate::NoConnection), in a `QueryBuilderError`, when the pool has none to give.
    fn acquire(self) -> impl Future<Output = QueryResult<Self::Guard>> + Send;
}

#[diagnostic::do_not_recommend]
impl<'c, C: Emit> Acquire for &'c mut C {
    type Conn = C;
    type Guard = &'c mut C;

    fn acquire(self) -> impl Future<Output = QueryResult<Self::Guard>> + Send {
        ready(Ok(self))
    }
}
