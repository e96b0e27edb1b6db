//! What MySQL's store has to promise beyond the contract that every store keeps: its locks. Where one stands against a race, the
//! race is arranged with a lock of the test's own.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use chrono::{DateTime, Utc};
use outbox::mysql::MySqlStore;
use outbox::{Claim, Frozen, PartDraft, PlanRequest, ReplayRequest, Route, RouteSpec, Store, StoreErrorKind};
use outbox_tests::service::Conn;
use uuid::Uuid;

use crate::atomicity::wire::Wire;
use crate::world::{Kind, World, create_users, eventually};

const LONG: Duration = Duration::from_secs(600);

/// How often a race is played that could not be arranged: what waits for a lock is guessed from how long it takes.
const RACES: u32 = 5;

/// A world with thirty events.
async fn opened() -> (World, MySqlStore) {
    let world = World::new(Kind::MySql).await;
    let store = world.mysql();
    store.open(&RouteSpec::default()).await.expect("opens");
    create_users(&mut world.conn().await, 0..30).await;
    (world, store)
}

fn request() -> PlanRequest {
    PlanRequest {
        route: Route::default(),
        rows: 1,
        linger: Duration::ZERO,
        rows_max: 10,
        bytes_max: u64::MAX,
        batches_max: 20,
    }
}

async fn claim(store: &MySqlStore) -> Option<Claim> {
    store.claim(&Route::default(), Uuid::new_v4(), LONG).await.expect("claims")
}

async fn deliver_all(store: &MySqlStore) {
    while let Some(claim) = claim(store).await {
        store.settle(&claim).await.expect("settles");
    }
}

fn draft() -> PartDraft {
    PartDraft { table: "event_log".into(), ordinals: (0..10).collect(), frozen: Frozen::default() }
}

/// How many sessions of this database wait for a lock: nothing else takes a second here. (`innodb_trx` would tell, but answers from a
/// cache that is not renewed while it is asked often.)
async fn waiting(watcher: &mut Conn) -> i64 {
    let of_ours = "information_schema.processlist p WHERE p.db = DATABASE() AND p.id <> CONNECTION_ID() \
        AND p.command IN ('Query', 'Execute') AND p.time >= 1";
    watcher.count(of_ours).await
}

/// Waits until `sessions` wait for a lock, or `done` says that they never will.
async fn blocked(watcher: &mut Conn, sessions: i64, done: impl Fn() -> bool) {
    eventually("they wait for the lock, or go on without", async || done() || waiting(watcher).await >= sessions).await;
}

/// What a step of a claim answers whose batch another relay claims while the step waits for the batch's row.
async fn stale_step(step: impl AsyncFnOnce(MySqlStore, Claim) -> StoreErrorKind) -> StoreErrorKind {
    let (world, store) = opened().await;
    store.plan(&request()).await.expect("plans");
    let stale = claim(&store).await.expect("a batch");
    store.freeze(&stale, vec![draft()]).await.expect("freezes");
    let mut other = world.conn().await;
    other.execute("START TRANSACTION; UPDATE outbox_batch SET owner = UUID(), attempt = attempt + 1").await;
    let mut watcher = world.conn().await;
    let (kind, ()) = tokio::join!(step(store, stale), async {
        blocked(&mut watcher, 1, || false).await;
        other.execute("COMMIT").await;
    });
    kind
}

#[tokio::test(flavor = "multi_thread")]
async fn a_claim_that_goes_stale_while_it_freezes_freezes_nothing() {
    let kind =
        stale_step(async |store, stale| store.freeze(&stale, vec![draft()]).await.expect_err("stale").kind()).await;
    assert_eq!(kind, StoreErrorKind::LeaseLost);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_claim_that_goes_stale_while_it_settles_a_part_settles_nothing() {
    let kind = stale_step(async |store, stale| store.settle_part(&stale, 0).await.expect_err("stale").kind()).await;
    assert_eq!(kind, StoreErrorKind::LeaseLost);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_claim_that_goes_stale_while_it_holds_events_holds_none() {
    let kind = stale_step(async |store, stale| {
        let events = store.read(&stale).await.expect("reads");
        let reason = outbox::HoldReason { dead: false, code: None, error: "no table".into() };
        let (table, ordinals) = ("event_log".into(), (0..10).collect());
        let hold = outbox::Hold { part: Some(0), table, ordinals, events, reason, delay: LONG };
        store.hold(&stale, &hold).await.expect_err("stale").kind()
    });
    assert_eq!(kind.await, StoreErrorKind::LeaseLost);
}

/// A planner that did not lock its route's row would seal what another one is sealing.
#[tokio::test(flavor = "multi_thread")]
async fn a_route_is_planned_by_one_at_a_time() {
    let (world, store) = opened().await;
    let mut other = world.conn().await;
    other.execute("START TRANSACTION; UPDATE outbox_cursor SET ordered = ordered, turned_at = turned_at + 1").await;
    let planned = store.plan(&request()).await.expect("gives way");
    assert!(planned.contended && planned.batches == 0, "{planned:?}");
    other.execute("ROLLBACK").await;
    assert_eq!(store.plan(&request()).await.expect("plans").rows, 30);
}

/// Two relays of an ordered route that did not look one after the other would each take a batch.
#[tokio::test(flavor = "multi_thread")]
async fn an_ordered_route_is_claimed_by_one_at_a_time() {
    let (world, store) = opened().await;
    store.open(&RouteSpec { ordered: true, ..RouteSpec::default() }).await.expect("opens");
    store.plan(&request()).await.expect("plans");
    let mut other = world.conn().await;
    other.execute("START TRANSACTION; SELECT route FROM outbox_cursor FOR UPDATE").await;
    assert!(claim(&store).await.is_none(), "another relay is looking");
    other.execute("ROLLBACK").await;
    assert!(claim(&store).await.is_some());
}

/// A batch that was claimed, and given back, after another relay had looked at it is another claim's.
#[tokio::test(flavor = "multi_thread")]
async fn a_batch_that_was_claimed_since_it_was_looked_at_is_not_taken() {
    for _ in 0..RACES {
        let (world, store) = opened().await;
        store.plan(&PlanRequest { rows_max: 30, ..request() }).await.expect("plans");
        let mut other = world.conn().await;
        // Not committed: whoever looks sees a batch that is free, and waits when it is about to take it.
        other.execute("START TRANSACTION; UPDATE outbox_batch SET attempt = attempt + 1, lease_until = 0").await;
        let mut watcher = world.conn().await;
        let (claimed, ()) = tokio::join!(claim(&store), async {
            blocked(&mut watcher, 1, || false).await;
            other.execute("COMMIT").await;
        });
        match claimed {
            None => return,
            // It looked after the commit, and is right.
            Some(claimed) if claimed.attempt == 2 => {}
            Some(claimed) => panic!("the claim says attempt 1, and it would be the second: {claimed:?}"),
        }
    }
    panic!("no claim has looked before the commit, {RACES} times");
}

/// Pruning that has chosen what goes and waits for one of the rows, while `meanwhile` promises events to a route. Then it goes on.
/// Returns what `meanwhile` did.
async fn while_events_are_pruned<T>(meanwhile: impl AsyncFn(&MySqlStore) -> T) -> (World, MySqlStore, T) {
    for _ in 0..RACES {
        let (world, store) = opened().await;
        store.plan(&request()).await.expect("plans");
        deliver_all(&store).await;
        let (mut other, mut watcher) = (world.conn().await, world.conn().await);
        other.execute("START TRANSACTION; SELECT seq FROM outbox_event WHERE seq = 1 FOR UPDATE").await;
        let pruner = store.clone();
        let pruning = tokio::spawn(async move { pruner.prune(Duration::ZERO).await.expect("prunes") });
        blocked(&mut watcher, 1, || pruning.is_finished()).await;
        let ended = AtomicBool::new(false);
        let (done, ()) = tokio::join!(
            async {
                let done = meanwhile(&store).await;
                ended.store(true, Ordering::SeqCst);
                done
            },
            async {
                blocked(&mut watcher, 2, || ended.load(Ordering::SeqCst)).await;
                other.execute("COMMIT").await;
            }
        );
        match pruning.await.expect("no panic") {
            // It has given way, and so the two did not meet.
            0 => {}
            pruned => {
                assert_eq!(pruned, 30);
                return (world, store, done);
            }
        }
    }
    panic!("pruning has given way, {RACES} times");
}

/// A replay whose promise did not wait for pruning would seal events that are being deleted.
#[tokio::test(flavor = "multi_thread")]
async fn a_replay_that_comes_while_events_are_pruned_seals_none_that_go() {
    let replayed = while_events_are_pruned(async |store| {
        let request = ReplayRequest {
            route: Route::default(),
            from: DateTime::<Utc>::UNIX_EPOCH,
            to: Utc::now() + Duration::from_secs(3600),
            all: true,
            rows_max: 10,
            bytes_max: u64::MAX,
        };
        store.replay(&request).await.expect("replays").rows
    });
    let (_world, store, replayed) = replayed.await;
    assert_eq!(replayed, 0, "they were gone");
    assert!(claim(&store).await.is_none());
}

/// So would the plan of a route that was opened without waiting for it.
#[tokio::test(flavor = "multi_thread")]
async fn a_route_that_is_opened_while_events_are_pruned_seals_none_that_go() {
    let late = Route::new("late");
    let planned = while_events_are_pruned(async |store| {
        store.open(&RouteSpec { route: Route::new("late"), ..RouteSpec::default() }).await.expect("opens");
        store.plan(&PlanRequest { route: Route::new("late"), ..request() }).await.expect("plans").rows
    });
    let (_world, store, planned) = planned.await;
    assert_eq!(planned, 0, "they were gone");
    assert!(store.claim(&late, Uuid::new_v4(), LONG).await.expect("claims").is_none());
}

/// Pruning that did not wait for whoever promises events to a route would take them away.
#[tokio::test(flavor = "multi_thread")]
async fn pruning_gives_way_to_a_route_that_is_being_opened() {
    let (world, store) = opened().await;
    store.plan(&request()).await.expect("plans");
    deliver_all(&store).await;
    let mut other = world.conn().await;
    let insert = "INSERT INTO outbox_cursor (route, gaps, old_gaps) VALUES ('late', '', '')";
    let lock = "SELECT version FROM outbox_migration ORDER BY version LIMIT 1 FOR UPDATE";
    other.execute(&format!("START TRANSACTION; {lock}; {insert}")).await;
    assert_eq!(store.prune(Duration::ZERO).await.expect("gives way"), 0);
    other.execute("COMMIT").await;
    assert_eq!(store.prune(Duration::ZERO).await.expect("prunes"), 0, "the new route has not delivered them");
    let route = Route::new("late");
    assert_eq!(store.plan(&PlanRequest { route, ..request() }).await.expect("plans").rows, 30);
}

/// A route that is there by the time pruning has its lock, and was not when it began to look.
#[tokio::test(flavor = "multi_thread")]
async fn a_route_that_is_opened_before_pruning_has_its_lock_keeps_its_events() {
    let (world, store) = opened().await;
    store.plan(&request()).await.expect("plans");
    deliver_all(&store).await;
    let (mut other, mut late, mut watcher) = (world.conn().await, world.conn().await, world.conn().await);
    // A table's lock is waited for where a row's is not.
    other.execute("LOCK TABLES outbox_migration WRITE").await;
    let pruner = store.clone();
    let pruning = tokio::spawn(async move { pruner.prune(Duration::ZERO).await.expect("prunes") });
    blocked(&mut watcher, 1, || pruning.is_finished()).await;
    assert!(!pruning.is_finished(), "it waits for its lock");
    late.execute("INSERT INTO outbox_cursor (route, gaps, old_gaps) VALUES ('late', '', '')").await;
    other.execute("UNLOCK TABLES").await;
    assert_eq!(pruning.await.expect("no panic"), 0, "the new route has not delivered them");
    let route = Route::new("late");
    assert_eq!(store.plan(&PlanRequest { route, ..request() }).await.expect("plans").rows, 30);
}

/// Counted at the protocol: a statement for each event would not end within a step's time where the server is not near.
#[tokio::test(flavor = "multi_thread")]
async fn a_large_batch_is_put_aside_in_a_few_statements() {
    const EVENTS: u32 = 5000;
    let world = World::new(Kind::MySql).await;
    let wire = Wire::mysql(&world.database_url()).await;
    let store = MySqlStore::new(&wire.url);
    store.open(&RouteSpec::default()).await.expect("opens");
    let emit = "INSERT INTO outbox_event (id, event_type, version, occurred_at, environment, destination, payload, bytes) \
        SELECT UUID(), 'a', 1, 0, 'test', 'event_log', '{}', 2 FROM seq_1_to_5000";
    world.conn().await.execute(emit).await;
    store.plan(&PlanRequest { rows_max: EVENTS, ..request() }).await.expect("plans");
    let mut batch = claim(&store).await.expect("a batch");
    let events = store.read(&batch).await.expect("reads");
    assert_eq!(batch.rows, EVENTS);
    // Out of a sealed batch, and out of a held one.
    for _ in 0..2 {
        let reason = outbox::HoldReason { dead: false, code: None, error: "no table".into() };
        let (table, ordinals) = ("event_log".into(), (0..EVENTS).collect());
        let hold = outbox::Hold { part: None, table, ordinals, events: events.clone(), reason, delay: Duration::ZERO };
        wire.take();
        store.hold(&batch, &hold).await.expect("holds");
        let asked = wire.take();
        assert!(asked <= 40, "{asked} times for {EVENTS} events");
        store.settle(&batch).await.expect("settles");
        batch = claim(&store).await.expect("the held batch");
        assert_eq!(store.read(&batch).await.expect("reads"), events);
    }
}
