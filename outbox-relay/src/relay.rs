//! [`Relay`]: start it beside a service or as a process of its own, watch it, stop it.

use std::sync::Arc;
use std::time::Duration;

use outbox_core::{BoxFuture, Clock, DynSink, EventSchema, Route, RouteStart, SchemaRecord, Sink, Store};
use tokio::sync::{Notify, watch};
use tokio::task::JoinSet;
use uuid::Uuid;

use crate::clock::BootClock;
use crate::error::RelayError;
use crate::limits::Limits;
use crate::machine::{Exit, Machine};
use crate::options::RelayOptions;
use crate::stats::{Counters, Stats};
use crate::worker::{Phase, Worker};

/// How long a graceful stop may take.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Grace(Duration);

impl Grace {
    /// This many seconds.
    #[must_use]
    pub const fn secs(secs: u64) -> Self {
        Self(Duration::from_secs(secs))
    }
}

impl From<Duration> for Grace {
    fn from(duration: Duration) -> Self {
        Self(duration)
    }
}

/// A running relay. Dropping it stops its workers at once, which costs what a kill costs: the batch in flight comes again
/// when its lease has run out, under the same tokens. [`stop`](Self::stop) gives the lease back.
#[derive(Debug)]
pub struct Relay {
    phase: watch::Sender<Phase>,
    workers: JoinSet<Exit>,
    /// What a worker ended with.
    failed: Option<RelayError>,
    /// Ends with the relay.
    _forwarder: JoinSet<()>,
    counters: Arc<Counters>,
    wake: Arc<Notify>,
}

impl Relay {
    /// Builds a relay over a store.
    ///
    /// # Examples
    /// ```no_run
    /// # use std::time::Duration;
    /// # async fn run(store: impl outbox_core::Store, sink: impl outbox_core::Sink) -> Result<(), outbox_relay::RelayError> {
    /// use outbox_relay::{Grace, Relay};
    ///
    /// let relay = Relay::builder(store).sink(sink).batch_rows(100).linger(Duration::from_secs(1)).start().await?;
    /// // .. until the service ends ..
    /// relay.stop(Grace::secs(10)).await?;
    /// # Ok(())
    /// # }
    /// ```
    pub fn builder<S: Store>(store: S) -> RelayBuilder<S> {
        RelayBuilder {
            store,
            sink: None,
            schemas: Vec::new(),
            options: RelayOptions::default(),
            wake: Arc::default(),
            forwarders: Vec::new(),
        }
    }

    /// Looks for events now instead of at the next poll. Cheap; call it after a commit.
    pub fn wake(&self) {
        self.wake.notify_one();
    }

    /// What this relay has done so far.
    #[must_use]
    pub fn stats(&self) -> Stats {
        self.counters.read()
    }

    /// Finishes the batches in flight and ends, and says what was done. What takes longer than `grace` is dropped and its
    /// lease given back.
    ///
    /// # Errors
    /// [`RelayError::Panicked`].
    ///
    /// # Cancel safety
    /// Dropping the future stops the workers at once, as dropping the relay does.
    pub async fn stop(mut self, grace: impl Into<Grace>) -> Result<Stats, RelayError> {
        self.phase.send_replace(Phase::Finishing);
        if tokio::time::timeout(grace.into().0, self.join()).await.is_err() {
            tracing::warn!("the grace time is over: the batch in flight is given back");
            self.phase.send_replace(Phase::Aborting);
            self.join().await;
        }
        match self.failed.take() {
            Some(failed) => Err(failed),
            None => Ok(self.stats()),
        }
    }

    /// Waits until the relay ends by itself: with [`once`](RelayBuilder::once), when the outbox is drained.
    ///
    /// # Errors
    /// [`RelayError::Undelivered`] when `once` could not deliver everything; [`RelayError::Panicked`] as soon as a worker
    /// has died: stop the relay then, and start another.
    ///
    /// # Cancel safety
    /// Cancel safe: the relay goes on.
    pub async fn ended(&mut self) -> Result<(), RelayError> {
        self.join().await;
        self.failed.take().map_or(Ok(()), Err)
    }

    /// Until the last worker has ended, or one has died. What went wrong is kept.
    async fn join(&mut self) {
        while let Some(exit) = self.workers.join_next().await {
            match exit {
                Ok(Exit::Done) => {}
                Ok(Exit::Failed(message)) => self.failed = Some(RelayError::Undelivered(message)),
                Err(panicked) => {
                    tracing::error!(error = %panicked, "a worker died");
                    self.failed = Some(RelayError::Panicked(panicked));
                    return;
                }
            }
        }
    }
}

/// Builds a [`Relay`]. Every setter's default is in [`RelayOptions`]' documentation and `.env.example`.
pub struct RelayBuilder<S> {
    store: S,
    sink: Option<Arc<dyn DynSink>>,
    schemas: Vec<SchemaRecord>,
    options: RelayOptions,
    wake: Arc<Notify>,
    forwarders: Vec<BoxFuture<'static, ()>>,
}

impl<S> std::fmt::Debug for RelayBuilder<S> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("RelayBuilder").field("options", &self.options).finish_non_exhaustive()
    }
}

impl<S: Store> RelayBuilder<S> {
    /// Where the events go. Required.
    #[must_use]
    pub fn sink(mut self, sink: impl Sink) -> Self {
        self.sink = Some(Arc::new(sink));
        self
    }

    /// Registers what is known of the event types of `E` when the relay starts: layout, columns, and what their table is made
    /// from. A relay of another process, `outbox run` say, then knows them without the Rust type. Events in the layout
    /// `context` need no registration.
    #[must_use]
    pub fn schema<E: EventSchema + ?Sized>(mut self) -> Self {
        self.schemas.extend(SchemaRecord::of::<E>());
        self
    }

    /// All options at once, as [`RelayOptions::from_vars`] read them.
    #[must_use]
    pub fn options(mut self, options: RelayOptions) -> Self {
        self.options = RelayOptions { once: self.options.once, ..options };
        self
    }

    /// The route whose batches this relay delivers. Default `main`. Relays of one route share its batches; every other
    /// route delivers all the events once more.
    #[must_use]
    pub fn route(mut self, name: &str) -> Self {
        self.options.route = Route::new(name);
        self
    }

    /// This many waiting events make a batch at once. Default 100. Fewer: smaller inserts; more: they wait for `linger`.
    #[must_use]
    pub fn batch_rows(mut self, rows: u32) -> Self {
        self.options.batch_rows = rows;
        self.options.batch_rows_max = self.options.batch_rows_max.max(rows);
        self
    }

    /// The most events in a batch, reached when the relay is behind. Default 50,000, which is where the default of
    /// [`batch_bytes_max`](Self::batch_bytes_max) ends a batch of events of 300 bytes. ClickHouse merges what is inserted: 10,000
    /// rows at a time cost it twice the CPU per event, 100,000 save another third (`docs/performance.md`).
    #[must_use]
    pub fn batch_rows_max(mut self, rows: u32) -> Self {
        self.options.batch_rows_max = rows;
        self
    }

    /// The most bytes in a batch, give or take one event. Default 16 MiB. A worker holds one batch in memory, about twice.
    #[must_use]
    pub fn batch_bytes_max(mut self, bytes: u64) -> Self {
        self.options.batch_bytes_max = bytes;
        self
    }

    /// How long the oldest event waits for others to fill a batch. Default 1 s. Zero: every poll sends what is there.
    #[must_use]
    pub fn linger(mut self, linger: Duration) -> Self {
        self.options.linger = linger;
        self
    }

    /// How often to look at most when there is nothing to do. Default 200 ms. After an event it begins with 10 ms and doubles. An
    /// idle look writes nothing.
    #[must_use]
    pub fn poll_interval(mut self, interval: Duration) -> Self {
        self.options.poll_interval = interval;
        self
    }

    /// How long a claim holds a batch, 1 s to 1 h. Default 30 s, renewed while a sink works. Shorter: a killed relay's
    /// batch comes back sooner; longer: a stalled relay keeps it.
    #[must_use]
    pub fn lease(mut self, lease: Duration) -> Self {
        self.options.lease = lease;
        self
    }

    /// The first and the longest wait after failures. Default 500 ms and 60 s.
    #[must_use]
    pub fn retry(mut self, min: Duration, max: Duration) -> Self {
        self.options.retry_min = min;
        self.options.retry_max = max;
        self
    }

    /// When events are tried again whose table does not take them, one batch a table as a probe. Default 60 s. Shorter: they
    /// go on sooner once the table is mended; longer: fewer failures in the logs of both sides meanwhile.
    #[must_use]
    pub fn retry_parked(mut self, wait: Duration) -> Self {
        self.options.retry_parked = wait;
        self
    }

    /// How many batches are in flight at once. Default 2, so that one is read while another is delivered; 1 on an ordered route. More
    /// hold more in memory and rarely gain anything; with 1, batches go out in the order in which they were sealed, unless one
    /// of them fails.
    #[must_use]
    pub fn workers(mut self, workers: u32) -> Self {
        self.options.workers = Some(workers);
        self
    }

    /// Deliver one batch at a time, in the order of `seq`: see [`RouteSpec::ordered`](outbox_core::RouteSpec::ordered). Default
    /// no. The price: one batch in flight, whatever the number of relays, and what is parked holds up all later events of its
    /// table.
    #[must_use]
    pub fn ordered(mut self, ordered: bool) -> Self {
        self.options.ordered = ordered;
        self
    }

    /// Deliver events of these types only. Default: all. A change counts for what is sealed later.
    #[must_use]
    pub fn event_types<T: Into<String>>(mut self, types: impl IntoIterator<Item = T>) -> Self {
        self.options.event_types = Some(types.into_iter().map(Into::into).collect());
        self
    }

    /// Where the route begins when it is new. Default: at the oldest event that is kept.
    #[must_use]
    pub fn start_at(mut self, start: RouteStart) -> Self {
        self.options.start = start;
        self
    }

    /// Keep delivered events this long, for `outbox replay` and for audits. Default: not at all. It is the most that is kept:
    /// PostgreSQL's ring of four slots empties a slot before it is written to again, so that with much traffic it holds two
    /// to three slots of events (a slot is 2^20 events unless `Tables` says otherwise), however long this is. The price is the
    /// disk; reading and sealing do not slow down.
    #[must_use]
    pub fn keep_delivered(mut self, keep: Duration) -> Self {
        self.options.keep_delivered = keep;
        self
    }

    /// How much may wait before there is an alarm, or before events are refused. Default: no limits.
    #[must_use]
    pub fn limits(mut self, limits: Limits) -> Self {
        self.options.limits = limits;
        self
    }

    /// Deliver what is there, without lingering, and end. For cron.
    #[must_use]
    pub fn once(mut self) -> Self {
        self.options.once = true;
        self
    }

    /// What wakes an idle relay before its next poll, beside what was given before: each future that `signal` makes ends at the next wake-up, such as
    /// `outbox::wake::notified`, which ends when a transaction of this process commits events, or `Listening::notified` of a PostgreSQL store. Default: nothing.
    /// With a `linger`, wake-ups are followed ten times within it, and at least every 100 ms: by then they may be enough for a batch.
    #[must_use]
    pub fn wake_on<F>(mut self, signal: impl Fn() -> F + Send + 'static) -> Self
    where
        F: Future<Output = ()> + Send + 'static,
    {
        let wake = Arc::clone(&self.wake);
        self.forwarders.push(Box::pin(async move {
            let mut next = signal();
            loop {
                next.await;
                // Made before the relay is woken, so that no signal falls between.
                next = signal();
                wake.notify_one();
            }
        }));
        self
    }

    /// Checks the settings, the outbox tables and the destination, and starts.
    ///
    /// # Errors
    /// [`RelayError`] that says what is wrong and what to do. Nothing runs then, and nothing is lost.
    pub async fn start(self) -> Result<Relay, RelayError> {
        self.start_with(BootClock).await
    }

    /// As [`start`](Self::start), on another clock.
    ///
    /// # Errors
    /// [`RelayError`].
    pub async fn start_with<C: Clock + Clone>(self, clock: C) -> Result<Relay, RelayError> {
        self.options.check()?;
        let sink = self.sink.ok_or(RelayError::NoSink)?;
        self.store.open(&self.options.route_spec()).await.map_err(RelayError::Store)?;
        if !self.options.limits.refuses() {
            // Whatever an earlier configuration has left behind. A relay that refuses says so again in a moment.
            self.store.set_full(false).await.map_err(RelayError::Store)?;
        }
        if !self.schemas.is_empty() {
            self.store.register(&self.schemas).await.map_err(RelayError::Store)?;
        }
        // What other services have registered, too: their events come along.
        sink.learn(&self.store.schemas().await.map_err(RelayError::Store)?);
        sink.check().await.map_err(RelayError::Sink)?;
        let (phase, _) = watch::channel(Phase::Running);
        let counters = Arc::<Counters>::default();
        let mut workers = JoinSet::new();
        for no in 0..self.options.workers() {
            let worker = Worker {
                store: self.store.clone(),
                sink: Arc::clone(&sink),
                clock: clock.clone(),
                machine: Machine::new(self.options.policy(no == 0), fastrand::u64(..)),
                options: self.options.clone(),
                owner: Uuid::new_v4(),
                phase: phase.subscribe(),
                wake: Arc::clone(&self.wake),
                counters: Arc::clone(&counters),
                last_alarm: String::new(),
                full: false,
            };
            workers.spawn(worker.run());
        }
        let mut forwarder = JoinSet::new();
        for forward in self.forwarders {
            forwarder.spawn(forward);
        }
        tracing::info!(route = %self.options.route, workers = self.options.workers(), "relay started");
        Ok(Relay { phase, workers, failed: None, _forwarder: forwarder, counters, wake: self.wake })
    }
}
