//! MySQL rolls back everything at a deadlock. A body that swallows that error goes on outside its transaction.

use std::sync::Arc;

use diesel::QueryableByName;
use diesel::sql_types::{BigInt, Text};
use diesel_async::{AsyncConnection, AsyncMysqlConnection, RunQueryDsl, SimpleAsyncConnection};
use outbox::prelude::*;
use outbox::{TxOptions, transaction_with};
use tokio::sync::Barrier;

use super::databases::{AsyncDatabase, Mysql};
use super::{AppError, insert, opened};

/// Locks both accounts, swallows the error of a deadlock, and goes on writing.
async fn careless(conn: &mut AsyncMysqlConnection, met: &Barrier, order: [&str; 2]) -> Result<bool, AppError> {
    let lock = |name: &str| format!("SELECT name FROM account WHERE name = '{name}' FOR UPDATE");
    conn.batch_execute(&lock(order[0])).await?;
    conn.emit(&opened(&format!("{}-first", order[0]))).await?;
    met.wait().await;
    let failed = conn.batch_execute(&lock(order[1])).await.is_err();
    conn.batch_execute(&insert(&format!("{}-late", order[0]))).await?;
    conn.emit(&opened(&format!("{}-late", order[0]))).await?;
    Ok(failed)
}

#[derive(QueryableByName)]
struct Setting {
    #[diesel(sql_type = BigInt)]
    value: i64,
}

async fn autocommit(conn: &mut AsyncMysqlConnection) -> i64 {
    let setting = diesel::sql_query("SELECT CAST(@@autocommit AS SIGNED) AS value");
    setting.get_result::<Setting>(conn).await.expect("a setting").value
}

async fn two_accounts() -> Mysql {
    let database = <Mysql as AsyncDatabase>::create().await;
    let mut conn = database.connect().await;
    for name in ["a", "b"] {
        conn.batch_execute(&insert(name)).await.expect("a new account");
    }
    database
}

/// Both at once: how each ended, and whose connection it was.
async fn collide(database: &Mysql, options: TxOptions) -> [(Result<bool, AppError>, AsyncMysqlConnection); 2] {
    let met = Arc::new(Barrier::new(2));
    let run = async |order: [&'static str; 2]| {
        let mut conn = database.connect().await;
        let body = async |conn: &mut AsyncMysqlConnection| careless(conn, &met, order).await;
        let out = transaction_with(options, &mut conn, body).await;
        (out, conn)
    };
    let (left, right) = tokio::join!(run(["a", "b"]), run(["b", "a"]));
    [left, right]
}

#[tokio::test]
async fn a_swallowed_deadlock_is_an_error_and_keeps_nothing() {
    let database = two_accounts().await;
    let mut losers = 0;
    for (out, mut conn) in collide(&database, TxOptions::new()).await {
        if let Err(error) = &out {
            assert!(error.to_string().contains("outbox_guard"), "{error}");
            losers += 1;
        } else {
            assert!(matches!(out, Ok(false)), "{out:?}");
        }
        assert_eq!(autocommit(&mut conn).await, 1);
        outbox::transaction(&mut conn, async |conn| conn.emit(&opened("again")).await).await.expect("usable");
    }
    assert_eq!(losers, 1);
    let seen = database.seen().await;
    assert_eq!(seen.accounts.len(), 3, "{seen:?}");
    assert_eq!(seen.events.len(), 4, "{seen:?}");
}

#[tokio::test]
async fn without_the_check_a_swallowed_deadlock_loses_half_of_the_transaction() {
    let database = two_accounts().await;
    for (out, _) in collide(&database, TxOptions::new().commit_check(false)).await {
        out.expect("nobody noticed");
    }
    let seen = database.seen().await;
    assert_eq!((seen.accounts.len(), seen.events.len()), (4, 3), "the loser's first event is gone: {seen:?}");
}

#[tokio::test]
async fn ddl_in_the_body_is_an_error_because_it_committed() {
    let database = <Mysql as AsyncDatabase>::create().await;
    let mut conn = database.connect().await;
    let out: Result<(), AppError> = outbox::transaction(&mut conn, async |conn| {
        conn.emit(&opened("committed by the server")).await?;
        conn.batch_execute("CREATE TABLE other (id INT)").await?;
        conn.emit(&opened("gone")).await?;
        Ok(())
    })
    .await;
    assert!(out.is_err());
    assert_eq!(database.seen().await.events, ["committed by the server"]);
    assert_eq!(autocommit(&mut conn).await, 1);
}

#[tokio::test]
async fn autocommit_is_as_before_after_every_end() {
    #[derive(QueryableByName)]
    struct Name {
        #[diesel(sql_type = Text)]
        name: String,
    }
    let database = <Mysql as AsyncDatabase>::create().await;
    let mut conn = database.connect().await;
    let ends: [(&str, bool); 3] =
        [("INSERT INTO account VALUES ('ann')", true), ("SELECT 1", false), ("SELECT no", true)];
    for (sql, commit) in ends {
        let out: Result<(), AppError> = outbox::transaction(&mut conn, async |conn| {
            conn.batch_execute(sql).await?;
            if commit { Ok(()) } else { Err(AppError::Refused) }
        })
        .await;
        assert_eq!(out.is_ok(), commit && sql.starts_with("INSERT"));
        assert_eq!(autocommit(&mut conn).await, 1, "{sql}");
    }
    conn.batch_execute("SET autocommit = 0").await.expect("a setting");
    outbox::transaction(&mut conn, async |conn| conn.emit(&opened("ann")).await).await.expect("commits");
    assert_eq!(autocommit(&mut conn).await, 0, "the session's own");
    let names = diesel::sql_query("SELECT name FROM account").load::<Name>(&mut conn).await.expect("one account");
    assert_eq!(names[0].name, "ann");
    conn.begin_test_transaction().await.expect("nothing is open");
}
