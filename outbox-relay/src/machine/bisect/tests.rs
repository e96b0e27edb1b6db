#![allow(clippy::unwrap_used, reason = "a test that cannot go on should say where")]

use outbox_core::{Frozen, PartDraft, PartRecord, Recovery, SinkErrorKind};

use super::super::tests::{at, claim, claimed, event, machine, policy, record};
use super::super::{Fact, Machine, Policy};
use super::*;

/// What a destination does with a batch of one table in which some rows are bad, told as a store and a sink would.
struct Run {
    machine: Machine,
    events: Vec<StoredEvent>,
    bad: BTreeSet<usize>,
    /// Whether the destination says which row it is, one at a time.
    names: bool,
    next_no: i32,
    sends: u32,
    delivered: BTreeSet<u32>,
    dead: BTreeSet<u32>,
    parked: BTreeSet<u32>,
}

impl Run {
    fn new(policy: Policy, rows: usize, bad: &[usize], names: bool) -> Self {
        Self {
            machine: Machine::new(policy, 7),
            events: (0..rows).map(|_| event("a")).collect(),
            bad: bad.iter().copied().collect(),
            names,
            next_no: 0,
            sends: 0,
            delivered: BTreeSet::new(),
            dead: BTreeSet::new(),
            parked: BTreeSet::new(),
        }
    }

    fn frozen(&mut self, group: Group) -> PartRecord {
        self.next_no += 1;
        let draft = PartDraft { table: group.table, ordinals: group.ordinals, frozen: Frozen::default() };
        PartRecord { no: self.next_no - 1, token: Uuid::new_v4(), done: false, draft }
    }

    fn place(&self, id: Uuid) -> usize {
        self.events.iter().position(|stored| stored.event.id == id).unwrap()
    }

    fn send(&mut self, part: &Part) -> Fact {
        self.sends += 1;
        let places: Vec<_> = part.events.iter().map(|stored| self.place(stored.event.id)).collect();
        match places.iter().find(|place| self.bad.contains(place)) {
            Some(place) => {
                let named = if self.names { vec![self.events[*place].event.id] } else { vec![] };
                Fact::SinkFailed(SinkError::bad_rows("does not parse", named).with_code(27))
            }
            None => {
                self.delivered.extend(places.iter().map(|place| u32::try_from(*place).unwrap()));
                Fact::Delivered
            }
        }
    }

    fn run(mut self) -> Self {
        let rows = u32::try_from(self.events.len()).unwrap();
        claimed(&mut self.machine, claim(rows, vec![]));
        let mut fact = Fact::Read(self.events.clone());
        loop {
            fact = match self.machine.step(fact, at(0)) {
                Command::Freeze(groups) => {
                    let records = groups.into_iter().map(|group| self.frozen(group)).collect();
                    Fact::Frozen { records, failed: vec![] }
                }
                Command::Replace { groups, .. } => {
                    Fact::Replaced(groups.into_iter().map(|group| self.frozen(group)).collect())
                }
                Command::Deliver(part) => self.send(&part),
                Command::SettlePart(_) => Fact::PartSettled,
                Command::Hold(aside) => {
                    let into = if aside.reason.dead { &mut self.dead } else { &mut self.parked };
                    into.extend(aside.group.ordinals);
                    Fact::Held
                }
                Command::Settle | Command::SettleAndClaim | Command::Release(_) => return self,
                other => panic!("{other:?}"),
            }
        }
    }
}

#[test]
fn three_bad_rows_of_ten_thousand_are_all_that_is_lost_and_cost_seven_sends_where_they_are_named() {
    let bad = [0, 4_711, 9_999];
    for (names, sends) in [(true, 7), (false, 77)] {
        let run = Run::new(policy(), 10_000, &bad, names).run();
        assert_eq!(run.dead, bad.iter().map(|bad| *bad as u32).collect());
        assert_eq!(run.delivered.len(), 9_997);
        assert!(run.sends <= sends, "{} sends, names: {names}", run.sends);
    }
}

#[test]
fn rows_are_found_wherever_they_are() {
    for rows in 1..=9 {
        for pattern in 0..1_u32 << rows {
            let bad: Vec<usize> = (0..rows).filter(|row| pattern & (1 << row) != 0).collect();
            for names in [true, false] {
                for ordered in [true, false] {
                    let run = Run::new(Policy { ordered, ..policy() }, rows, &bad, names).run();
                    let dead: Vec<usize> = run.dead.iter().map(|dead| *dead as usize).collect();
                    assert_eq!((dead, run.delivered.len()), (bad.clone(), rows - bad.len()), "{bad:?} of {rows}");
                }
            }
        }
    }
}

#[test]
fn a_table_that_refuses_everything_is_parked_after_a_hundred_rows() {
    let bad: Vec<usize> = (0..10_000).collect();
    let run = Run::new(policy(), 10_000, &bad, false).run();
    assert_eq!(run.dead.len(), 100);
    assert_eq!(run.parked.len(), 9_900, "they come again by themselves");
    assert!(run.sends < 300, "{} sends", run.sends);
}

#[test]
fn nothing_is_taken_apart_before_an_earlier_send_is_resolved() {
    let mut machine = machine();
    claimed(&mut machine, claim(2, vec![record(0, "a", &[0, 1])]));
    let events = vec![event("a"), event("a")];
    let landed = vec![events[0].event.id];
    machine.step(Fact::Read(events), at(0));
    let Command::Deliver(part) = machine.step(Fact::Recovered(Recovery::Resend), at(0)) else { panic!("sends again") };
    assert!(part.resend && !part.replay);
    let refused = || Fact::SinkFailed(SinkError::bad_rows("does not parse", vec![]));
    let Command::Recover(part) = machine.step(refused(), at(0)) else { panic!("the first send may have arrived") };
    assert!(part.replay, "the sink looks for the events themselves");
    let Command::Replace { groups, .. } = machine.step(Fact::Recovered(Recovery::Replace { landed }), at(0)) else {
        panic!("only what is missing")
    };
    assert_eq!(groups, [Group { table: "a".into(), ordinals: vec![1] }]);
}

#[test]
fn what_one_server_refuses_is_not_sent_again_where_another_has_taken_its_share() {
    let mut machine = machine();
    claimed(&mut machine, claim(4, vec![]));
    let events: Vec<_> = (0..4).map(|_| event("a")).collect();
    let ids: Vec<_> = events.iter().map(|stored| stored.event.id).collect();
    machine.step(Fact::Read(events), at(0));
    let refused = || Fact::SinkFailed(SinkError::bad_rows("does not parse", vec![]).partly_arrived());
    let replaced = |command: Command| match command {
        Command::Replace { groups, .. } => groups.into_iter().map(|group| group.ordinals).collect::<Vec<_>>(),
        other => panic!("{other:?}"),
    };
    let first = vec![record(0, "a", &[0, 1, 2, 3])];
    let Command::Deliver(part) = machine.step(Fact::Frozen { records: first, failed: vec![] }, at(0)) else {
        panic!("sends")
    };
    assert!(!part.resend);
    let Command::Recover(part) = machine.step(refused(), at(0)) else {
        panic!("it was the first send, and all the same")
    };
    assert!(part.resend && part.replay);
    let landed = vec![ids[0], ids[2]];
    let halves = replaced(machine.step(Fact::Recovered(Recovery::Replace { landed }), at(0)));
    assert_eq!(halves, [[1], [3]], "of what has not arrived");
    machine.step(Fact::Replaced(vec![record(1, "a", &[1]), record(2, "a", &[3])]), at(0));
    assert!(matches!(machine.step(refused(), at(0)), Command::Recover(_)));
    let nothing = Recovery::Replace { landed: vec![] };
    let Command::Hold(aside) = machine.step(Fact::Recovered(nothing), at(0)) else { panic!("it is the bad one") };
    assert_eq!((aside.group.ordinals, aside.reason.dead), (vec![1], true));
    let Command::Deliver(part) = machine.step(Fact::Held, at(0)) else { panic!("the other one") };
    assert_eq!(part.events[0].event.id, ids[3]);
}

#[test]
fn only_what_was_sent_can_be_refused() {
    let refused = || Fact::SinkFailed(SinkError::bad_rows("cannot read all data", vec![]));
    let looking = || {
        let mut machine = machine();
        claimed(&mut machine, claim(2, vec![record(0, "a", &[0, 1])]));
        assert!(matches!(machine.step(Fact::Read(vec![event("a"), event("a")]), at(0)), Command::Recover(_)));
        machine
    };
    assert!(matches!(looking().step(refused(), at(0)), Command::Release(_)), "while it is looked for");
    let mut again = looking();
    again.step(Fact::Recovered(Recovery::Resend), at(0));
    assert!(matches!(again.step(refused(), at(0)), Command::Recover(_)));
    assert!(matches!(again.step(refused(), at(0)), Command::Release(_)), "while it is looked for once more");
    let mut anew = looking();
    let landed = Recovery::Replace { landed: vec![] };
    assert!(matches!(anew.step(Fact::Recovered(landed), at(0)), Command::Replace { .. }));
    assert!(matches!(anew.step(refused(), at(0)), Command::Release(_)), "while the rest is frozen anew");
}

#[test]
fn a_sink_that_cannot_look_has_its_part_taken_apart_all_the_same() {
    let mut machine = machine();
    claimed(&mut machine, claim(2, vec![record(0, "a", &[0, 1])]));
    machine.step(Fact::Read(vec![event("a"), event("a")]), at(0));
    let refused = || Fact::SinkFailed(SinkError::bad_rows("does not parse", vec![]));
    machine.step(Fact::Recovered(Recovery::Resend), at(0));
    assert!(matches!(machine.step(refused(), at(0)), Command::Recover(_)));
    assert!(matches!(machine.step(Fact::Recovered(Recovery::Resend), at(0)), Command::Deliver(_)));
    let Command::Replace { groups, .. } = machine.step(refused(), at(0)) else { panic!("takes it apart") };
    assert_eq!(groups.len(), 2);
}

#[test]
fn a_bad_row_of_a_held_batch_dies_alone() {
    let mut machine = machine();
    claimed(&mut machine, outbox_core::Claim { held: true, ..claim(2, vec![]) });
    machine.step(Fact::Read(vec![event("a"), event("a")]), at(0));
    machine.step(Fact::Frozen { records: vec![record(0, "a", &[0, 1])], failed: vec![] }, at(0));
    let refused = || Fact::SinkFailed(SinkError::bad_rows("does not parse", vec![]).with_code(27));
    assert!(matches!(machine.step(refused(), at(0)), Command::Replace { .. }));
    let records = vec![record(1, "a", &[0]), record(2, "a", &[1])];
    assert!(matches!(machine.step(Fact::Replaced(records), at(0)), Command::Deliver(_)));
    let Command::Hold(aside) = machine.step(refused(), at(0)) else { panic!("dead") };
    assert_eq!((aside.part, aside.reason.dead, aside.reason.code), (Some(1), true, Some(27)));
    assert!(matches!(machine.step(Fact::Held, at(0)), Command::Deliver(_)), "the other goes on");
}

#[test]
fn what_a_sink_does_not_foresee_is_tried_again_alone_and_parked_after_its_tries() {
    for kind in [SinkErrorKind::Environment, SinkErrorKind::Unforeseen] {
        for attempt in 1..=policy().attempts_max {
            let mut machine = machine();
            claimed(&mut machine, outbox_core::Claim { attempt, ..claim(2, vec![]) });
            machine.step(Fact::Read(vec![event("a"), event("b")]), at(0));
            let records = vec![record(0, "a", &[0]), record(1, "b", &[1])];
            machine.step(Fact::Frozen { records, failed: vec![] }, at(0));
            let command = machine.step(Fact::SinkFailed(SinkError::new(kind, "insert", "odd").with_code(4711)), at(0));
            if attempt < policy().attempts_max {
                assert!(matches!(command, Command::Deliver(_)), "the other table goes on: {command:?}");
                machine.step(Fact::Delivered, at(0));
                let Command::Release(release) = machine.step(Fact::PartSettled, at(0)) else { panic!("gives it back") };
                assert!(!release.parked && release.delay > Duration::ZERO);
                assert!(matches!(machine.step(Fact::Released, at(0)), Command::Plan), "other batches go on");
            } else {
                let Command::Hold(aside) = command else { panic!("parked: {command:?}") };
                assert_eq!((aside.part, aside.reason.dead, aside.reason.code), (Some(0), false, Some(4711)));
            }
        }
    }
}

#[test]
fn in_order_nothing_overtakes_a_part_that_has_to_wait() {
    let mut machine = Machine::new(Policy { ordered: true, ..policy() }, 7);
    claimed(&mut machine, claim(2, vec![]));
    machine.step(Fact::Read(vec![event("a"), event("b")]), at(0));
    machine.step(Fact::Frozen { records: vec![record(0, "a", &[0]), record(1, "b", &[1])], failed: vec![] }, at(0));
    let odd = SinkError::new(SinkErrorKind::Environment, "insert", "odd");
    assert!(matches!(machine.step(Fact::SinkFailed(odd), at(0)), Command::Release(_)));
}
