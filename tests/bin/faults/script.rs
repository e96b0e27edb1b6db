//! What the front does to which request: the vocabulary in which a case is written.

use std::time::Duration;

use crate::http::{Message, contains};
use crate::position::{AnswerCut, How, RequestCut};

/// The word by which a bad row is told.
pub(crate) const POISON: &str = "POISON";
/// Stands in front of each event's number in its payload: by counting it a row's number is found.
pub(crate) const ROW: &str = "row=";

/// Which requests a step is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Target {
    Insert,
    /// INSERTs with a bad row in them, for ever.
    Poisoned,
    /// Everything that is no INSERT.
    Question,
    /// The question how far the table's blocks have come, and which start of the server this is.
    Mark,
    /// The question which ids have arrived.
    ReadBack,
}

/// What is done.
#[derive(Clone, Debug)]
pub(crate) enum Act {
    /// The server sees nothing of it; this is the answer, and then the connection ends.
    Answer(Vec<u8>),
    /// The server does what it was asked to, and this is the answer all the same.
    AnswerAfter(Vec<u8>),
    /// The answer comes before the body was read.
    AnswerEarly(Vec<u8>),
    /// As [`Answer`](Self::Answer), with the number of the bad row in the place of `{row}`.
    AnswerRow(String),
    /// So much of the request goes through.
    CutRequest(RequestCut, How),
    /// The server gets a well-formed request with nothing in it, or (`true`) with its last line missing.
    Shorten(bool),
    /// So much of the server's answer comes through.
    CutAnswer(AnswerCut, How),
    /// Nobody answers; the server has (`true`) or has not seen it.
    Silence(bool),
    /// The server's answer comes a byte at a time, so long between two.
    Drip(Duration),
    /// The table is altered between freezing and sending.
    Alter(&'static str),
    /// It arrives, the answer is lost, and then the table is altered.
    LoseThenAlter(&'static str),
}

/// One entry of a script. Each comes after the one before it is through.
#[derive(Clone, Debug)]
pub(crate) struct Step {
    pub(crate) target: Target,
    pub(crate) act: Act,
    pub(crate) times: u32,
}

impl Step {
    pub(crate) fn once(target: Target, act: Act) -> Self {
        Self { target, act, times: 1 }
    }

    pub(crate) fn times(target: Target, act: Act, times: u32) -> Self {
        Self { target, act, times }
    }
}

/// What is left of a script.
#[derive(Debug, Default)]
pub(crate) struct Script(pub(crate) Vec<Step>);

impl Script {
    /// What is done to a request of which only the head was read, where that does not wait for the rest.
    pub(crate) fn early(&mut self, head: &[u8]) -> Option<Vec<u8>> {
        let step = self.0.first()?;
        let Act::AnswerEarly(answer) = &step.act else { return None };
        let answer = answer.clone();
        (is_insert(head) == (step.target == Target::Insert)).then(|| self.take())?;
        Some(answer)
    }

    /// What is done to the request; None: nothing.
    pub(crate) fn next(&mut self, request: &Message) -> Option<Act> {
        let step = self.0.first()?;
        let insert = is_insert(&request.head);
        let meant = match step.target {
            Target::Insert => insert,
            Target::Poisoned => insert && contains(&request.body, POISON),
            Target::Question => !insert,
            Target::Mark => !insert && request.contains("system.parts"),
            Target::ReadBack => !insert && request.contains("SELECT DISTINCT event_id"),
        };
        if !meant {
            return None;
        }
        let act = step.act.clone();
        if step.target != Target::Poisoned {
            self.take();
        }
        Some(act)
    }

    fn take(&mut self) {
        self.0[0].times -= 1;
        if self.0[0].times == 0 {
            self.0.remove(0);
        }
    }

    /// Whether everything that was to happen has.
    pub(crate) fn is_through(&self) -> bool {
        self.0.iter().all(|step| step.target == Target::Poisoned)
    }
}

pub(crate) fn is_insert(head: &[u8]) -> bool {
    contains(head, "query=INSERT")
}
