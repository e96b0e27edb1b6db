//! A destination that drops what comes again under the same token.

use crate::db::Events;

/// A route's destination.
#[derive(Clone, PartialEq, Eq, Hash, Debug, Default)]
pub(crate) struct Sink {
    /// What it has.
    pub(crate) delivered: Events,
    /// What it has seen under which token, while anybody may still send it.
    pub(crate) log: Vec<(u8, Events)>,
}

/// What became of a send that was not dropped.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Arrival {
    /// New.
    New,
    /// Came again, and was dropped.
    Again,
    /// Some of it is there twice now.
    Doubled,
    /// The token stood for something else.
    TokenReused,
}

impl Sink {
    /// `look`: only what is not there yet is sent.
    pub(crate) fn accept(&mut self, token: u8, events: Events, look: bool) -> Arrival {
        if let Some((_, seen)) = self.log.iter().find(|(seen, _)| *seen == token) {
            return if *seen == events { Arrival::Again } else { Arrival::TokenReused };
        }
        self.log.push((token, events));
        self.log.sort_unstable();
        let doubled = !look && self.delivered & events != 0;
        self.delivered |= events;
        if doubled { Arrival::Doubled } else { Arrival::New }
    }
}
