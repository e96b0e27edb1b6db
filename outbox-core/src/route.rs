//! Routes: one sink's own progress over the events.

use std::fmt;
use std::sync::Arc;

/// The name of a route: one sink's own progress over the events. The first one is `main`.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Route(Arc<str>);

impl Route {
    /// A route by its name.
    #[must_use]
    pub fn new(name: &str) -> Self {
        Self(Arc::from(name))
    }

    /// Its name.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl Default for Route {
    fn default() -> Self {
        Self::new("main")
    }
}

impl fmt::Display for Route {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Where a route that is new begins.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum RouteStart {
    /// At the oldest event that the outbox still keeps.
    #[default]
    Oldest,
    /// With what is committed from now on.
    Now,
}

/// A route with what it asks for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RouteSpec {
    /// Its name.
    pub route: Route,
    /// Where it begins; without meaning for a route that is there already.
    pub start: RouteStart,
    /// Only events of these types; None: all. Frozen with each batch: a change counts for what is sealed later, and an
    /// event that the filter once passed over does not come back.
    pub event_types: Option<Vec<String>>,
    /// Deliver one batch at a time, in the order of `seq`.
    ///
    /// The order is that of the emits as far as transactions can tell: when a transaction has seen another's commit (or
    /// has waited for its row lock), its events come later. Of two transactions that overlap and share nothing, the one
    /// that commits first may be sealed first. The price: one batch in flight, so no more relays at work than one.
    pub ordered: bool,
}

impl RouteSpec {
    /// All events, from the oldest one, in any order.
    #[must_use]
    pub fn new(route: Route) -> Self {
        Self { route, ..Self::default() }
    }
}
