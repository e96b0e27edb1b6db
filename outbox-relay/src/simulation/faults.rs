//! What goes wrong, and when: drawn from a seed, or at one step that is given.

use std::time::Duration;

use outbox_test::memory::{Kept, SinkFault};

/// What becomes of one call to the store or the sink.
#[derive(Clone, Copy, Debug)]
pub(super) struct Trip {
    /// How long the request is under way.
    pub there: Duration,
    /// How long the answer is.
    pub back: Duration,
    pub fate: Fate,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fate {
    Fine,
    /// The store does nothing and says that it cannot.
    Refuse,
    /// The store does it, and the answer does not arrive.
    LoseReply,
    /// Another session is sealing.
    Contended,
    /// The sink fails like this.
    Sink(SinkFault),
    /// The relay dies before the request leaves.
    Die,
    /// The relay dies while the request is under way: it arrives all the same.
    DieAfter,
    /// The relay is suspended for this long while the request is under way.
    Stall(Duration),
    /// Every destination crashes before the request arrives.
    CrashSinks(Kept),
}

/// Which side a call goes to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Side {
    Store,
    Sink,
}

/// How often things go wrong, in a thousand calls.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Odds {
    pub refuse: u32,
    pub lose_reply: u32,
    pub contended: u32,
    pub sink_refuse: u32,
    pub sink_lose_reply: u32,
    pub sink_busy: u32,
    pub sink_stop: u32,
    pub sink_odd: u32,
    pub sink_crash: u32,
    /// In a thousand events.
    pub bad: u32,
    pub die: u32,
    pub stall: u32,
    pub slow: u32,
}

impl Odds {
    /// Each kind of fault is left out half of the time: where everything fails at once, rare combinations of a few never
    /// come (Groce et al., "Swarm Testing", 2012).
    pub(super) fn draw(rng: &mut fastrand::Rng) -> Self {
        let mut odds = || if rng.bool() { rng.u32(5..120) } else { 0 };
        Self {
            refuse: odds(),
            lose_reply: odds(),
            contended: odds(),
            sink_refuse: odds(),
            sink_lose_reply: odds(),
            sink_busy: odds() / 2,
            sink_stop: odds() / 4,
            sink_odd: odds(),
            sink_crash: odds(),
            bad: odds(),
            die: odds() / 2,
            stall: odds(),
            slow: odds() * 2,
        }
    }
}

pub(super) fn draw_kept(rng: &mut fastrand::Rng) -> Kept {
    match rng.u8(0..4) {
        0 => Kept::Nothing,
        1 => Kept::TokenOnly,
        2 => Kept::HalfTheRows,
        _ => Kept::Everything,
    }
}

#[derive(Debug)]
pub(super) enum Faults {
    /// Nothing fails.
    None,
    Drawn {
        rng: fastrand::Rng,
        odds: Odds,
        lease: Duration,
    },
    /// Calls of these names take this long on their way.
    Slow {
        operations: &'static [&'static str],
        by: Duration,
    },
    /// One fault at the step of this number, from 1; and before it the first delivery fails like this.
    At {
        step: u64,
        fate: Fate,
        side: Option<Side>,
        first_delivery: Option<SinkFault>,
    },
}

const QUICK: Trip = Trip { there: Duration::from_millis(1), back: Duration::ZERO, fate: Fate::Fine };

impl Faults {
    /// The fate of the call that is number `step`.
    pub(super) fn trip(&mut self, step: u64, side: Side, operation: &str) -> Trip {
        match self {
            Self::None => QUICK,
            Self::Drawn { rng, odds, lease } => draw(rng, odds, *lease, side),
            Self::Slow { operations, by } if operations.contains(&operation) => Trip { there: *by, ..QUICK },
            Self::Slow { .. } => QUICK,
            Self::At { step: at, fate, side: only, first_delivery } => {
                if step == *at && only.is_none_or(|only| only == side) {
                    return Trip { fate: *fate, ..QUICK };
                }
                match first_delivery.take_if(|_| operation == "deliver") {
                    Some(fault) => Trip { fate: Fate::Sink(fault), ..QUICK },
                    None => QUICK,
                }
            }
        }
    }
}

fn draw(rng: &mut fastrand::Rng, odds: &Odds, lease: Duration, side: Side) -> Trip {
    let hit = |rng: &mut fastrand::Rng, odds: u32| odds > 0 && rng.u32(0..1000) < odds;
    let long = |rng: &mut fastrand::Rng| lease.mul_f64(rng.f64() * 3.0);
    let way = |rng: &mut fastrand::Rng, quick_max: u64| match hit(rng, odds.slow) {
        true => long(rng),
        false => Duration::from_millis(rng.u64(0..=quick_max)),
    };
    let (mut there, back) = (way(rng, 4), way(rng, 0));
    let fate = if hit(rng, odds.die) {
        if rng.bool() { Fate::Die } else { Fate::DieAfter }
    } else if hit(rng, odds.stall) {
        Fate::Stall(long(rng))
    } else if side == Side::Store {
        match () {
            () if hit(rng, odds.refuse) => Fate::Refuse,
            () if hit(rng, odds.lose_reply) => Fate::LoseReply,
            () if hit(rng, odds.contended) => Fate::Contended,
            () => Fate::Fine,
        }
    } else {
        match () {
            () if hit(rng, odds.sink_refuse) => Fate::Sink(SinkFault::Refuse),
            () if hit(rng, odds.sink_lose_reply) => Fate::Sink(SinkFault::LoseReply),
            () if hit(rng, odds.sink_busy) => Fate::Sink(SinkFault::Busy),
            () if hit(rng, odds.sink_stop) => Fate::Sink(SinkFault::Stop),
            () if hit(rng, odds.sink_odd) => {
                Fate::Sink(if rng.bool() { SinkFault::Environment } else { SinkFault::Unforeseen })
            }
            () if hit(rng, odds.sink_crash) => Fate::Sink(SinkFault::Crash(draw_kept(rng))),
            () if hit(rng, odds.slow) => Fate::Sink(SinkFault::DelayReply(long(rng))),
            () => Fate::Fine,
        }
    };
    // What a relay sent before it died or stood still may arrive when somebody else has its batch.
    if matches!(fate, Fate::DieAfter | Fate::Stall(_)) && rng.bool() {
        there = long(rng);
    }
    Trip { there, back, fate }
}
