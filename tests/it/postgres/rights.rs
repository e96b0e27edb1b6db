//! The least that a producer's and a relay's user need.

use diesel_async::{AsyncConnection, AsyncPgConnection, SimpleAsyncConnection};
use std::time::Duration;

use outbox::postgres::PostgresStore;
use outbox::{RouteSpec, Store};
use outbox_tests::service::create_user_postgres;

use super::{claim, opened, request};

async fn connect_as(url: &str, user: &str) -> AsyncPgConnection {
    let url = url.replacen("postgres@", &format!("{user}@"), 1);
    AsyncPgConnection::establish(&url).await.expect("connects")
}

#[tokio::test(flavor = "multi_thread")]
async fn a_producer_may_insert_events_and_nothing_else() {
    let (world, _) = opened(&RouteSpec::default()).await;
    let user = format!("producer_{}", uuid::Uuid::new_v4().simple());
    let grants = format!(
        "CREATE ROLE {user} LOGIN; GRANT INSERT ON users TO {user}; GRANT INSERT ON outbox_event TO {user}; \
         GRANT SELECT ON outbox_limit TO {user}; GRANT USAGE ON SEQUENCE outbox_event_seq TO {user}"
    );
    world.conn().await.execute(&grants).await;
    let mut conn = connect_as(&world.database_url(), &user).await;
    create_user_postgres(&mut conn, 1).await.expect("emits");
    assert_eq!(world.conn().await.count("outbox_event").await, 1);
    for forbidden in [
        "SELECT count(*) FROM outbox_event",
        "DELETE FROM outbox_event",
        "UPDATE outbox_limit SET is_full = true",
        "DELETE FROM outbox_batch",
        "SELECT outbox_rebase(false)",
    ] {
        conn.batch_execute(forbidden).await.expect_err(forbidden);
    }
    drop(conn);
    world.conn().await.execute(&format!("DROP OWNED BY {user}; DROP ROLE {user}")).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_relay_needs_to_own_nothing() {
    let (world, _) = opened(&RouteSpec::default()).await;
    let user = format!("relay_{}", uuid::Uuid::new_v4().simple());
    let tables = "outbox_event, outbox_cursor, outbox_batch, outbox_part, outbox_held, outbox_limit, outbox_schema, outbox_migration";
    let slots = "outbox_event_0, outbox_event_1, outbox_event_2, outbox_event_3";
    let grants = format!(
        "CREATE ROLE {user} LOGIN; GRANT SELECT, INSERT, UPDATE, DELETE ON {tables} TO {user}; \
         GRANT USAGE, SELECT ON ALL SEQUENCES IN SCHEMA public TO {user}; GRANT SELECT, TRUNCATE ON {slots} TO {user}"
    );
    let mut owner = world.conn().await;
    owner.execute(&grants).await;
    owner.execute(&super::events("a", 10)).await;
    let store = PostgresStore::new(&world.database_url().replacen("postgres@", &format!("{user}@"), 1));
    let spec = RouteSpec::default();
    store.open(&spec).await.expect("opens");
    assert_eq!(store.plan(&request(&spec.route)).await.expect("plans").rows, 10);
    let batch = claim(&store, &spec.route).await.expect("a batch");
    assert_eq!(store.read(&batch).await.expect("reads").len(), 10);
    let draft =
        outbox::PartDraft { table: "event_log".into(), ordinals: (0..10).collect(), frozen: outbox::Frozen::default() };
    store.freeze(&batch, vec![draft]).await.expect("freezes");
    store.settle(&batch).await.expect("settles");
    assert_eq!(store.prune(Duration::ZERO).await.expect("prunes"), 1);
    store.status().await.expect("a status");
    store.load().await.expect("a load");
    drop(store);
    owner.execute(&format!("DROP OWNED BY {user}; DROP ROLE {user}")).await;
}
