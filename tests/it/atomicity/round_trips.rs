//! What a transaction and its events cost, counted at the protocol.

use std::time::Instant;

use diesel::result::Error;
use diesel_async::{AsyncConnection, AsyncMysqlConnection, AsyncPgConnection};
use outbox::prelude::*;
use outbox::{Isolation, TxOptions, transaction_with};

use super::databases::{AsyncDatabase, Mysql, Postgres};
use super::wire::Wire;
use super::{Opened, opened};

/// BEGIN, and COMMIT.
const EMPTY: usize = 2;

#[transactional_event]
async fn emit_n<C>(conn: &mut C, n: usize) -> Result<(), Error>
where
    C: AsyncConnection<Backend: outbox::OutboxBackend>,
{
    for _ in 0..n {
        conn.emit(&opened("ann")).await?;
    }
    Ok(())
}

#[transactional_event(emit = |names| names.iter().map(|name| opened(name)).collect::<Vec<_>>())]
async fn emit_at_the_end<C>(conn: &mut C, n: usize) -> Result<Vec<String>, Error>
where
    C: AsyncConnection<Backend: outbox::OutboxBackend>,
{
    Ok(vec!["ann".to_owned(); n])
}

#[transactional_event(isolation = "serializable", read_only)]
async fn careful<C>(conn: &mut C) -> Result<(), Error>
where
    C: AsyncConnection<Backend: outbox::OutboxBackend>,
{
    Ok(())
}

#[tokio::test]
async fn postgres_is_asked_once_for_an_event_and_never_for_the_check() {
    let database = <Postgres as AsyncDatabase>::create().await;
    let wire = Wire::postgres(database.url()).await;
    let mut conn = AsyncPgConnection::establish(&wire.url).await.expect("a connection");
    emit_n(&mut conn, 1).await.expect("commits"); // prepares its statement
    wire.take();

    conn.transaction::<_, Error, _>(async |_| Ok(())).await.expect("commits");
    assert_eq!(wire.take(), EMPTY, "Diesel's own");
    emit_n(&mut conn, 0).await.expect("commits");
    assert_eq!(wire.take(), EMPTY, "the check travels with COMMIT");
    careful(&mut conn).await.expect("commits");
    assert_eq!(wire.take(), EMPTY, "the options travel with BEGIN");
    for n in [1, 7] {
        emit_n(&mut conn, n).await.expect("commits");
        assert_eq!(wire.take(), EMPTY + n);
        emit_at_the_end(&mut conn, n).await.expect("commits");
        assert_eq!(wire.take(), EMPTY + 1);
    }
    let events: Vec<Opened> = (0..3000).map(|n| opened(&n.to_string())).collect();
    outbox::transaction(&mut conn, async |conn| conn.emit_all(&events).await).await.expect("commits");
    assert_eq!(wire.take(), EMPTY + 1, "any number of events in one call");
    outbox::transaction(&mut conn, async |conn| emit_n(conn, 1).await).await.expect("commits");
    assert_eq!(wire.take(), 2 * EMPTY + 1, "a savepoint costs what Diesel's costs");
    outbox::transaction(&mut conn, async |_| Err::<(), _>(Error::NotFound)).await.expect_err("rolls back");
    assert_eq!(wire.take(), EMPTY);
}

#[cfg(feature = "postgres-sync")]
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn postgres_is_asked_as_often_by_a_blocking_connection() {
    #[transactional_event(isolation = "repeatable read")]
    fn emit_n(conn: &mut diesel::PgConnection, n: usize) -> Result<(), Error> {
        for _ in 0..n {
            conn.emit(&opened("ann"))?;
        }
        Ok(())
    }
    let database = <Postgres as AsyncDatabase>::create().await;
    let wire = Wire::postgres(database.url()).await;
    let url = format!("{}?sslmode=disable&gssencmode=disable", wire.url);
    tokio::task::block_in_place(|| {
        let mut conn = <diesel::PgConnection as diesel::Connection>::establish(&url).expect("a connection");
        emit_n(&mut conn, 1).expect("commits"); // prepares its statement
        wire.take();
        for n in [0, 1, 7] {
            emit_n(&mut conn, n).expect("commits");
            assert_eq!(wire.take(), EMPTY + n);
        }
    });
}

#[tokio::test]
async fn mysql_is_asked_once_for_an_event_and_never_for_the_guard() {
    let database = <Mysql as AsyncDatabase>::create().await;
    let wire = Wire::mysql(database.url()).await;
    let mut conn = AsyncMysqlConnection::establish(&wire.url).await.expect("a connection");
    emit_n(&mut conn, 1).await.expect("commits"); // prepares its statement
    wire.take();

    conn.transaction::<_, Error, _>(async |_| Ok(())).await.expect("commits");
    assert_eq!(wire.take(), EMPTY, "Diesel's own");
    emit_n(&mut conn, 0).await.expect("commits");
    assert_eq!(wire.take(), EMPTY, "the guard travels with BEGIN and COMMIT");
    let options = TxOptions::new().isolation(Isolation::Serializable);
    transaction_with(options, &mut conn, async |_| Ok::<_, Error>(())).await.expect("commits");
    assert_eq!(wire.take(), EMPTY, "the options travel with BEGIN");
    let start = Instant::now();
    emit_n(&mut conn, 20).await.expect("commits");
    let asked = wire.take();
    // Once in a second it also looks whether the outbox is full.
    let looks = 1 + usize::try_from(start.elapsed().as_secs()).expect("a short test");
    assert!((EMPTY + 20..=EMPTY + 20 + looks).contains(&asked), "{asked}");
}
