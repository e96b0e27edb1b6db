//! The table of cases.

mod answers;
mod cuts;
mod questions;
mod tables;

use outbox_test::proxy::Mode;

use crate::script::Step;

/// What becomes of the events.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Expect {
    /// All are there once.
    Once,
    /// The bad ones are held as dead under this error number, all others are there once.
    DeadLettered(i32),
}

/// One named scenario.
#[derive(Clone, Debug)]
pub(crate) struct Case {
    pub(crate) name: String,
    /// Run before the relay starts.
    pub(crate) before: Vec<&'static str>,
    /// Run when it has started and nothing was sent yet.
    pub(crate) spoil: Vec<&'static str>,
    /// Run when something has failed.
    pub(crate) mend: Vec<&'static str>,
    /// What the front does.
    pub(crate) script: Vec<Step>,
    /// What a proxy in between does, again and again: it knows no protocol.
    pub(crate) proxy: Vec<Mode>,
    pub(crate) expect: Expect,
    /// Whether there are bad rows among the events.
    pub(crate) poison: bool,
}

impl Case {
    fn new(name: impl Into<String>, script: Vec<Step>) -> Self {
        Self {
            name: name.into(),
            before: Vec::new(),
            spoil: Vec::new(),
            mend: Vec::new(),
            script,
            proxy: Vec::new(),
            expect: Expect::Once,
            poison: false,
        }
    }

    fn dead_lettered(self, code: i32) -> Self {
        Self { expect: Expect::DeadLettered(code), poison: true, ..self }
    }
}

/// All of them.
pub(crate) fn all() -> Vec<Case> {
    [answers::cases(), cuts::cases(), questions::cases(), tables::cases()].concat()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_two_cases_have_one_name() {
        let mut names: Vec<_> = all().into_iter().map(|case| case.name).collect();
        let count = names.len();
        names.sort();
        names.dedup();
        assert_eq!(names.len(), count);
        assert!(count >= 200, "{count}");
    }
}
