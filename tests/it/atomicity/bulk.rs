//! Very many events in one call.

use super::databases::{on_each_blocking_database, on_each_database};

on_each_database!(a_hundred_thousand_events_in_one_call_keep_their_order);

mod cases {
    use diesel::result::Error;
    use outbox::prelude::*;

    use crate::atomicity::databases::AsyncDatabase;
    use crate::atomicity::{Opened, opened};

    pub(super) async fn a_hundred_thousand_events_in_one_call_keep_their_order<D: AsyncDatabase>() {
        let database = D::create().await;
        let mut conn = database.connect().await;
        let events: Vec<Opened> = (0..100_000).map(|n| opened(&format!("n{n:06}"))).collect();
        let out = outbox::transaction(&mut conn, async |conn| conn.emit_all(&events).await).await;
        assert_eq!(out, Ok::<_, Error>(100_000));
        let stored = database.seen().await.events;
        assert!(stored.iter().eq(events.iter().map(|event| &event.name)));
    }
}

mod blocking {
    use super::on_each_blocking_database;

    on_each_blocking_database!(a_hundred_thousand_events_in_one_call_keep_their_order);

    mod cases {
        use diesel::result::Error;
        use outbox::prelude::*;

        use crate::atomicity::databases::BlockingDatabase;
        use crate::atomicity::{Opened, opened};

        pub(super) fn a_hundred_thousand_events_in_one_call_keep_their_order<D: BlockingDatabase>() {
            let database = D::create();
            let mut conn = database.connect();
            let events: Vec<Opened> = (0..100_000).map(|n| opened(&format!("n{n:06}"))).collect();
            let out = outbox::sync::transaction(&mut conn, |conn| conn.emit_all(&events));
            assert_eq!(out, Ok::<_, Error>(100_000));
            let stored = database.seen().events;
            assert!(stored.iter().eq(events.iter().map(|event| &event.name)));
        }
    }
}
