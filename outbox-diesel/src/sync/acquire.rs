//! Where a blocking transaction gets its connection from.

use std::ops::DerefMut;

use diesel::QueryResult;

use super::Emit;

/// A connection, or a pool that gives one: what `#[transactional_event(from = ..)]` and
/// [`transaction_with`](super::transaction_with) take.
///
/// It is there for `&mut C` of every connection that can [`Emit`], and with the feature `r2d2` for `&Pool`, `Pool` and
/// `PooledConnection` of Diesel's r2d2.
#[diagnostic::on_unimplemented(
    message = "`{Self}` is neither a blocking connection nor a pool of them",
    label = "expected `&mut` of a blocking Diesel connection, or `&Pool` of r2d2",
    note = "pools of r2d2 are supported with the feature `r2d2`",
    note = "with an async connection or pool write `async fn`, and use `outbox::aio`"
)]
pub trait Acquire {
    /// The connection.
    type Conn: Emit;
    /// What holds it.
    type Guard: DerefMut<Target = Self::Conn>;

    /// Takes a connection.
    ///
    /// # Errors
    /// [`NoConnection`](crate::NoConnection), in a `QueryBuilderError`, when the pool has none to give.
    fn acquire(self) -> QueryResult<Self::Guard>;
}

#[diagnostic::do_not_recommend]
impl<'c, C: Emit> Acquire for &'c mut C {
    type Conn = C;
    type Guard = &'c mut C;

    fn acquire(self) -> QueryResult<Self::Guard> {
        Ok(self)
    }
}
