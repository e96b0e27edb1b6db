//! A relay over something that is no store, with something that is no sink.
use outbox::Relay;

#[derive(Clone)]
struct Plain;

async fn no_store() {
    let _ = Relay::builder(Plain).start().await;
}

async fn no_sink(store: outbox::sqlite::SqliteStore) {
    let _ = Relay::builder(store).sink(Plain).start_with(Plain).await;
}

fn main() {}
