//! How a relay works: every number with its name, its limits and its relations, checked once.

use std::time::Duration;

use outbox_core::{Backoff, PlanRequest, Route, RouteSpec, RouteStart, VarError, Vars};

use crate::limits::Limits;
use crate::machine::Policy;

/// The most events in a batch: one ClickHouse INSERT must stay one block (1,048,449 rows measured on 26.7).
pub const BATCH_ROWS_MAX: u32 = 1_000_000;
/// The most bytes in a batch: 128 MiB, half of what ClickHouse's parallel parsing takes as one block.
pub const BATCH_BYTES_MAX: u64 = 128 << 20;
/// The shortest lease: time for a slow insert and two renewals.
pub const LEASE_MIN: Duration = Duration::from_secs(1);
/// The longest lease: a killed relay holds its batch this long at most.
pub const LEASE_MAX: Duration = Duration::from_secs(3600);
/// The most workers in one relay.
pub const WORKERS_MAX: u32 = 64;

/// The longest of the other times: a day.
pub const WAIT_MAX: Duration = Duration::from_secs(86_400);

/// The longest time to keep delivered events.
const KEEP_MAX: Duration = Duration::from_secs(10 * 366 * 86_400);

/// How many events one call seals at most, in batches of the largest size: one durable commit for all of them, which takes
/// about a tenth of a second. Of the largest batches two, so that one can be read while the other is delivered.
const PLAN_ROWS: u32 = 100_000;
/// How many batches one call seals at most.
const PLAN_BATCHES_MAX: u32 = 500;
/// How many batches are in flight at once, unless something else is asked for: while one is delivered, the next is read
/// (measured: a fifth more events per second on two cores). A third one drains a backlog a tenth faster, and makes ClickHouse take more
/// and smaller parts where there is none: at 1,000 events/s each waited twice as long.
const WORKERS: u32 = 2;
/// How often settled events are pruned.
const PRUNE_INTERVAL: Duration = Duration::from_secs(5);
/// How often a batch is claimed before a part is parked whose failure the sink does not know, or which is its surroundings'
/// fault: three minutes with the default waits.
const ATTEMPTS_MAX: i32 = 10;
/// How many bad rows of a batch are picked out: more of them are not the rows' fault, and each costs a few sends.
const BAD_ROWS_MAX: u32 = 100;
/// Back-pressure is waited out longer than a failure, by this factor.
const BUSY_FACTOR: u32 = 4;
/// A part is sent only while at least this share of its lease is left.
const LEASE_MARGIN: u32 = 10;

const _: () = assert!(LEASE_MIN.as_secs() < LEASE_MAX.as_secs());

/// The settings of a relay. [`Default`] is what `.env.example` documents; [`from_vars`](Self::from_vars) reads the
/// environment; [`RelayBuilder`](crate::RelayBuilder) has a setter for each.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RelayOptions {
    pub(crate) route: Route,
    pub(crate) batch_rows: u32,
    pub(crate) batch_rows_max: u32,
    pub(crate) batch_bytes_max: u64,
    pub(crate) linger: Duration,
    pub(crate) poll_interval: Duration,
    pub(crate) lease: Duration,
    pub(crate) retry_min: Duration,
    pub(crate) retry_max: Duration,
    pub(crate) retry_parked: Duration,
    /// None: as many as is good.
    pub(crate) workers: Option<u32>,
    pub(crate) ordered: bool,
    pub(crate) event_types: Option<Vec<String>>,
    pub(crate) start: RouteStart,
    pub(crate) keep_delivered: Duration,
    pub(crate) limits: Limits,
    pub(crate) once: bool,
}

impl Default for RelayOptions {
    fn default() -> Self {
        Self {
            route: Route::default(),
            batch_rows: 100,
            batch_rows_max: 50_000,
            batch_bytes_max: 16 << 20,
            linger: Duration::from_secs(1),
            poll_interval: Duration::from_millis(200),
            lease: Duration::from_secs(30),
            retry_min: Duration::from_millis(500),
            retry_max: Duration::from_secs(60),
            retry_parked: Duration::from_secs(60),
            workers: None,
            ordered: false,
            event_types: None,
            start: RouteStart::Oldest,
            keep_delivered: Duration::ZERO,
            limits: Limits::default(),
            once: false,
        }
    }
}

impl RelayOptions {
    /// The environment variables that [`from_vars`](Self::from_vars) reads.
    pub const VARS: &'static [&'static str] = &[
        "OUTBOX_ROUTE",
        "OUTBOX_BATCH_ROWS",
        "OUTBOX_BATCH_ROWS_MAX",
        "OUTBOX_BATCH_BYTES_MAX",
        "OUTBOX_LINGER",
        "OUTBOX_POLL_INTERVAL",
        "OUTBOX_LEASE",
        "OUTBOX_RETRY_MIN",
        "OUTBOX_RETRY_MAX",
        "OUTBOX_RETRY_PARKED",
        "OUTBOX_WORKERS",
        "OUTBOX_ORDERED",
        "OUTBOX_EVENT_TYPES",
        "OUTBOX_ROUTE_START",
        "OUTBOX_KEEP_DELIVERED",
        "OUTBOX_LIMIT_ROWS",
        "OUTBOX_LIMIT_BYTES",
        "OUTBOX_LIMIT_AGE",
        "OUTBOX_ON_FULL",
    ];

    /// The defaults, with what the variables say. Durations are written like `200ms`, `1s`, `2m`.
    ///
    /// # Errors
    /// [`VarError`] that names the variable whose value is wrong or out of its range.
    pub fn from_vars(vars: &Vars) -> Result<Self, VarError> {
        let default = Self::default();
        let duration = |name: &'static str, default: Duration| -> Result<Duration, VarError> {
            Ok(vars.parse::<humantime::Duration>(name)?.map_or(default, Into::into))
        };
        let rows = vars.parse("OUTBOX_BATCH_ROWS")?.unwrap_or(default.batch_rows);
        let options = Self {
            route: vars.text("OUTBOX_ROUTE").map_or(default.route, Route::new),
            batch_rows: rows,
            batch_rows_max: vars.parse("OUTBOX_BATCH_ROWS_MAX")?.unwrap_or(default.batch_rows_max.max(rows)),
            batch_bytes_max: vars.parse("OUTBOX_BATCH_BYTES_MAX")?.unwrap_or(default.batch_bytes_max),
            linger: duration("OUTBOX_LINGER", default.linger)?,
            poll_interval: duration("OUTBOX_POLL_INTERVAL", default.poll_interval)?,
            lease: duration("OUTBOX_LEASE", default.lease)?,
            retry_min: duration("OUTBOX_RETRY_MIN", default.retry_min)?,
            retry_max: duration("OUTBOX_RETRY_MAX", default.retry_max)?,
            retry_parked: duration("OUTBOX_RETRY_PARKED", default.retry_parked)?,
            workers: vars.parse("OUTBOX_WORKERS")?,
            ordered: vars.parse("OUTBOX_ORDERED")?.unwrap_or(default.ordered),
            event_types: vars.text("OUTBOX_EVENT_TYPES").map(|types| {
                types.split(',').map(str::trim).filter(|name| !name.is_empty()).map(str::to_owned).collect()
            }),
            start: match vars.text("OUTBOX_ROUTE_START") {
                None | Some("oldest") => RouteStart::Oldest,
                Some("now") => RouteStart::Now,
                Some(_) => return Err(VarError::new("OUTBOX_ROUTE_START", "needs oldest or now")),
            },
            keep_delivered: duration("OUTBOX_KEEP_DELIVERED", default.keep_delivered)?,
            limits: Limits::from_vars(vars)?,
            once: false,
        };
        options.check()?;
        Ok(options)
    }

    /// Checks every number against its limits and the others.
    ///
    /// # Errors
    /// [`VarError`] that names the setting by its variable.
    pub fn check(&self) -> Result<(), VarError> {
        let rule = |holds: bool, name: &str, message: String| match holds {
            true => Ok(()),
            false => Err(VarError::new(name, message)),
        };
        let ms = Duration::from_millis(1);
        rule(
            !self.route.as_str().is_empty() && self.route.as_str().len() <= 100,
            "OUTBOX_ROUTE",
            "needs 1 to 100 bytes".into(),
        )?;
        rule(
            (1..=BATCH_ROWS_MAX).contains(&self.batch_rows),
            "OUTBOX_BATCH_ROWS",
            format!("needs 1 to {BATCH_ROWS_MAX}"),
        )?;
        rule(
            (self.batch_rows..=BATCH_ROWS_MAX).contains(&self.batch_rows_max),
            "OUTBOX_BATCH_ROWS_MAX",
            format!("needs OUTBOX_BATCH_ROWS ({}) to {BATCH_ROWS_MAX}", self.batch_rows),
        )?;
        rule(
            (1..=BATCH_BYTES_MAX).contains(&self.batch_bytes_max),
            "OUTBOX_BATCH_BYTES_MAX",
            format!("needs 1 to {BATCH_BYTES_MAX}"),
        )?;
        rule(self.linger <= WAIT_MAX, "OUTBOX_LINGER", "needs at most 1day".into())?;
        rule((ms..=WAIT_MAX).contains(&self.poll_interval), "OUTBOX_POLL_INTERVAL", "needs 1ms to 1day".into())?;
        rule(
            (LEASE_MIN..=LEASE_MAX).contains(&self.lease),
            "OUTBOX_LEASE",
            format!("needs {}s to {}s", LEASE_MIN.as_secs(), LEASE_MAX.as_secs()),
        )?;
        rule((ms..=WAIT_MAX).contains(&self.retry_min), "OUTBOX_RETRY_MIN", "needs 1ms to 1day".into())?;
        rule(
            (self.retry_min..=WAIT_MAX).contains(&self.retry_max),
            "OUTBOX_RETRY_MAX",
            "needs OUTBOX_RETRY_MIN to 1day".into(),
        )?;
        rule((ms..=WAIT_MAX).contains(&self.retry_parked), "OUTBOX_RETRY_PARKED", "needs 1ms to 1day".into())?;
        rule((1..=WORKERS_MAX).contains(&self.workers()), "OUTBOX_WORKERS", format!("needs 1 to {WORKERS_MAX}"))?;
        rule(
            !self.ordered || self.workers() == 1,
            "OUTBOX_WORKERS",
            "needs 1 with OUTBOX_ORDERED: one batch is in flight".into(),
        )?;
        rule(
            self.event_types.as_ref().is_none_or(|types| !types.is_empty()),
            "OUTBOX_EVENT_TYPES",
            "needs event types with commas between them, or to be unset for all".into(),
        )?;
        rule(self.keep_delivered <= KEEP_MAX, "OUTBOX_KEEP_DELIVERED", "needs at most 10years".into())?;
        self.limits.check()
    }

    /// How many batches are in flight at once.
    pub(crate) fn workers(&self) -> u32 {
        self.workers.unwrap_or(if self.ordered { 1 } else { WORKERS })
    }

    pub(crate) fn route_spec(&self) -> RouteSpec {
        RouteSpec {
            route: self.route.clone(),
            start: self.start,
            event_types: self.event_types.clone(),
            ordered: self.ordered,
        }
    }

    pub(crate) fn plan_request(&self) -> PlanRequest {
        PlanRequest {
            route: self.route.clone(),
            rows: self.batch_rows,
            linger: if self.once { Duration::ZERO } else { self.linger },
            rows_max: self.batch_rows_max,
            bytes_max: self.batch_bytes_max,
            batches_max: (PLAN_ROWS / self.batch_rows_max.max(1)).clamp(2, PLAN_BATCHES_MAX),
        }
    }

    pub(crate) fn policy(&self, prunes: bool) -> Policy {
        Policy {
            lease: self.lease,
            lease_margin: self.lease / LEASE_MARGIN,
            backoff: Backoff::new(self.retry_min, self.retry_max),
            busy_backoff: Backoff::new(self.retry_min * BUSY_FACTOR, self.retry_max * BUSY_FACTOR),
            parked_delay: self.retry_parked,
            attempts_max: ATTEMPTS_MAX,
            bad_rows_max: BAD_ROWS_MAX,
            poll_interval: self.poll_interval,
            ordered: self.ordered,
            prune_interval: prunes.then_some(PRUNE_INTERVAL),
            once: self.once,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::limits::OnFull;

    #[test]
    fn each_variable_changes_its_own_setting_only() {
        let (default, limits) = (RelayOptions::default, Limits::default);
        let cases: [(&str, &str, RelayOptions); 19] = [
            ("OUTBOX_ROUTE", "audit", RelayOptions { route: Route::new("audit"), ..default() }),
            ("OUTBOX_BATCH_ROWS", "7", RelayOptions { batch_rows: 7, ..default() }),
            ("OUTBOX_BATCH_ROWS_MAX", "700", RelayOptions { batch_rows_max: 700, ..default() }),
            ("OUTBOX_BATCH_BYTES_MAX", "7000", RelayOptions { batch_bytes_max: 7000, ..default() }),
            ("OUTBOX_LINGER", "7ms", RelayOptions { linger: Duration::from_millis(7), ..default() }),
            ("OUTBOX_POLL_INTERVAL", "7s", RelayOptions { poll_interval: Duration::from_secs(7), ..default() }),
            ("OUTBOX_LEASE", "7s", RelayOptions { lease: Duration::from_secs(7), ..default() }),
            ("OUTBOX_RETRY_MIN", "7ms", RelayOptions { retry_min: Duration::from_millis(7), ..default() }),
            ("OUTBOX_RETRY_MAX", "7m", RelayOptions { retry_max: Duration::from_secs(420), ..default() }),
            ("OUTBOX_RETRY_PARKED", "7s", RelayOptions { retry_parked: Duration::from_secs(7), ..default() }),
            ("OUTBOX_WORKERS", "7", RelayOptions { workers: Some(7), ..default() }),
            ("OUTBOX_ORDERED", "true", RelayOptions { ordered: true, ..default() }),
            (
                "OUTBOX_EVENT_TYPES",
                "user_created, user_seen",
                RelayOptions { event_types: Some(vec!["user_created".into(), "user_seen".into()]), ..default() },
            ),
            ("OUTBOX_ROUTE_START", "now", RelayOptions { start: RouteStart::Now, ..default() }),
            ("OUTBOX_KEEP_DELIVERED", "7days", RelayOptions { keep_delivered: WAIT_MAX * 7, ..default() }),
            ("OUTBOX_LIMIT_ROWS", "7", RelayOptions { limits: limits().rows(7), ..default() }),
            ("OUTBOX_LIMIT_BYTES", "7", RelayOptions { limits: limits().bytes(7), ..default() }),
            ("OUTBOX_LIMIT_AGE", "7s", RelayOptions { limits: limits().age(Duration::from_secs(7)), ..default() }),
            ("OUTBOX_ON_FULL", "warn", RelayOptions { limits: limits().on_full(OnFull::Warn), ..default() }),
        ];
        assert_eq!(cases.len(), RelayOptions::VARS.len());
        for (name, value, expected) in cases {
            assert!(RelayOptions::VARS.contains(&name));
            assert_eq!(RelayOptions::from_vars(&Vars::new([(name, value)])), Ok(expected), "{name}");
        }
    }

    #[test]
    fn a_wrong_value_names_its_variable() {
        for (name, value) in [
            ("OUTBOX_BATCH_ROWS", "0"),
            ("OUTBOX_BATCH_ROWS", "many"),
            ("OUTBOX_BATCH_ROWS_MAX", "99"),
            ("OUTBOX_BATCH_BYTES_MAX", "-1"),
            ("OUTBOX_LINGER", "soon"),
            ("OUTBOX_LINGER", "300000years"),
            ("OUTBOX_POLL_INTERVAL", "0s"),
            ("OUTBOX_LEASE", "10ms"),
            ("OUTBOX_RETRY_MIN", "0s"),
            ("OUTBOX_RETRY_MAX", "1ms"),
            ("OUTBOX_RETRY_PARKED", "0s"),
            ("OUTBOX_WORKERS", "65"),
            ("OUTBOX_ORDERED", "yes"),
            ("OUTBOX_EVENT_TYPES", ","),
            ("OUTBOX_ROUTE_START", "yesterday"),
            ("OUTBOX_KEEP_DELIVERED", "11years"),
            ("OUTBOX_LIMIT_ROWS", "0"),
            ("OUTBOX_LIMIT_BYTES", "-1"),
            ("OUTBOX_LIMIT_AGE", "0s"),
            ("OUTBOX_ON_FULL", "refuse"),
            ("OUTBOX_ON_FULL", "drop"),
        ] {
            let refused = RelayOptions::from_vars(&Vars::new([(name, value)])).expect_err(name);
            assert_eq!(refused.name(), name, "{refused}");
        }
    }

    #[test]
    fn larger_batches_need_only_one_variable() {
        let options = RelayOptions::from_vars(&Vars::new([("OUTBOX_BATCH_ROWS", "50000")])).expect("in range");
        assert_eq!(options.batch_rows_max, 50_000);
    }
}
