//! One async transaction: each way to end, and what is left of it.

use super::databases::on_each_database;

on_each_database!(
    ok_commits_both,
    a_business_error_keeps_neither,
    a_database_error_keeps_neither,
    a_panic_keeps_neither_and_marks_the_connection,
    a_swallowed_error_is_never_a_silent_loss,
    the_function_does_what_the_attribute_does,
    the_event_of_the_ok_value_is_committed_with_it,
    emit_outside_a_transaction_is_an_error,
    a_plain_transaction_takes_events_too,
    a_commit_wakes_who_listens,
);
on_each_database!(that defers constraints: a_commit_that_fails_keeps_neither_and_leaves_a_usable_connection);

mod cases {
    use std::panic::AssertUnwindSafe;

    use diesel::result::Error;
    use diesel_async::{AsyncConnection, SimpleAsyncConnection};
    use futures_util::FutureExt;
    use outbox::OutboxBackend;
    use outbox::prelude::*;

    use crate::atomicity::databases::{AsyncDatabase, Seen};
    use crate::atomicity::{AppError, Opened, insert, opened};

    /// How a body ends.
    #[derive(Clone, Copy)]
    enum End {
        Ok,
        Refuse,
        Panic,
        SwallowError,
    }

    #[transactional_event]
    async fn open<C>(conn: &mut C, name: &str, end: End) -> Result<String, AppError>
    where
        C: AsyncConnection<Backend: OutboxBackend>,
    {
        conn.batch_execute(&insert(name)).await?;
        conn.emit(&opened(name)).await?;
        match end {
            End::Ok => {}
            End::Refuse => return Err(AppError::Refused),
            End::Panic => panic!("as the test wants"),
            End::SwallowError => {
                let _ = conn.batch_execute("INSERT INTO no_such_table VALUES (1)").await;
                let _ = conn.emit(&opened(name)).await;
            }
        }
        Ok(name.to_owned())
    }

    pub(super) async fn ok_commits_both<D: AsyncDatabase>() {
        let database = D::create().await;
        let mut conn = database.connect().await;
        open(&mut conn, "ann", End::Ok).await.expect("commits");
        open(&mut conn, "bob", End::Ok).await.expect("commits");
        assert_eq!(database.seen().await, Seen::both(&["ann", "bob"]));
    }

    pub(super) async fn a_business_error_keeps_neither<D: AsyncDatabase>() {
        let database = D::create().await;
        let mut conn = database.connect().await;
        assert!(matches!(open(&mut conn, "ann", End::Refuse).await, Err(AppError::Refused)));
        assert_eq!(database.seen().await, Seen::default());
        open(&mut conn, "ann", End::Ok).await.expect("the connection is as before");
    }

    pub(super) async fn a_database_error_keeps_neither<D: AsyncDatabase>() {
        let database = D::create().await;
        let mut conn = database.connect().await;
        open(&mut conn, "ann", End::Ok).await.expect("commits");
        let taken = open(&mut conn, "ann", End::Ok).await.expect_err("the name is taken");
        assert!(matches!(taken, AppError::Database(Error::DatabaseError(..))), "{taken:?}");
        assert_eq!(database.seen().await, Seen::both(&["ann"]));
    }

    pub(super) async fn a_panic_keeps_neither_and_marks_the_connection<D: AsyncDatabase>() {
        let database = D::create().await;
        let mut conn = database.connect().await;
        AssertUnwindSafe(open(&mut conn, "ann", End::Panic)).catch_unwind().await.expect_err("it panics");
        let later = open(&mut conn, "bob", End::Ok).await.expect_err("its transaction is still open");
        assert!(matches!(later, AppError::Database(Error::BrokenTransactionManager)), "{later:?}");
        assert!(matches!(conn.emit(&opened("bob")).await, Err(Error::BrokenTransactionManager)));
        drop(conn);
        assert_eq!(database.seen().await, Seen::default());
    }

    pub(super) async fn a_swallowed_error_is_never_a_silent_loss<D: AsyncDatabase>() {
        let database = D::create().await;
        let mut conn = database.connect().await;
        let out = open(&mut conn, "ann", End::SwallowError).await;
        assert_eq!(out.is_err(), D::STRICT, "{out:?}");
        let seen = database.seen().await;
        match out {
            Ok(_) => assert_eq!((seen.accounts.len(), seen.events.len()), (1, 2)),
            Err(_) => assert_eq!(seen, Seen::default()),
        }
        open(&mut conn, "bob", End::Ok).await.expect("the connection is usable again");
    }

    #[transactional_event]
    async fn orphan<C: AsyncConnection<Backend: OutboxBackend>>(conn: &mut C) -> Result<(), AppError> {
        conn.batch_execute("INSERT INTO child VALUES ('nobody')").await?;
        conn.emit(&opened("orphan")).await?;
        Ok(())
    }

    pub(super) async fn a_commit_that_fails_keeps_neither_and_leaves_a_usable_connection<D: AsyncDatabase>() {
        let database = D::create().await;
        let mut conn = database.connect().await;
        orphan(&mut conn).await.expect_err("the foreign key is looked at when it commits");
        assert_eq!(database.seen().await, Seen::default());
        open(&mut conn, "ann", End::Ok).await.expect("the connection is usable again");
        assert_eq!(database.seen().await, Seen::both(&["ann"]));
    }

    pub(super) async fn the_function_does_what_the_attribute_does<D: AsyncDatabase>() {
        let database = D::create().await;
        let mut conn = database.connect().await;
        for (name, end) in [("ann", Ok(())), ("bob", Err(AppError::Refused))] {
            let out: Result<(), AppError> = outbox::transaction(&mut conn, async |conn| {
                conn.batch_execute(&insert(name)).await?;
                conn.emit(&opened(name)).await?;
                end
            })
            .await;
            assert_eq!(out.is_ok(), name == "ann");
        }
        assert_eq!(database.seen().await, Seen::both(&["ann"]));
    }

    #[transactional_event(conn = db, emit = |name| opened(name))]
    async fn open_and_tell<C>(db: &mut C, name: &str) -> Result<String, AppError>
    where
        C: AsyncConnection<Backend: OutboxBackend>,
    {
        db.batch_execute(&insert(name)).await?;
        if name == "bob" {
            return Err(AppError::Refused);
        }
        Ok(name.to_owned())
    }

    pub(super) async fn the_event_of_the_ok_value_is_committed_with_it<D: AsyncDatabase>() {
        let database = D::create().await;
        let mut conn = database.connect().await;
        open_and_tell(&mut conn, "ann").await.expect("commits");
        open_and_tell(&mut conn, "bob").await.expect_err("refuses");
        assert_eq!(database.seen().await, Seen::both(&["ann"]));
    }

    pub(super) async fn emit_outside_a_transaction_is_an_error<D: AsyncDatabase>() {
        let database = D::create().await;
        let mut conn = database.connect().await;
        assert!(matches!(conn.emit(&opened("ann")).await, Err(Error::NotInTransaction)));
        assert!(matches!(conn.emit_all(&[opened("ann")]).await, Err(Error::NotInTransaction)));
        assert!(matches!(conn.emit_all(&[] as &[Opened]).await, Err(Error::NotInTransaction)));
        assert_eq!(database.seen().await, Seen::default());
    }

    pub(super) async fn a_plain_transaction_takes_events_too<D: AsyncDatabase>() {
        let database = D::create().await;
        let mut conn = database.connect().await;
        let emitted = conn.transaction::<_, Error, _>(async |conn| {
            conn.emit(&opened("ann")).await?;
            assert_eq!(conn.emit_all(&[] as &[Opened]).await, Ok(0));
            let mixed: [&dyn EventLog; 2] = [&opened("bob"), &Closed];
            conn.emit_all(mixed).await
        });
        assert_eq!(emitted.await, Ok(2));
        assert_eq!(database.seen().await.events, ["ann", "bob", "closed"]);
    }

    struct Closed;

    impl EventLog for Closed {
        fn event_type(&self) -> &str {
            "closed"
        }
        fn key(&self) -> Option<String> {
            Some("closed".to_owned())
        }
        fn payload(&self) -> Result<String, outbox::EncodeError> {
            Ok("{}".to_owned())
        }
    }

    pub(super) async fn a_commit_wakes_who_listens<D: AsyncDatabase>() {
        let database = D::create().await;
        let mut conn = database.connect().await;
        let woken = outbox::wake::notified();
        open(&mut conn, "ann", End::Ok).await.expect("commits");
        woken.await;
    }
}
