//! Inside Diesel's `begin_test_transaction` everything works as outside, and nothing stays.

use super::databases::{on_each_blocking_database, on_each_database};

on_each_database!(a_test_transaction_is_as_good_as_none);

mod cases {
    use std::sync::atomic::{AtomicU32, Ordering};

    use diesel::result::Error;
    use diesel_async::AsyncConnection;
    use outbox::prelude::*;
    use outbox::{OutboxBackend, TransientError};

    use crate::atomicity::databases::{AsyncDatabase, Seen};
    use crate::atomicity::{AppError, insert, opened};

    #[derive(Debug)]
    struct Again(Option<Error>);

    impl From<Error> for Again {
        fn from(error: Error) -> Self {
            Self(Some(error))
        }
    }

    impl TransientError for Again {
        fn is_transient(&self) -> bool {
            self.0.is_none()
        }
    }

    #[transactional_event(isolation = "serializable", nested = "forbid", retries = 2, retry_delay = "1us")]
    async fn open<C>(conn: &mut C, name: &str, runs: &AtomicU32) -> Result<u32, Again>
    where
        C: AsyncConnection<Backend: OutboxBackend>,
    {
        conn.batch_execute(&insert(name)).await?;
        conn.emit(&opened(name)).await?;
        match runs.fetch_add(1, Ordering::SeqCst) {
            0 => Err(Again(None)),
            run => Ok(run),
        }
    }

    #[transactional_event(nested = "require")]
    async fn inside<C>(conn: &mut C) -> Result<(), AppError>
    where
        C: AsyncConnection<Backend: OutboxBackend>,
    {
        conn.emit(&opened("inside")).await?;
        Ok(())
    }

    #[transactional_event]
    async fn swallow<C>(conn: &mut C) -> Result<(), AppError>
    where
        C: AsyncConnection<Backend: OutboxBackend>,
    {
        let _ = conn.batch_execute("SELECT no").await;
        Ok(())
    }

    pub(super) async fn a_test_transaction_is_as_good_as_none<D: AsyncDatabase>() {
        let database = D::create().await;
        let mut conn = database.connect().await;
        conn.begin_test_transaction().await.expect("nothing is open");
        let run = open(&mut conn, "ann", &AtomicU32::new(0)).await;
        assert_eq!(run.expect("isolation is skipped, and the first run's row was taken back"), 1);
        let again = open(&mut conn, "ann", &AtomicU32::new(1)).await.expect_err("the name is taken");
        assert!(matches!(again, Again(Some(Error::DatabaseError(..)))), "{again:?}");
        inside(&mut conn).await.expect_err("for the function under test there is no outer transaction");
        assert_eq!(swallow(&mut conn).await.is_err(), D::STRICT);
        open(&mut conn, "bob", &AtomicU32::new(0)).await.expect("the connection goes on");
        drop(conn);
        assert_eq!(database.seen().await, Seen::default());
    }
}

mod blocking {
    use super::on_each_blocking_database;

    on_each_blocking_database!(a_test_transaction_is_as_good_as_none);

    mod cases {
        use diesel::Connection;
        use outbox::OutboxBackend;
        use outbox::prelude::*;

        use crate::atomicity::databases::{BlockingDatabase, Seen};
        use crate::atomicity::{AppError, insert, opened};

        #[transactional_event(isolation = "serializable", nested = "forbid", retries = 2)]
        fn open<C: Connection<Backend: OutboxBackend>>(conn: &mut C, name: &str) -> Result<(), AppError> {
            conn.batch_execute(&insert(name))?;
            conn.emit(&opened(name))?;
            Ok(())
        }

        pub(super) fn a_test_transaction_is_as_good_as_none<D: BlockingDatabase>() {
            let database = D::create();
            let mut conn = database.connect();
            conn.begin_test_transaction().expect("nothing is open");
            open(&mut conn, "ann").expect("isolation is skipped");
            open(&mut conn, "ann").expect_err("the name is taken");
            open(&mut conn, "bob").expect("the connection goes on");
            drop(conn);
            assert_eq!(database.seen(), Seen::default());
        }
    }
}
