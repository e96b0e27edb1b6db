//! The least that a producer's and a relay's user need.

use diesel_async::{AsyncConnection, AsyncPgConnection, SimpleAsyncConnection};
use outbox::RouteSpec;
use outbox_tests::service::create_user_postgres;

use super::opened;

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
