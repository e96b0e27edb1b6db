//! Isolation, read only, deferrable, and the check at COMMIT.

use super::databases::{on_each_blocking_database, on_each_database};

on_each_database!(a_read_only_transaction_writes_nothing_and_the_next_one_does, every_isolation_commits,);

mod cases {
    use diesel_async::{AsyncConnection, SimpleAsyncConnection};
    use outbox::prelude::*;
    use outbox::{Isolation, OutboxBackend, TxOptions, transaction_with};

    use crate::atomicity::databases::{AsyncDatabase, Seen};
    use crate::atomicity::{AppError, insert, opened};

    #[transactional_event(read_only)]
    async fn write_anyway<C>(conn: &mut C, event: bool) -> Result<(), AppError>
    where
        C: AsyncConnection<Backend: OutboxBackend>,
    {
        conn.batch_execute("SELECT count(*) FROM account").await?;
        match event {
            true => conn.emit(&opened("ann")).await.map(drop)?,
            false => conn.batch_execute(&insert("ann")).await?,
        }
        Ok(())
    }

    #[transactional_event(read_only)]
    async fn read<C>(conn: &mut C) -> Result<(), AppError>
    where
        C: AsyncConnection<Backend: OutboxBackend>,
    {
        conn.batch_execute("SELECT count(*) FROM account").await?;
        Ok(())
    }

    pub(super) async fn a_read_only_transaction_writes_nothing_and_the_next_one_does<D: AsyncDatabase>() {
        let database = D::create().await;
        let mut conn = database.connect().await;
        write_anyway(&mut conn, true).await.expect_err("the event is refused");
        write_anyway(&mut conn, false).await.expect_err("the row is refused");
        read(&mut conn).await.expect("reads");
        let out: Result<(), AppError> = outbox::transaction(&mut conn, async |conn| {
            conn.batch_execute(&insert("bob")).await?;
            conn.emit(&opened("bob")).await?;
            Ok(())
        })
        .await;
        out.expect("the connection writes as before");
        assert_eq!(database.seen().await, Seen::both(&["bob"]));
    }

    pub(super) async fn every_isolation_commits<D: AsyncDatabase>() {
        let database = D::create().await;
        let mut conn = database.connect().await;
        for (name, isolation) in
            [("a", Isolation::ReadCommitted), ("b", Isolation::RepeatableRead), ("c", Isolation::Serializable)]
        {
            let options = TxOptions::new().isolation(isolation);
            let out: Result<(), AppError> = transaction_with(options, &mut conn, async |conn| {
                conn.batch_execute(&insert(name)).await?;
                conn.emit(&opened(name)).await?;
                Ok(())
            })
            .await;
            out.expect("commits");
        }
        assert_eq!(database.seen().await, Seen::both(&["a", "b", "c"]));
    }
}

mod settings {
    use diesel::QueryableByName;
    use diesel::sql_types::Text;
    use diesel_async::{AsyncMysqlConnection, AsyncPgConnection, RunQueryDsl};
    use outbox::prelude::*;

    use crate::atomicity::AppError;
    use crate::atomicity::databases::{AsyncDatabase, Mysql, Postgres, Sqlite};

    #[derive(QueryableByName)]
    struct Setting {
        #[diesel(sql_type = Text)]
        value: String,
    }

    const POSTGRES: &str = "SELECT current_setting('transaction_isolation') || ', read only ' || \
        current_setting('transaction_read_only') || ', deferrable ' || current_setting('transaction_deferrable') AS value";

    async fn value(conn: &mut AsyncPgConnection) -> Result<String, AppError> {
        Ok(diesel::sql_query(POSTGRES).get_result::<Setting>(conn).await?.value)
    }

    #[transactional_event]
    async fn plain(conn: &mut AsyncPgConnection) -> Result<String, AppError> {
        value(conn).await
    }

    #[transactional_event(isolation = "repeatable read", read_only)]
    async fn repeatable(conn: &mut AsyncPgConnection) -> Result<String, AppError> {
        value(conn).await
    }

    #[transactional_event(deferrable)]
    async fn deferrable(conn: &mut AsyncPgConnection) -> Result<String, AppError> {
        value(conn).await
    }

    #[tokio::test]
    async fn postgres_runs_as_the_options_say() {
        let database = <Postgres as AsyncDatabase>::create().await;
        let mut conn = AsyncDatabase::connect(&database).await;
        let expected = "repeatable read, read only on, deferrable off";
        assert_eq!(repeatable(&mut conn).await.expect("reads"), expected);
        let expected = "serializable, read only on, deferrable on";
        assert_eq!(deferrable(&mut conn).await.expect("reads"), expected);
        let expected = "read committed, read only off, deferrable off";
        assert_eq!(plain(&mut conn).await.expect("reads"), expected);
    }

    /// What it sees of a row that is committed in between.
    async fn seen_meanwhile(
        conn: &mut AsyncMysqlConnection,
        other: &mut AsyncMysqlConnection,
    ) -> Result<bool, AppError> {
        let count = "SELECT CAST(count(*) AS CHAR) AS value FROM account";
        let before = diesel::sql_query(count).get_result::<Setting>(conn).await?.value;
        let name = format!("n{before}");
        diesel::sql_query(crate::atomicity::insert(&name)).execute(other).await?;
        Ok(diesel::sql_query(count).get_result::<Setting>(conn).await?.value != before)
    }

    #[transactional_event(isolation = "read committed")]
    async fn committed(conn: &mut AsyncMysqlConnection, other: &mut AsyncMysqlConnection) -> Result<bool, AppError> {
        seen_meanwhile(conn, other).await
    }

    #[transactional_event(isolation = "repeatable read")]
    async fn repeated(conn: &mut AsyncMysqlConnection, other: &mut AsyncMysqlConnection) -> Result<bool, AppError> {
        seen_meanwhile(conn, other).await
    }

    #[tokio::test]
    async fn mysql_runs_as_the_options_say() {
        let database = <Mysql as AsyncDatabase>::create().await;
        let (mut conn, mut other) = (AsyncDatabase::connect(&database).await, AsyncDatabase::connect(&database).await);
        assert!(committed(&mut conn, &mut other).await.expect("reads"), "what is committed is seen");
        assert!(!repeated(&mut conn, &mut other).await.expect("reads"), "the first look stays");
    }

    #[transactional_event(deferrable)]
    async fn never_deferrable<C>(conn: &mut C) -> Result<(), AppError>
    where
        C: diesel_async::AsyncConnection<Backend: outbox::OutboxBackend>,
    {
        Ok(())
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn what_a_database_does_not_have_is_an_error_that_says_so() {
        let mysql = <Mysql as AsyncDatabase>::create().await;
        let error = never_deferrable(&mut mysql.connect().await).await.expect_err("MySQL has no such thing");
        assert_eq!(error.to_string(), "MySQL has no `deferrable` transactions: leave the option out");
        let sqlite = <Sqlite as AsyncDatabase>::create().await;
        let mut conn = AsyncDatabase::connect(&sqlite).await;
        let error = never_deferrable(&mut conn).await.expect_err("SQLite has no such thing");
        assert_eq!(error.to_string(), "SQLite has no `deferrable` transactions: leave the option out");
        outbox::transaction(&mut conn, async |_| Ok::<_, AppError>(())).await.expect("nothing is open");
    }

    #[transactional_event(commit_check = false)]
    async fn unchecked(conn: &mut AsyncPgConnection) -> Result<(), AppError> {
        conn.emit(&crate::atomicity::opened("lost")).await?;
        let _ = diesel::sql_query("SELECT no").execute(conn).await;
        Ok(())
    }

    #[tokio::test]
    async fn without_the_check_a_swallowed_error_loses_the_transaction_and_says_ok() {
        let database = <Postgres as AsyncDatabase>::create().await;
        unchecked(&mut AsyncDatabase::connect(&database).await).await.expect("nobody noticed");
        assert_eq!(AsyncDatabase::seen(&database).await.events, [] as [String; 0]);
    }
}

mod blocking {
    use super::on_each_blocking_database;

    on_each_blocking_database!(options_hold_for_blocking_connections_too);

    mod cases {
        use diesel::Connection;
        use diesel::connection::SimpleConnection;
        use outbox::prelude::*;
        use outbox::{Isolation, OutboxBackend, TxOptions, sync};

        use crate::atomicity::databases::{BlockingDatabase, Seen};
        use crate::atomicity::{AppError, opened};

        #[transactional_event(read_only)]
        fn write_anyway<C: Connection<Backend: OutboxBackend>>(conn: &mut C) -> Result<(), AppError> {
            conn.emit(&opened("ann"))?;
            Ok(())
        }

        pub(super) fn options_hold_for_blocking_connections_too<D: BlockingDatabase>() {
            let database = D::create();
            let mut conn = database.connect();
            write_anyway(&mut conn).expect_err("the event is refused");
            let options = TxOptions::new().isolation(Isolation::Serializable).retries(2);
            let out: Result<(), AppError> = sync::transaction_with(options, &mut conn, |conn| {
                conn.batch_execute(&crate::atomicity::insert("bob"))?;
                conn.emit(&opened("bob"))?;
                Ok(())
            });
            out.expect("commits");
            assert_eq!(database.seen(), Seen::both(&["bob"]));
        }
    }
}
