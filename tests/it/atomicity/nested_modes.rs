//! What a transaction does inside another one: savepoint, join, forbid, require.

use super::databases::{on_each_blocking_database, on_each_database};

on_each_database!(
    a_joined_transaction_is_a_part_of_the_outer_one,
    a_joined_error_cannot_be_committed_around,
    forbid_and_require_refuse_the_wrong_place,
    what_only_an_outermost_transaction_can_have_is_refused_in_a_nested_one,
);

mod cases {
    use diesel::result::Error;
    use diesel_async::AsyncConnection;
    use outbox::OutboxBackend;
    use outbox::prelude::*;

    use crate::atomicity::databases::{AsyncDatabase, Seen};
    use crate::atomicity::{AppError, insert, opened};

    async fn write<C>(conn: &mut C, name: &str, refuse: bool) -> Result<(), AppError>
    where
        C: AsyncConnection<Backend: OutboxBackend>,
    {
        conn.batch_execute(&insert(name)).await?;
        conn.emit(&opened(name)).await?;
        if refuse { Err(AppError::Refused) } else { Ok(()) }
    }

    #[transactional_event(nested = "join")]
    async fn join<C>(conn: &mut C, name: &str, refuse: bool) -> Result<(), AppError>
    where
        C: AsyncConnection<Backend: OutboxBackend>,
    {
        write(conn, name, refuse).await
    }

    #[transactional_event(nested = "forbid")]
    async fn forbid<C>(conn: &mut C, name: &str) -> Result<(), AppError>
    where
        C: AsyncConnection<Backend: OutboxBackend>,
    {
        write(conn, name, false).await
    }

    #[transactional_event(nested = "require")]
    async fn require<C>(conn: &mut C, name: &str, refuse: bool) -> Result<(), AppError>
    where
        C: AsyncConnection<Backend: OutboxBackend>,
    {
        write(conn, name, refuse).await
    }

    /// Joins for `b`, swallows its error, and goes on.
    #[transactional_event]
    async fn around<C>(conn: &mut C, refuse: bool) -> Result<(), AppError>
    where
        C: AsyncConnection<Backend: OutboxBackend>,
    {
        write(conn, "a", false).await?;
        let joined = join(conn, "b", refuse).await;
        assert_eq!(joined.is_err(), refuse);
        conn.batch_execute(&insert("c")).await?;
        if refuse {
            let emitted = conn.emit(&opened("c")).await;
            assert!(matches!(emitted, Err(Error::BrokenTransactionManager)), "{emitted:?}");
            let nested = require(conn, "d", false).await.expect_err("nothing more can be kept");
            assert!(matches!(nested, AppError::Database(Error::BrokenTransactionManager)), "{nested:?}");
            return Ok(());
        }
        conn.emit(&opened("c")).await?;
        Ok(())
    }

    pub(super) async fn a_joined_transaction_is_a_part_of_the_outer_one<D: AsyncDatabase>() {
        let database = D::create().await;
        let mut conn = database.connect().await;
        around(&mut conn, false).await.expect("commits");
        join(&mut conn, "d", false).await.expect("alone it is a transaction");
        join(&mut conn, "e", true).await.expect_err("and rolls back");
        assert_eq!(database.seen().await, Seen::both(&["a", "b", "c", "d"]));
    }

    pub(super) async fn a_joined_error_cannot_be_committed_around<D: AsyncDatabase>() {
        let database = D::create().await;
        let mut conn = database.connect().await;
        let lost = around(&mut conn, true).await.expect_err("the joined part was refused");
        assert!(matches!(lost, AppError::Database(Error::BrokenTransactionManager)), "{lost:?}");
        assert_eq!(database.seen().await, Seen::default());
        around(&mut conn, false).await.expect("the connection is usable again");

        let plain = conn.transaction::<(), AppError, _>(async |conn| {
            let _ = join(conn, "x", true).await;
            Ok(())
        });
        plain.await.expect_err("not in a plain transaction either");
        drop(conn);
        assert_eq!(database.seen().await, Seen::both(&["a", "b", "c"]));
    }

    pub(super) async fn forbid_and_require_refuse_the_wrong_place<D: AsyncDatabase>() {
        let database = D::create().await;
        let mut conn = database.connect().await;
        let alone = require(&mut conn, "a", false).await.expect_err("there is no outer transaction");
        assert!(matches!(alone, AppError::Database(Error::NotInTransaction)), "{alone:?}");
        let out: Result<(), AppError> = outbox::transaction(&mut conn, async |conn| {
            let nested = forbid(conn, "b").await.expect_err("there is an outer transaction");
            assert!(matches!(nested, AppError::Database(Error::AlreadyInTransaction)), "{nested:?}");
            require(conn, "c", true).await.expect_err("refuses, and takes back its own");
            require(conn, "d", false).await
        })
        .await;
        out.expect("commits");
        forbid(&mut conn, "e").await.expect("commits");
        assert_eq!(database.seen().await, Seen::both(&["d", "e"]));
    }

    #[transactional_event(isolation = "serializable")]
    async fn serializable<C>(conn: &mut C) -> Result<(), AppError>
    where
        C: AsyncConnection<Backend: OutboxBackend>,
    {
        conn.emit(&opened("serializable")).await?;
        Ok(())
    }

    #[transactional_event(read_only, nested = "join")]
    async fn read_only<C>(conn: &mut C) -> Result<(), AppError>
    where
        C: AsyncConnection<Backend: OutboxBackend>,
    {
        conn.batch_execute("SELECT 1").await?;
        Ok(())
    }

    pub(super) async fn what_only_an_outermost_transaction_can_have_is_refused_in_a_nested_one<D: AsyncDatabase>() {
        let database = D::create().await;
        let mut conn = database.connect().await;
        let out: Result<(), AppError> = outbox::transaction(&mut conn, async |conn| {
            for refused in [serializable(conn).await, read_only(conn).await] {
                assert!(matches!(refused, Err(AppError::Database(Error::AlreadyInTransaction))), "{refused:?}");
            }
            write(conn, "a", false).await
        })
        .await;
        out.expect("it goes on");
        assert_eq!(database.seen().await, Seen::both(&["a"]));
    }
}

mod blocking {
    use super::on_each_blocking_database;

    on_each_blocking_database!(joined_errors_doom_and_the_modes_refuse_the_wrong_place);

    mod cases {
        use diesel::Connection;
        use diesel::result::Error;
        use outbox::OutboxBackend;
        use outbox::prelude::*;

        use crate::atomicity::databases::{BlockingDatabase, Seen};
        use crate::atomicity::{AppError, insert, opened};

        fn write<C: Connection<Backend: OutboxBackend>>(
            conn: &mut C,
            name: &str,
            refuse: bool,
        ) -> Result<(), AppError> {
            conn.batch_execute(&insert(name))?;
            conn.emit(&opened(name))?;
            if refuse { Err(AppError::Refused) } else { Ok(()) }
        }

        #[transactional_event(nested = "join")]
        fn join<C: Connection<Backend: OutboxBackend>>(conn: &mut C, name: &str, refuse: bool) -> Result<(), AppError> {
            write(conn, name, refuse)
        }

        #[transactional_event(nested = "forbid")]
        fn forbid<C: Connection<Backend: OutboxBackend>>(conn: &mut C, name: &str) -> Result<(), AppError> {
            write(conn, name, false)
        }

        #[transactional_event(nested = "require")]
        fn require<C: Connection<Backend: OutboxBackend>>(conn: &mut C, name: &str) -> Result<(), AppError> {
            write(conn, name, false)
        }

        #[transactional_event]
        fn around<C: Connection<Backend: OutboxBackend>>(conn: &mut C, refuse: bool) -> Result<(), AppError> {
            forbid(conn, "x").expect_err("there is an outer transaction");
            require(conn, "a")?;
            assert_eq!(join(conn, "b", refuse).is_err(), refuse);
            Ok(())
        }

        pub(super) fn joined_errors_doom_and_the_modes_refuse_the_wrong_place<D: BlockingDatabase>() {
            let database = D::create();
            let mut conn = database.connect();
            let alone = require(&mut conn, "a").expect_err("there is no outer transaction");
            assert!(matches!(alone, AppError::Database(Error::NotInTransaction)), "{alone:?}");
            let lost = around(&mut conn, true).expect_err("the joined part was refused");
            assert!(matches!(lost, AppError::Database(Error::BrokenTransactionManager)), "{lost:?}");
            assert_eq!(database.seen(), Seen::default());
            around(&mut conn, false).expect("the connection is usable again");
            forbid(&mut conn, "c").expect("commits");
            assert_eq!(database.seen(), Seen::both(&["a", "b", "c"]));
        }
    }
}
