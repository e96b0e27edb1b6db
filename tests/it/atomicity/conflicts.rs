//! Transactions that lose against another one, and are run again.

use super::databases::on_each_database;

on_each_database!(with row locks:
    a_deadlock_is_run_again,
    a_serialization_conflict_is_run_again,
    a_deadlock_in_a_nested_transaction_runs_the_outermost_one_again,
    without_retries_a_deadlock_is_an_error_and_keeps_nothing,
);
on_each_database!(
    a_conflict_that_the_error_type_knows_is_run_again,
    retries_come_to_an_end,
    each_run_has_its_own_parameters,
);

mod cases {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicU32, Ordering};
    use std::time::Duration;

    use diesel_async::{AsyncConnection, SimpleAsyncConnection};
    use outbox::prelude::*;
    use outbox::{OutboxBackend, TransientError, TxOptions};
    use tokio::sync::Barrier;

    use crate::atomicity::databases::{AsyncDatabase, Seen};
    use crate::atomicity::{AppError, insert, opened};

    /// What two transactions meet at, in the first run of each.
    struct Meeting {
        place: Barrier,
        runs: AtomicU32,
    }

    impl Meeting {
        fn new() -> Arc<Self> {
            Arc::new(Self { place: Barrier::new(2), runs: AtomicU32::new(0) })
        }

        /// Waits for the other one, unless this is somebody's second run.
        async fn meet(&self, run: u32) {
            if run < 2 {
                self.place.wait().await;
            }
        }

        fn run(&self) -> u32 {
            self.runs.fetch_add(1, Ordering::SeqCst)
        }

        fn runs(&self) -> u32 {
            self.runs.load(Ordering::SeqCst)
        }
    }

    fn lock(name: &str) -> String {
        format!("SELECT name FROM account WHERE name = '{name}' FOR UPDATE")
    }

    /// Locks the two accounts one after the other, and tells.
    async fn cross<C>(conn: &mut C, meeting: &Meeting, first: &str, second: &str) -> Result<(), AppError>
    where
        C: AsyncConnection<Backend: OutboxBackend>,
    {
        let run = meeting.run();
        conn.batch_execute(&lock(first)).await?;
        conn.emit(&opened(&format!("{first}-first"))).await?;
        meeting.meet(run).await;
        conn.batch_execute(&lock(second)).await?;
        conn.emit(&opened(&format!("{second}-second"))).await?;
        Ok(())
    }

    #[transactional_event(retries = 5, retry_delay = "1ms")]
    async fn cross_again<C>(conn: &mut C, meeting: Arc<Meeting>, first: &str, second: &str) -> Result<(), AppError>
    where
        C: AsyncConnection<Backend: OutboxBackend>,
    {
        cross(conn, &meeting, first, second).await
    }

    #[transactional_event]
    async fn cross_once<C>(conn: &mut C, meeting: &Meeting, first: &str, second: &str) -> Result<(), AppError>
    where
        C: AsyncConnection<Backend: OutboxBackend>,
    {
        cross(conn, meeting, first, second).await
    }

    /// The inner transaction meets the deadlock, the outer one can be repeated.
    #[transactional_event(retries = 5, retry_delay = "1ms")]
    async fn cross_nested<C>(conn: &mut C, meeting: Arc<Meeting>, first: &str, second: &str) -> Result<(), AppError>
    where
        C: AsyncConnection<Backend: OutboxBackend>,
    {
        cross_once(conn, &meeting, first, second).await
    }

    /// The accounts `a` and `b`, without events.
    async fn accounts<D: AsyncDatabase>() -> D {
        let database = D::create().await;
        let mut conn = database.connect().await;
        for name in ["a", "b"] {
            conn.batch_execute(&insert(name)).await.expect("a new account");
        }
        database
    }

    fn sorted(mut events: Vec<String>) -> Vec<String> {
        events.sort();
        events
    }

    const ALL: [&str; 4] = ["a-first", "a-second", "b-first", "b-second"];

    pub(super) async fn a_deadlock_is_run_again<D: AsyncDatabase>() {
        let database = accounts::<D>().await;
        let (mut one, mut two) = (database.connect().await, database.connect().await);
        let meeting = Meeting::new();
        let (left, right) = tokio::join!(
            cross_again(&mut one, Arc::clone(&meeting), "a", "b"),
            cross_again(&mut two, Arc::clone(&meeting), "b", "a"),
        );
        left.and(right).expect("both get through");
        assert_eq!(meeting.runs(), 3);
        assert_eq!(sorted(database.seen().await.events), ALL);
    }

    pub(super) async fn a_deadlock_in_a_nested_transaction_runs_the_outermost_one_again<D: AsyncDatabase>() {
        let database = accounts::<D>().await;
        let (mut one, mut two) = (database.connect().await, database.connect().await);
        let meeting = Meeting::new();
        let (left, right) = tokio::join!(
            cross_nested(&mut one, Arc::clone(&meeting), "a", "b"),
            cross_nested(&mut two, Arc::clone(&meeting), "b", "a"),
        );
        left.and(right).expect("both get through");
        assert_eq!(meeting.runs(), 3);
        assert_eq!(sorted(database.seen().await.events), ALL);
    }

    pub(super) async fn without_retries_a_deadlock_is_an_error_and_keeps_nothing<D: AsyncDatabase>() {
        let database = accounts::<D>().await;
        let (mut one, mut two) = (database.connect().await, database.connect().await);
        let meeting = Meeting::new();
        let (left, right) =
            tokio::join!(cross_once(&mut one, &meeting, "a", "b"), cross_once(&mut two, &meeting, "b", "a"));
        assert!(left.is_ok() != right.is_ok(), "{left:?} {right:?}");
        assert_eq!(database.seen().await.events.len(), 2);
        for conn in [&mut one, &mut two] {
            let again = outbox::transaction(conn, async |conn| conn.emit(&opened("again")).await).await;
            again.expect("both connections are usable");
        }
    }

    /// Counts the accounts and opens one more: two of these cannot have run one after the other.
    #[transactional_event(isolation = "serializable", retries = 5, retry_delay = "1ms")]
    async fn count_and_open<C>(conn: &mut C, meeting: Arc<Meeting>, name: String) -> Result<(), AppError>
    where
        C: AsyncConnection<Backend: OutboxBackend>,
    {
        let run = meeting.run();
        conn.batch_execute("SELECT count(*) FROM account").await?;
        meeting.meet(run).await;
        conn.batch_execute(&insert(&name)).await?;
        conn.emit(&opened(&name)).await?;
        Ok(())
    }

    pub(super) async fn a_serialization_conflict_is_run_again<D: AsyncDatabase>() {
        let database = D::create().await;
        let (mut one, mut two) = (database.connect().await, database.connect().await);
        let meeting = Meeting::new();
        let (left, right) = tokio::join!(
            count_and_open(&mut one, Arc::clone(&meeting), "a".to_owned()),
            count_and_open(&mut two, Arc::clone(&meeting), "b".to_owned()),
        );
        left.and(right).expect("both get through");
        assert_eq!(meeting.runs(), 3);
        let seen = database.seen().await;
        assert_eq!((seen.accounts, sorted(seen.events)), (vec!["a".into(), "b".into()], vec!["a".into(), "b".into()]));
    }

    /// An error that is no `std::error::Error`.
    #[derive(Debug)]
    enum Contested {
        TakenMeanwhile,
        Database(diesel::result::Error),
    }

    impl From<diesel::result::Error> for Contested {
        fn from(error: diesel::result::Error) -> Self {
            Self::Database(error)
        }
    }

    impl TransientError for Contested {
        fn is_transient(&self) -> bool {
            match self {
                Self::TakenMeanwhile => true,
                Self::Database(error) => error.is_transient(),
            }
        }
    }

    #[transactional_event(retries = 3, retry_delay = Duration::from_micros(10))]
    async fn lose<C>(conn: &mut C, runs: &AtomicU32, losses: u32) -> Result<u32, Contested>
    where
        C: AsyncConnection<Backend: OutboxBackend>,
    {
        let run = runs.fetch_add(1, Ordering::SeqCst) + 1;
        let name = format!("run-{run}");
        conn.batch_execute(&insert(&name)).await?;
        conn.emit(&opened(&name)).await?;
        if run <= losses { Err(Contested::TakenMeanwhile) } else { Ok(run) }
    }

    pub(super) async fn a_conflict_that_the_error_type_knows_is_run_again<D: AsyncDatabase>() {
        let database = D::create().await;
        let mut conn = database.connect().await;
        let runs = AtomicU32::new(0);
        assert_eq!(lose(&mut conn, &runs, 2).await.expect("the third run gets through"), 3);
        assert_eq!(database.seen().await, Seen::both(&["run-3"]));
    }

    pub(super) async fn retries_come_to_an_end<D: AsyncDatabase>() {
        let database = D::create().await;
        let mut conn = database.connect().await;
        let runs = AtomicU32::new(0);
        assert!(matches!(lose(&mut conn, &runs, 99).await, Err(Contested::TakenMeanwhile)));
        assert_eq!(runs.load(Ordering::SeqCst), 4, "the first, and three more");
        assert_eq!(database.seen().await, Seen::default());

        let (runs, options) = (AtomicU32::new(0), TxOptions::new().retries(2).retry_delay(Duration::ZERO));
        let out: Result<(), Contested> = outbox::transaction_with(options, &mut conn, async |conn| {
            runs.fetch_add(1, Ordering::SeqCst);
            conn.emit(&opened("ann")).await?;
            Err(Contested::TakenMeanwhile)
        })
        .await;
        assert!(out.is_err());
        assert_eq!(runs.load(Ordering::SeqCst), 3);
        assert_eq!(database.seen().await, Seen::default());
    }

    #[transactional_event(retries = 3, retry_delay = "0us")]
    async fn change<C>(
        conn: &mut C,
        runs: &AtomicU32,
        mut names: Vec<String>,
        (mut first, second): (String, impl Clone + AsRef<str> + Send),
    ) -> Result<Vec<String>, Contested>
    where
        C: AsyncConnection<Backend: OutboxBackend>,
    {
        conn.emit(&opened(&first)).await?;
        first.push('!');
        names.extend([first, second.as_ref().to_owned()]);
        if runs.fetch_add(1, Ordering::SeqCst) == 0 { Err(Contested::TakenMeanwhile) } else { Ok(names) }
    }

    pub(super) async fn each_run_has_its_own_parameters<D: AsyncDatabase>() {
        let database = D::create().await;
        let mut conn = database.connect().await;
        let runs = AtomicU32::new(0);
        let names = change(&mut conn, &runs, vec!["z".to_owned()], ("a".to_owned(), "b")).await;
        assert_eq!(names.expect("the second run gets through"), ["z", "a!", "b"]);
        assert_eq!(database.seen().await.events, ["a"]);
    }
}

mod blocking {
    use std::sync::atomic::{AtomicU32, Ordering};
    use std::sync::mpsc;

    use diesel::connection::{InstrumentationEvent, SimpleConnection};
    use diesel::{Connection, SqliteConnection};
    use outbox::OutboxBackend;
    use outbox::prelude::*;

    use crate::atomicity::databases::{BlockingDatabase, Seen, Sqlite, on_each_blocking_database};
    use crate::atomicity::{AppError, insert, opened};

    on_each_blocking_database!(a_conflict_is_run_again);

    mod cases {
        use super::*;

        #[derive(Debug, thiserror::Error)]
        enum Contested {
            #[error("somebody was first: deadlock detected")]
            TakenMeanwhile,
            #[error("the database says no")]
            Database(#[from] diesel::result::Error),
        }

        #[transactional_event(retries = 3, retry_delay = "10us")]
        fn lose<C: Connection<Backend: OutboxBackend>>(conn: &mut C, runs: &AtomicU32) -> Result<u32, Contested> {
            let run = runs.fetch_add(1, Ordering::SeqCst) + 1;
            let name = format!("run-{run}");
            conn.batch_execute(&insert(&name))?;
            conn.emit(&opened(&name))?;
            if run < 3 { Err(Contested::TakenMeanwhile) } else { Ok(run) }
        }

        pub(super) fn a_conflict_is_run_again<D: BlockingDatabase>() {
            let database = D::create();
            let runs = AtomicU32::new(0);
            assert_eq!(lose(&mut database.connect(), &runs).expect("the third run gets through"), 3);
            assert_eq!(database.seen(), Seen::both(&["run-3"]));
        }
    }

    #[transactional_event(retries = 100, retry_delay = "1ms")]
    fn open(conn: &mut SqliteConnection, name: &str) -> Result<(), AppError> {
        conn.batch_execute(&insert(name))?;
        conn.emit(&opened(name))?;
        Ok(())
    }

    #[test]
    fn a_locked_sqlite_file_is_tried_again() {
        let database = <Sqlite as BlockingDatabase>::create();
        let (mut writer, mut conn) = (BlockingDatabase::connect(&database), BlockingDatabase::connect(&database));
        conn.batch_execute("PRAGMA busy_timeout = 0").expect("a setting");
        let (refused, was_refused) = mpsc::channel();
        conn.set_instrumentation(move |event: InstrumentationEvent<'_>| {
            if let InstrumentationEvent::FinishQuery { error: Some(error), .. } = event {
                let _ = refused.send(error.to_string());
            }
        });
        writer.batch_execute("BEGIN IMMEDIATE").expect("the only writer");
        std::thread::scope(|scope| {
            let opened = scope.spawn(move || open(&mut conn, "ann"));
            let error = was_refused.recv().expect("it is refused at first");
            assert!(error.contains("locked"), "{error}");
            writer.batch_execute("COMMIT").expect("the other one may now");
            opened.join().expect("no panic").expect("it was run again");
        });
        assert_eq!(BlockingDatabase::seen(&database), Seen::both(&["ann"]));
    }
}
