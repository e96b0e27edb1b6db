//! The whole road, with nothing going wrong.

use outbox::clickhouse::EventLogRow;
use outbox_tests::service::{UserCreated, user_created};

use crate::world::{Kind, World, create_users, on_each_database};

on_each_database!(
    with blocking postgres: event_inserted_to_outbox,
    event_outbox_processed,
    a_second_user_with_the_same_email_leaves_no_event,
);

async fn event_inserted_to_outbox(kind: Kind) {
    let world = World::new(kind).await;
    let mut conn = world.conn().await;
    conn.create_user(1).await.expect("a new user");
    assert_eq!((conn.count("users").await, conn.count("outbox_event").await), (1, 1));
    let described = conn
        .count(
            "outbox_event WHERE event_type = 'user_created' AND version = 1 AND destination = 'event_log' \
             AND payload LIKE '%user1@example.org%' AND bytes > 0",
        )
        .await;
    assert_eq!(described, 1);
}

async fn event_outbox_processed(kind: Kind) {
    let world = World::new(kind).await;
    let mut conn = world.conn().await;
    let committed = create_users(&mut conn, 1..251).await;
    world.drain().await;
    world.assert_exactly_once(&committed).await;

    let settings = outbox::clickhouse::ClickHouseSettings::from_vars(&outbox::Vars::new(world.vars()));
    let client = settings.expect("good settings").client();
    let mut rows: Vec<EventLogRow> = client.query("SELECT ?fields FROM event_log").fetch_all().await.expect("rows");
    // Ids are made in the order of the calls; ClickHouse sorts UUIDs by their second half first.
    rows.sort_by_key(|row| row.event_id);
    for (id, row) in (1..).zip(&rows) {
        assert_eq!(row.event_type, "user_created");
        assert_eq!(row.decode::<UserCreated>().expect("the struct reads back"), user_created(id));
    }
    let status = world.status().await;
    assert_eq!(world.route_status().await.pending_events(), 0);
    assert_eq!(status.stored_events, 0, "what is settled is pruned: {status:?}");
}

async fn a_second_user_with_the_same_email_leaves_no_event(kind: Kind) {
    let world = World::new(kind).await;
    let mut conn = world.conn().await;
    conn.create_user(1).await.expect("a new user");
    conn.create_user(1).await.expect_err("taken");
    assert_eq!((conn.count("users").await, conn.count("outbox_event").await), (1, 1));
}
