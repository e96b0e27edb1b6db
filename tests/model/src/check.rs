//! The checker's side: the properties, an exhaustive walk, and the search for a counterexample.

use std::fmt;
use std::time::{Duration, Instant};

use stateright::{Checker, HasDiscoveries, Model, Property};

use crate::Scenario;
use crate::action::Action;
use crate::state::{Fault, State};

/// A scenario, and the one property that is looked at, if it is not all of them.
#[derive(Debug)]
struct World(Scenario, Option<&'static str>);

/// A property: its name, and whether a state has it.
type Always = (&'static str, fn(&World, &State) -> bool);

/// Holds in every state.
const ALWAYS: [Always; 8] = [
    ("no committed event is lost", |_, state| !state.has(Fault::Lost)),
    ("nothing is pruned before every route has settled it", |_, state| !state.has(Fault::PrunedEarly)),
    ("no event is in two batches of a route", |_, state| !state.has(Fault::TwoBatches)),
    ("an event is at its destination once", |_, state| !state.has(Fault::Doubled)),
    ("a token stands for one list of events", |_, state| !state.has(Fault::TokenReused)),
    ("a sealed batch reads back as it was sealed", |_, state| !state.has(Fault::Unreadable)),
    ("nothing is sent that was not committed", |world, state| {
        let owed = state.db.owed(&world.0);
        state.sinks.iter().all(|sink| sink.delivered & !owed == 0)
    }),
    ("one relay alone brings everything to its end", |world, state| state.drains(&world.0)),
];

/// Two cores are what the tests may count on.
const THREADS: usize = 2;

/// Is reached: a model in which nothing happens would hold, too.
const DRAINED: &str = "everything is delivered and pruned";

impl Model for World {
    type State = State;
    type Action = Action;

    fn init_states(&self) -> Vec<State> {
        vec![State::new(&self.0)]
    }

    fn actions(&self, state: &State, actions: &mut Vec<Action>) {
        state.actions(&self.0, actions);
    }

    fn next_state(&self, state: &State, action: Action) -> Option<State> {
        state.after(&self.0, action)
    }

    fn properties(&self) -> Vec<Property<Self>> {
        let looked_at = |(name, _): &&(&'static str, _)| self.1.is_none_or(|only| *name == only);
        let mut all: Vec<_> =
            ALWAYS.iter().filter(looked_at).map(|&(name, holds)| Property::always(name, holds)).collect();
        if self.1.is_none() {
            all.push(Property::sometimes(DRAINED, |world: &Self, state: &State| state.finished(&world.0)));
        }
        all
    }
}

/// What a walk came to.
#[derive(Clone, Debug)]
pub struct Walk {
    /// The scenario's name.
    pub name: &'static str,
    /// The states.
    pub states: usize,
    /// The steps between them.
    pub steps: usize,
    /// The most steps from the beginning to a state.
    pub depth: usize,
    /// How long it took.
    pub took: Duration,
    /// The property that does not hold, or the state that is never reached, and the steps to it.
    pub failure: Option<Counterexample>,
}

/// A property that does not hold, and the shortest way there.
#[derive(Clone, Debug)]
pub struct Counterexample {
    /// The property.
    pub property: &'static str,
    /// The steps.
    pub steps: Vec<String>,
}

impl fmt::Display for Walk {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { name, states, steps, depth, took, .. } = self;
        write!(f, "{name}: {states} states, {steps} steps, depth {depth}, {:.1} s", took.as_secs_f64())
    }
}

impl fmt::Display for Counterexample {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "not so: {}", self.property)?;
        self.steps.iter().try_for_each(|step| write!(f, "\n  {step}"))
    }
}

/// Walks through every state, or up to one in which a property does not hold.
#[must_use]
pub fn walk(scenario: Scenario) -> Walk {
    go(World(scenario, None), THREADS)
}

/// Walks until `property` does not hold: the shortest way there.
#[must_use]
pub fn search(scenario: Scenario, property: &'static str) -> Walk {
    go(World(scenario, Some(property)), 1)
}

fn go(world: World, threads: usize) -> Walk {
    let (scenario, all) = (world.0, world.1.is_none());
    let began = Instant::now();
    let checker = world.checker().threads(threads).finish_when(HasDiscoveries::AnyFailures).spawn_bfs().join();
    let found = checker.discoveries();
    let broken = ALWAYS.iter().find_map(|&(name, _)| found.get(name).map(|path| (name, path.clone())));
    let failure = match broken {
        Some((property, path)) => {
            let steps = path.into_vec().into_iter().filter_map(|(state, action)| Some(state.says(&scenario, action?)));
            Some(Counterexample { property, steps: steps.collect() })
        }
        None if all && !found.contains_key(DRAINED) => Some(Counterexample { property: DRAINED, steps: Vec::new() }),
        None => None,
    };
    Walk {
        name: scenario.name,
        states: checker.unique_state_count(),
        steps: checker.state_count(),
        depth: checker.max_depth(),
        took: began.elapsed(),
        failure,
    }
}
