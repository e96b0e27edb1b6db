//! Futures that are dropped at every point where they wait, and connections that are lost.

use super::databases::on_each_database;

on_each_database!(
    dropped_anywhere_it_keeps_both_or_neither,
    dropped_anywhere_between_its_runs_it_keeps_both_or_neither,
    a_connection_that_goes_on_after_a_drop_never_lies,
    a_nested_future_dropped_anywhere_never_makes_the_outer_one_lie,
    a_plain_nested_transaction_that_is_dropped_fails_the_outer_one,
);

mod cases {
    use std::future::{Future, pending, poll_fn};
    use std::pin::{Pin, pin};
    use std::sync::atomic::{AtomicU32, Ordering};
    use std::task::Poll;

    use diesel::result::Error;
    use diesel_async::AsyncConnection;
    use outbox::OutboxBackend;
    use outbox::prelude::*;
    use tokio::task::coop;

    use crate::atomicity::databases::{AsyncDatabase, Seen};
    use crate::atomicity::{AppError, insert, opened};

    #[transactional_event]
    async fn open<C>(conn: &mut C, name: &str) -> Result<(), AppError>
    where
        C: AsyncConnection<Backend: OutboxBackend>,
    {
        conn.batch_execute(&insert(name)).await?;
        conn.emit(&opened(name)).await?;
        Ok(())
    }

    /// What tokio lets a task do in one poll.
    const BUDGET: usize = 128;

    /// Polls `future` up to `polls` times, each time when it can go on, and gives up just before the next.
    ///
    /// Each poll gets past one finished operation of tokio's at most, so that every await is a place to stop, also
    /// where a fast database has the answer before it is asked for.
    async fn poll_at_most<F: Future>(mut future: Pin<&mut F>, polls: usize) -> Option<F::Output> {
        // An earlier drop may have waited for its statement, and tokio then sets no bounds to the rest of the poll.
        tokio::task::yield_now().await;
        let mut left = polls;
        poll_fn(|context| match left.checked_sub(1) {
            None => Poll::Ready(None),
            Some(less) => {
                left = less;
                for _ in 1..BUDGET {
                    if let Poll::Ready(spent) = coop::poll_proceed(context) {
                        spent.made_progress();
                    }
                }
                future.as_mut().poll(context).map(Some)
            }
        })
        .await
    }

    /// Far more than any of the futures here needs.
    const POLLS_MAX: usize = 200;

    pub(super) async fn dropped_anywhere_it_keeps_both_or_neither<D: AsyncDatabase>() {
        let database = D::create().await;
        let (mut dropped, mut finished) = (0, false);
        for polls in 0..POLLS_MAX {
            let name = format!("n{polls:03}");
            let mut conn = database.connect().await;
            let out = poll_at_most(pin!(open(&mut conn, &name)), polls).await;
            drop(conn);
            let seen = database.seen().await;
            assert_eq!(seen.accounts, seen.events, "dropped after {polls} polls");
            match out {
                None => dropped += 1,
                Some(out) => {
                    out.expect("nothing went wrong");
                    assert!(seen.holds(&name), "dropped after {polls} polls");
                    finished = true;
                    break;
                }
            }
        }
        assert!(finished && dropped > 3, "dropped {dropped} times");
    }

    /// Is run twice.
    #[transactional_event(retries = 1, retry_delay = "1us", isolation = "serializable")]
    async fn open_at_second_try<C>(conn: &mut C, runs: &AtomicU32, name: String) -> Result<(), Again>
    where
        C: AsyncConnection<Backend: OutboxBackend>,
    {
        conn.batch_execute(&insert(&name)).await?;
        conn.emit(&opened(&name)).await?;
        if runs.fetch_add(1, Ordering::SeqCst) == 0 { Err(Again) } else { Ok(()) }
    }

    #[derive(Debug)]
    struct Again;

    impl From<Error> for Again {
        fn from(_: Error) -> Self {
            Self
        }
    }

    impl outbox::TransientError for Again {
        fn is_transient(&self) -> bool {
            true
        }
    }

    pub(super) async fn dropped_anywhere_between_its_runs_it_keeps_both_or_neither<D: AsyncDatabase>() {
        let database = D::create().await;
        let (mut dropped, mut dropped_later) = (0, 0);
        for polls in 0..POLLS_MAX {
            let (name, runs) = (format!("n{polls:03}"), AtomicU32::new(0));
            let mut conn = database.connect().await;
            let out = poll_at_most(pin!(open_at_second_try(&mut conn, &runs, name.clone())), polls).await;
            drop(conn);
            let seen = database.seen().await;
            assert_eq!(seen.accounts, seen.events, "dropped after {polls} polls");
            match out {
                None => dropped += 1,
                Some(out) => {
                    out.expect("nothing went wrong");
                    assert!(seen.holds(&name), "dropped after {polls} polls");
                    assert!(
                        dropped > 6 && dropped_later > 3,
                        "dropped {dropped} times, {dropped_later} in the second run"
                    );
                    return;
                }
            }
            dropped_later += u32::from(runs.load(Ordering::SeqCst) > 0);
        }
        panic!("it never ended");
    }

    pub(super) async fn a_connection_that_goes_on_after_a_drop_never_lies<D: AsyncDatabase>() {
        let database = D::create().await;
        let mut broken = 0;
        for polls in 0..POLLS_MAX {
            let (first, second) = (format!("a{polls:03}"), format!("b{polls:03}"));
            let mut conn = database.connect().await;
            let ended = poll_at_most(pin!(open(&mut conn, &first)), polls).await.is_some();
            let out = open(&mut conn, &second).await;
            let emitted = conn.emit(&opened("nobody's")).await;
            drop(conn);
            let seen = database.seen().await;
            assert_eq!(
                seen.accounts,
                {
                    let mut events = seen.events.clone();
                    events.sort();
                    events
                },
                "after {polls} polls"
            );
            assert_eq!(seen.holds(&second), out.is_ok(), "after {polls} polls: {out:?}");
            assert!(emitted.is_err(), "outside a transaction or in a broken one");
            broken += usize::from(matches!(out, Err(AppError::Database(Error::BrokenTransactionManager))));
            if ended {
                break;
            }
        }
        assert!(broken > 3, "broken {broken} times");
    }

    /// Goes on after its nested transaction was dropped, and swallows what that leads to.
    #[transactional_event]
    async fn careless<C>(conn: &mut C, name: &str, polls: usize) -> Result<bool, AppError>
    where
        C: AsyncConnection<Backend: OutboxBackend>,
    {
        conn.batch_execute(&insert(name)).await?;
        conn.emit(&opened(name)).await?;
        let inner = format!("{name}-inner");
        let ended = poll_at_most(pin!(open(&mut *conn, &inner)), polls).await.is_some();
        let _ = conn.emit(&opened(&format!("{name}-last"))).await;
        Ok(ended)
    }

    pub(super) async fn a_nested_future_dropped_anywhere_never_makes_the_outer_one_lie<D: AsyncDatabase>() {
        let database = D::create().await;
        let mut failed = 0;
        for polls in 0..POLLS_MAX {
            let name = format!("n{polls:03}");
            let mut conn = database.connect().await;
            let out = careless(&mut conn, &name, polls).await;
            drop(conn);
            let seen = database.seen().await;
            for part in ["", "-last"] {
                assert_eq!(seen.holds(&format!("{name}{part}")), out.is_ok(), "after {polls} polls: {out:?}");
            }
            match out {
                Ok(true) => break,
                Ok(false) => {}
                Err(_) => failed += 1,
            }
        }
        assert!(failed > 2, "failed {failed} times");
    }

    #[transactional_event]
    async fn careless_with_diesel<C>(conn: &mut C) -> Result<(), AppError>
    where
        C: AsyncConnection<Backend: OutboxBackend>,
    {
        conn.batch_execute(&insert("outer")).await?;
        conn.emit(&opened("outer")).await?;
        let (arrived, arrival) = tokio::sync::oneshot::channel();
        let inner = conn.transaction::<(), Error, _>(async |conn| {
            conn.emit(&opened("inner")).await?;
            let _ = arrived.send(());
            pending().await
        });
        tokio::select! {
            _ = inner => {}
            _ = arrival => {}
        }
        Ok(())
    }

    pub(super) async fn a_plain_nested_transaction_that_is_dropped_fails_the_outer_one<D: AsyncDatabase>() {
        let database = D::create().await;
        let mut conn = database.connect().await;
        let lost = careless_with_diesel(&mut conn).await.expect_err("COMMIT would only release a savepoint");
        assert!(matches!(lost, AppError::Database(Error::BrokenTransactionManager)), "{lost:?}");
        drop(conn);
        assert_eq!(database.seen().await, Seen::default());
    }
}

mod lost_connection {
    use diesel_async::{AsyncPgConnection, RunQueryDsl, SimpleAsyncConnection};
    use outbox::prelude::*;

    use crate::atomicity::databases::{AsyncDatabase, Postgres, Seen};
    use crate::atomicity::{AppError, insert, opened};

    #[transactional_event]
    async fn cut_off(conn: &mut AsyncPgConnection, killer: &mut AsyncPgConnection) -> Result<(), AppError> {
        conn.batch_execute(&insert("ann")).await?;
        conn.emit(&opened("ann")).await?;
        // All other sessions of this test's own database.
        diesel::sql_query("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()")
            .execute(killer)
            .await?;
        Ok(())
    }

    #[tokio::test]
    async fn a_connection_lost_before_commit_keeps_neither() {
        let database = <Postgres as AsyncDatabase>::create().await;
        let (mut conn, mut killer) = (AsyncDatabase::connect(&database).await, AsyncDatabase::connect(&database).await);
        cut_off(&mut conn, &mut killer).await.expect_err("there is nobody to commit");
        assert_eq!(AsyncDatabase::seen(&database).await, Seen::default());
    }
}
