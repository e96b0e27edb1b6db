//! Transactions in transactions: savepoints, and the order of what they emit.

use super::databases::on_each_database;

on_each_database!(
    a_nested_error_takes_back_only_its_own,
    events_are_stored_in_the_order_of_the_calls,
    an_outer_error_takes_back_everything,
);

mod cases {
    use diesel_async::AsyncConnection;
    use outbox::OutboxBackend;
    use outbox::prelude::*;

    use crate::atomicity::databases::{AsyncDatabase, Seen};
    use crate::atomicity::{AppError, insert, opened};

    #[transactional_event]
    async fn open<C>(conn: &mut C, name: &str, refuse: bool) -> Result<(), AppError>
    where
        C: AsyncConnection<Backend: OutboxBackend>,
    {
        conn.batch_execute(&insert(name)).await?;
        conn.emit(&opened(name)).await?;
        if refuse { Err(AppError::Refused) } else { Ok(()) }
    }

    /// `a` and `c` of its own around `b`, which may refuse.
    #[transactional_event]
    async fn open_three<C>(conn: &mut C, refuse_inner: bool, refuse_outer: bool) -> Result<(), AppError>
    where
        C: AsyncConnection<Backend: OutboxBackend>,
    {
        conn.batch_execute(&insert("a")).await?;
        conn.emit(&opened("a")).await?;
        assert_eq!(open(conn, "b", refuse_inner).await.is_err(), refuse_inner);
        conn.batch_execute(&insert("c")).await?;
        conn.emit(&opened("c")).await?;
        if refuse_outer { Err(AppError::Refused) } else { Ok(()) }
    }

    pub(super) async fn a_nested_error_takes_back_only_its_own<D: AsyncDatabase>() {
        let database = D::create().await;
        open_three(&mut database.connect().await, true, false).await.expect("the outer one commits");
        assert_eq!(database.seen().await, Seen::both(&["a", "c"]));
    }

    pub(super) async fn events_are_stored_in_the_order_of_the_calls<D: AsyncDatabase>() {
        let database = D::create().await;
        open_three(&mut database.connect().await, false, false).await.expect("commits");
        assert_eq!(database.seen().await, Seen::both(&["a", "b", "c"]));
    }

    pub(super) async fn an_outer_error_takes_back_everything<D: AsyncDatabase>() {
        let database = D::create().await;
        open_three(&mut database.connect().await, false, true).await.expect_err("refuses");
        assert_eq!(database.seen().await, Seen::default());
    }
}
