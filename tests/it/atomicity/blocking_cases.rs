//! Blocking transactions: each way to end, and what is left of it.

use super::databases::on_each_blocking_database;

on_each_blocking_database!(
    ok_commits_both,
    an_error_keeps_neither,
    a_panic_rolls_back_and_leaves_a_usable_connection,
    a_panic_that_the_body_catches_is_never_a_silent_loss,
    a_swallowed_error_is_never_a_silent_loss,
    a_commit_that_fails_keeps_neither_and_leaves_a_usable_connection,
    nested_ones_take_back_only_their_own_and_keep_the_order,
    the_function_does_what_the_attribute_does,
    the_events_of_the_ok_value_are_committed_with_it,
    emit_outside_a_transaction_is_an_error,
    writers_that_read_first_wait_for_each_other,
);

mod cases {
    use std::panic::{AssertUnwindSafe, catch_unwind};

    use diesel::Connection;
    use diesel::connection::SimpleConnection;
    use diesel::result::Error;
    use outbox::OutboxBackend;
    use outbox::prelude::*;

    use crate::atomicity::databases::{BlockingDatabase, Seen};
    use crate::atomicity::{AppError, Opened, insert, opened};

    #[derive(Clone, Copy)]
    enum End {
        Ok,
        Refuse,
        Panic,
        CatchPanicOfPlainTransaction,
        SwallowError,
    }

    #[transactional_event]
    fn open<C: Connection<Backend: OutboxBackend>>(conn: &mut C, name: &str, end: End) -> Result<(), AppError> {
        conn.batch_execute(&insert(name))?;
        conn.emit(&opened(name))?;
        match end {
            End::Ok => {}
            End::Refuse => return Err(AppError::Refused),
            End::Panic => panic!("as the test wants"),
            End::CatchPanicOfPlainTransaction => {
                let inner = |_: &mut C| -> Result<(), AppError> { panic!("as the test wants") };
                let _ = catch_unwind(AssertUnwindSafe(|| conn.transaction(inner)));
            }
            End::SwallowError => drop(conn.batch_execute("INSERT INTO no_such_table VALUES (1)")),
        }
        Ok(())
    }

    pub(super) fn ok_commits_both<D: BlockingDatabase>() {
        let database = D::create();
        open(&mut database.connect(), "ann", End::Ok).expect("commits");
        assert_eq!(database.seen(), Seen::both(&["ann"]));
    }

    pub(super) fn an_error_keeps_neither<D: BlockingDatabase>() {
        let database = D::create();
        let mut conn = database.connect();
        assert!(matches!(open(&mut conn, "ann", End::Refuse), Err(AppError::Refused)));
        open(&mut conn, "bob", End::Ok).expect("the connection is as before");
        let taken = open(&mut conn, "bob", End::Ok).expect_err("the name is taken");
        assert!(matches!(taken, AppError::Database(Error::DatabaseError(..))), "{taken:?}");
        assert_eq!(database.seen(), Seen::both(&["bob"]));
    }

    pub(super) fn a_panic_rolls_back_and_leaves_a_usable_connection<D: BlockingDatabase>() {
        let database = D::create();
        let mut conn = database.connect();
        catch_unwind(AssertUnwindSafe(|| open(&mut conn, "ann", End::Panic))).expect_err("it panics");
        open(&mut conn, "ann", End::Ok).expect("the name is free and the connection usable");
        assert_eq!(database.seen(), Seen::both(&["ann"]));
    }

    pub(super) fn a_panic_that_the_body_catches_is_never_a_silent_loss<D: BlockingDatabase>() {
        let database = D::create();
        let mut conn = database.connect();
        let lost = open(&mut conn, "ann", End::CatchPanicOfPlainTransaction).expect_err("a transaction is left open");
        assert!(matches!(lost, AppError::Database(Error::BrokenTransactionManager)), "{lost:?}");
        assert_eq!(database.seen(), Seen::default());
        open(&mut conn, "ann", End::Ok).expect("all of it was rolled back");
    }

    pub(super) fn a_swallowed_error_is_never_a_silent_loss<D: BlockingDatabase>() {
        let database = D::create();
        let mut conn = database.connect();
        let out = open(&mut conn, "ann", End::SwallowError);
        assert_eq!(out.is_err(), D::STRICT, "{out:?}");
        assert_eq!(database.seen(), if D::STRICT { Seen::default() } else { Seen::both(&["ann"]) });
        open(&mut conn, "bob", End::Ok).expect("the connection is usable again");
    }

    #[transactional_event]
    fn orphan<C: Connection<Backend: OutboxBackend>>(conn: &mut C) -> Result<(), AppError> {
        conn.batch_execute("INSERT INTO child VALUES ('nobody')")?;
        conn.emit(&opened("orphan"))?;
        Ok(())
    }

    pub(super) fn a_commit_that_fails_keeps_neither_and_leaves_a_usable_connection<D: BlockingDatabase>() {
        let database = D::create();
        let mut conn = database.connect();
        orphan(&mut conn).expect_err("the foreign key is looked at when it commits");
        open(&mut conn, "ann", End::Ok).expect("the connection is usable again");
        assert_eq!(database.seen(), Seen::both(&["ann"]));
    }

    #[transactional_event]
    fn open_four<C: Connection<Backend: OutboxBackend>>(conn: &mut C) -> Result<(), AppError> {
        open(conn, "a", End::Ok)?;
        open(conn, "b", End::Refuse).expect_err("refuses");
        conn.batch_execute(&insert("c"))?;
        conn.emit(&opened("c"))?;
        open(conn, "d", End::Ok)
    }

    pub(super) fn nested_ones_take_back_only_their_own_and_keep_the_order<D: BlockingDatabase>() {
        let database = D::create();
        open_four(&mut database.connect()).expect("commits");
        assert_eq!(database.seen(), Seen::both(&["a", "c", "d"]));
    }

    pub(super) fn the_function_does_what_the_attribute_does<D: BlockingDatabase>() {
        let database = D::create();
        let mut conn = database.connect();
        for (name, end) in [("ann", Ok(())), ("bob", Err(AppError::Refused))] {
            let out = outbox::sync::transaction(&mut conn, |conn| {
                conn.batch_execute(&insert(name))?;
                conn.emit(&opened(name))?;
                end
            });
            assert_eq!(out.is_ok(), name == "ann");
        }
        assert_eq!(database.seen(), Seen::both(&["ann"]));
    }

    #[transactional_event(emit = |names| names.iter().map(|name| opened(name)).collect::<Vec<Opened>>())]
    fn open_all<C>(conn: &mut C, names: &[&str]) -> Result<Vec<String>, AppError>
    where
        C: Connection<Backend: OutboxBackend>,
    {
        for name in names {
            conn.batch_execute(&insert(name))?;
        }
        Ok(names.iter().map(|name| (*name).to_owned()).collect())
    }

    pub(super) fn the_events_of_the_ok_value_are_committed_with_it<D: BlockingDatabase>() {
        let database = D::create();
        let mut conn = database.connect();
        assert_eq!(open_all(&mut conn, &["a", "b", "c"]).expect("commits").len(), 3);
        open_all(&mut conn, &["d", "a"]).expect_err("the second name is taken");
        assert_eq!(database.seen(), Seen::both(&["a", "b", "c"]));
    }

    pub(super) fn emit_outside_a_transaction_is_an_error<D: BlockingDatabase>() {
        let database = D::create();
        let mut conn = database.connect();
        assert!(matches!(conn.emit(&opened("ann")), Err(Error::NotInTransaction)));
        assert!(matches!(conn.emit_all(&[] as &[Opened]), Err(Error::NotInTransaction)));
        let none = conn.transaction::<_, Error, _>(|conn| conn.emit_all(&[] as &[Opened]));
        assert_eq!(none, Ok(0));
        assert_eq!(database.seen(), Seen::default());
    }

    #[transactional_event]
    fn read_then_open<C: Connection<Backend: OutboxBackend>>(conn: &mut C, name: &str) -> Result<(), AppError> {
        conn.batch_execute("SELECT count(*) FROM account")?;
        std::thread::sleep(std::time::Duration::from_millis(10));
        conn.batch_execute(&insert(name))?;
        conn.emit(&opened(name))?;
        Ok(())
    }

    pub(super) fn writers_that_read_first_wait_for_each_other<D: BlockingDatabase>() {
        let database = D::create();
        let connections: Vec<(String, D::Conn)> = (0..8).map(|n| (format!("n{n}"), database.connect())).collect();
        std::thread::scope(|scope| {
            for (name, mut conn) in connections {
                scope.spawn(move || read_then_open(&mut conn, &name).expect("its turn comes"));
            }
        });
        assert_eq!(database.seen().accounts.len(), 8);
        assert_eq!(database.seen().events.len(), 8);
    }
}
