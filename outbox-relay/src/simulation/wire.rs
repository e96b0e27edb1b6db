//! What lies between a relay and the two it talks to: every call travels, may fail on its way, and goes on when the relay
//! that sent it is gone.

use std::sync::Arc;
use std::time::Duration;

use outbox_core::{
    BatchId, Claim, Clock, Frozen, HeldBatch, Hold, Load, Part, PartDraft, PartRecord, PlanRequest, Planned, Recovery,
    Release, ReplayRequest, Replayed, Route, RouteSpec, SchemaRecord, Sink, SinkError, SinkErrorKind, Status, Store,
    StoreError, StoreErrorKind, StoredEvent,
};
use outbox_test::memory::{MemorySink, SinkFault};
use tokio::sync::oneshot;
use tokio::time::sleep;
use uuid::Uuid;

use super::faults::{Fate, Side, Trip};
use super::host::Host;
use super::world::World;

/// One relay's connections.
#[derive(Clone)]
pub(super) struct Wire {
    pub world: Arc<World>,
    pub host: Arc<Host>,
    pub sink: MemorySink,
}

impl Wire {
    /// Decides a call's fate. Does not come back when the relay dies before the request leaves.
    async fn leave(&self, side: Side, operation: &'static str) -> Trip {
        let trip = self.world.trip(self.host.no, side, operation);
        match trip.fate {
            Fate::Die => {
                self.host.kill();
                std::future::pending::<()>().await;
            }
            Fate::Stall(by) => {
                self.world.ledger().seen.stalls += 1;
                self.host.stall(by);
            }
            Fate::CrashSinks(kept) => self.world.crash_sinks(kept),
            _ => {}
        }
        trip
    }

    /// Performs `effect` at the other end, whatever becomes of this relay meanwhile.
    async fn travel<T: Send + 'static>(&self, trip: Trip, effect: impl Future<Output = T> + Send + 'static) -> T {
        let (answer, reply) = oneshot::channel();
        tokio::spawn(async move {
            nap(trip.there).await;
            let done = effect.await;
            nap(trip.back).await;
            // Fails when the relay is gone.
            let _ = answer.send(done);
        });
        if trip.fate == Fate::DieAfter {
            self.host.kill();
            std::future::pending::<()>().await;
        }
        reply.await.expect("a call ends")
    }

    async fn ask<T, F>(&self, operation: &'static str, effect: F) -> Result<T, StoreError>
    where
        T: Send + 'static,
        F: Future<Output = Result<T, StoreError>> + Send + 'static,
    {
        let unavailable = || StoreError::new(StoreErrorKind::Unavailable, operation, "simulated");
        let trip = self.leave(Side::Store, operation).await;
        if trip.fate == Fate::Refuse {
            nap(trip.there).await;
            return Err(unavailable());
        }
        let done = self.travel(trip, effect).await;
        if trip.fate == Fate::LoseReply {
            return Err(unavailable());
        }
        if let Err(error) = &done {
            self.world.ledger().store_failed(error);
        }
        done
    }

    /// As `ask`, for what only the holder of the lease may do.
    async fn ask_as_holder<T, F>(&self, operation: &'static str, claim: &Claim, effect: F) -> Result<T, StoreError>
    where
        T: Send + 'static,
        F: Future<Output = Result<T, StoreError>> + Send + 'static,
    {
        let (world, claim) = (Arc::clone(&self.world), claim.clone());
        let watched = async move {
            let lease = world.store.lease(claim.batch);
            let holds = lease.is_some_and(|lease| (lease.owner, lease.attempt) == (Some(claim.owner), claim.attempt));
            let done = effect.await;
            if done.is_ok() && !holds {
                world.ledger().breach(format!("{operation} of a stale claim of batch {} was let through", claim.batch));
            }
            done
        };
        self.ask(operation, watched).await
    }

    async fn send<T, F>(&self, operation: &'static str, effect: F) -> Result<T, SinkError>
    where
        T: Send + 'static,
        F: Future<Output = Result<T, SinkError>> + Send + 'static,
    {
        let trip = self.leave(Side::Sink, operation).await;
        let (sink, world) = (self.sink.clone(), Arc::clone(&self.world));
        self.travel(trip, async move {
            let fault = match trip.fate {
                Fate::Sink(fault) => Some(fault),
                // Nobody is there to be told.
                Fate::DieAfter => Some(SinkFault::LoseReply),
                _ => None,
            };
            if let Some(fault) = fault {
                // Taken by the first poll of `effect`, before any other call can come between.
                sink.fail_next(fault);
                let mut ledger = world.ledger();
                ledger.seen.sink_crashes += u64::from(matches!(fault, SinkFault::Crash(_)));
                ledger.lied |= fault == SinkFault::BadRows;
            }
            effect.await
        })
        .await
    }
}

/// The store as one relay sees it.
#[derive(Clone)]
pub(super) struct SimStore(pub Wire);

impl Store for SimStore {
    async fn setup(&self) -> Result<(), StoreError> {
        self.0.world.store.setup().await
    }

    async fn open(&self, route: &RouteSpec) -> Result<(), StoreError> {
        self.0.world.store.open(route).await
    }

    async fn remove_route(&self, route: &Route) -> Result<bool, StoreError> {
        self.0.world.store.remove_route(route).await
    }

    async fn plan(&self, request: &PlanRequest) -> Result<Planned, StoreError> {
        let trip = self.0.leave(Side::Store, "plan").await;
        let (store, request) = (self.0.world.store.clone(), request.clone());
        let unavailable = || StoreError::new(StoreErrorKind::Unavailable, "plan", "simulated");
        match trip.fate {
            Fate::Refuse => Err(unavailable()),
            Fate::Contended => Ok(Planned { contended: true, ..Planned::default() }),
            _ => {
                let planned = self.0.travel(trip, async move { store.plan(&request).await }).await;
                if trip.fate == Fate::LoseReply { Err(unavailable()) } else { planned }
            }
        }
    }

    async fn claim(&self, route: &Route, owner: Uuid, lease: Duration) -> Result<Option<Claim>, StoreError> {
        let (store, route) = (self.0.world.store.clone(), route.clone());
        self.0.ask("claim", async move { store.claim(&route, owner, lease).await }).await
    }

    async fn read(&self, claim: &Claim) -> Result<Vec<StoredEvent>, StoreError> {
        let (store, claim) = (self.0.world.store.clone(), claim.clone());
        self.0.ask("read", async move { store.read(&claim).await }).await
    }

    async fn freeze(&self, claim: &Claim, drafts: Vec<PartDraft>) -> Result<Vec<PartRecord>, StoreError> {
        self.0.world.ledger().seen.several_tables += u64::from(drafts.len() > 1);
        let (store, held) = (self.0.world.store.clone(), claim.clone());
        self.0.ask_as_holder("freeze", claim, async move { store.freeze(&held, drafts).await }).await
    }

    async fn replace(&self, claim: &Claim, no: i32, drafts: Vec<PartDraft>) -> Result<Vec<PartRecord>, StoreError> {
        let (store, held) = (self.0.world.store.clone(), claim.clone());
        self.0.ask_as_holder("replace", claim, async move { store.replace(&held, no, drafts).await }).await
    }

    async fn hold(&self, claim: &Claim, hold: &Hold) -> Result<BatchId, StoreError> {
        self.0.world.ledger().seen.holds += 1;
        let (store, held, hold) = (self.0.world.store.clone(), claim.clone(), hold.clone());
        self.0.ask_as_holder("hold", claim, async move { store.hold(&held, &hold).await }).await
    }

    async fn settle_part(&self, claim: &Claim, no: i32) -> Result<(), StoreError> {
        let (store, held) = (self.0.world.store.clone(), claim.clone());
        self.0.ask_as_holder("settle_part", claim, async move { store.settle_part(&held, no).await }).await
    }

    async fn settle(&self, claim: &Claim) -> Result<(), StoreError> {
        let (world, held, sink) = (Arc::clone(&self.0.world), claim.clone(), self.0.sink.clone());
        let settle = async move {
            let events = world.store.events_of(held.batch);
            world.store.settle(&held).await?;
            // What was put aside is still owed, by another batch.
            let aside = world.store.held_ids(&held.route);
            let gone: Vec<Uuid> = events.into_iter().filter(|id| !aside.contains(id)).collect();
            world.ledger().lets_go("settled", &held.route, &sink, &gone);
            Ok(())
        };
        self.0.ask_as_holder("settle", claim, settle).await
    }

    async fn renew(&self, claim: &Claim, lease: Duration) -> Result<(), StoreError> {
        let (store, held) = (self.0.world.store.clone(), claim.clone());
        self.0.ask_as_holder("renew", claim, async move { store.renew(&held, lease).await }).await
    }

    async fn release(&self, claim: &Claim, release: &Release) -> Result<(), StoreError> {
        let (store, held, release) = (self.0.world.store.clone(), claim.clone(), release.clone());
        self.0.ask_as_holder("release", claim, async move { store.release(&held, &release).await }).await
    }

    async fn prune(&self, _: Duration) -> Result<u64, StoreError> {
        let world = Arc::clone(&self.0.world);
        self.0.ask("prune", async move { world.prune().await }).await
    }

    async fn replay(&self, request: &ReplayRequest) -> Result<Replayed, StoreError> {
        self.0.world.store.replay(request).await
    }

    async fn register(&self, schemas: &[SchemaRecord]) -> Result<(), StoreError> {
        self.0.world.store.register(schemas).await
    }

    async fn schemas(&self) -> Result<Vec<SchemaRecord>, StoreError> {
        self.0.world.store.schemas().await
    }

    async fn set_full(&self, full: bool) -> Result<(), StoreError> {
        let store = self.0.world.store.clone();
        self.0.ask("limit", async move { store.set_full(full).await }).await
    }

    async fn load(&self) -> Result<Load, StoreError> {
        let store = self.0.world.store.clone();
        self.0.ask("load", async move { store.load().await }).await
    }

    async fn held(&self, limit: u32) -> Result<Vec<HeldBatch>, StoreError> {
        self.0.world.store.held(limit).await
    }

    async fn held_events(&self, batch: BatchId) -> Result<Option<Vec<StoredEvent>>, StoreError> {
        self.0.world.store.held_events(batch).await
    }

    async fn retry_held(&self, batch: BatchId) -> Result<bool, StoreError> {
        self.0.world.store.retry_held(batch).await
    }

    async fn discard_held(&self, batch: BatchId) -> Result<bool, StoreError> {
        self.0.world.store.discard_held(batch).await
    }

    async fn status(&self) -> Result<Status, StoreError> {
        self.0.world.store.status().await
    }
}

/// A sink as one relay sees it.
pub(super) struct SimSink(pub Wire);

impl Sink for SimSink {
    async fn deliver(&self, part: &Part) -> Result<(), SinkError> {
        let world = &self.0.world;
        let held = |world: &World| world.store.lease(part.id.batch).is_some_and(|lease| lease.attempt == part.fence);
        let until = world.store.lease(part.id.batch).map(|lease| lease.until);
        if !held(world) || until.is_none_or(|until| until <= world.clock.now()) {
            world.ledger().breach(format!("part {} is sent under a lease that is gone", part.id));
        }
        world.ledger().sends(part);
        if world.ordered {
            let sealed = world.store.sealed();
            let first = part.events.first().map(|stored| stored.event.id);
            let place = sealed.iter().position(|batch| {
                batch.route == part.route && first.is_some_and(|first| batch.events.contains(&first))
            });
            world.ledger().in_order(part, place);
        }
        let (there, sink, part) = (Arc::clone(world), self.0.sink.clone(), part.clone());
        let deliver = async move {
            let late = there.store.lease(part.id.batch).is_none_or(|lease| lease.attempt != part.fence);
            there.ledger().seen.late_arrivals += u64::from(late);
            let delivered = sink.deliver(&part).await;
            let refused = delivered.as_ref().is_err_and(|error| error.kind() == SinkErrorKind::BadRows);
            there.ledger().seen.bad_refused += u64::from(refused);
            delivered
        };
        self.0.send("deliver", deliver).await
    }

    async fn freeze(&self, table: &str, _: &[&StoredEvent]) -> Result<Frozen, SinkError> {
        let (sink, table) = (self.0.sink.clone(), table.to_owned());
        self.0.send("sink_freeze", async move { sink.freeze(&table, &[]).await }).await
    }

    /// Every other event is in a part of its own kind, where the order does not matter.
    async fn divide(&self, _: &str, events: &[&StoredEvent]) -> Result<Vec<Vec<usize>>, SinkError> {
        let all = 0..events.len();
        match self.0.world.ordered || events.len() < 3 {
            true => Ok(vec![all.collect()]),
            false => Ok(vec![all.clone().step_by(2).collect(), all.skip(1).step_by(2).collect()]),
        }
    }

    async fn recover(&self, part: &Part) -> Result<Recovery, SinkError> {
        let (world, sink, part) = (Arc::clone(&self.0.world), self.0.sink.clone(), part.clone());
        let recover = async move {
            let recovery = sink.recover(&part).await?;
            world.ledger().recovers(&recovery);
            Ok(recovery)
        };
        self.0.send("recover", recover).await
    }
}

async fn nap(by: Duration) {
    if !by.is_zero() {
        sleep(by).await;
    }
}
