#![allow(clippy::unwrap_used, reason = "a test that cannot go on should say where")]

use chrono::Utc;
use outbox_core::{Backoff, BatchId, Event, Frozen, Part, PartDraft, PartRecord, Route};
use uuid::Uuid;

use super::*;

const LEASE: Duration = Duration::from_secs(30);

pub(super) fn policy() -> Policy {
    Policy {
        lease: LEASE,
        lease_margin: Duration::from_secs(3),
        backoff: Backoff::new(Duration::from_secs(1), Duration::from_secs(60)),
        busy_backoff: Backoff::new(Duration::from_secs(4), Duration::from_secs(240)),
        parked_delay: Duration::from_secs(60),
        attempts_max: 10,
        bad_rows_max: 100,
        poll_interval: Duration::from_millis(200),
        ordered: false,
        prune_interval: Some(Duration::from_secs(5)),
        once: false,
    }
}

pub(super) fn machine() -> Machine {
    Machine::new(policy(), 7)
}

pub(super) fn at(secs: u64) -> Moment {
    Moment::new(Duration::from_secs(secs))
}

pub(super) fn event(table: &str) -> StoredEvent {
    let mut event = Event::stored(Uuid::now_v7(), "seen".into(), 1, Utc::now());
    event.table = table.into();
    StoredEvent { seq: 1, event }
}

fn group(table: &str, ordinals: &[u32]) -> Group {
    Group { table: table.into(), ordinals: ordinals.into() }
}

fn unknown() -> SinkError {
    SinkError::unknown("insert", "refused")
}

fn no_table() -> SinkError {
    SinkError::stop("insert", "no such table").with_code(60)
}

pub(super) fn record(no: i32, table: &str, ordinals: &[u32]) -> PartRecord {
    let draft = PartDraft { table: table.into(), ordinals: ordinals.into(), frozen: Frozen::default() };
    PartRecord { no, token: Uuid::new_v4(), done: false, draft }
}

pub(super) fn claim(rows: u32, parts: Vec<PartRecord>) -> Claim {
    Claim {
        batch: BatchId(9),
        route: Route::default(),
        owner: Uuid::new_v4(),
        attempt: if parts.is_empty() { 1 } else { 2 },
        rows,
        bytes: 100,
        bounds: String::new(),
        held: false,
        replay: false,
        parked_tables: vec![],
        parts,
    }
}

pub(super) fn claimed(machine: &mut Machine, claim: Claim) {
    let command = machine.step(Fact::Claimed { claim: Some(claim), asked: at(0) }, at(0));
    assert!(matches!(command, Command::Read), "{command:?}");
}

/// A machine that has frozen one part per table of `tables` and was told to deliver the first.
fn delivering(tables: &[&str]) -> (Machine, Part) {
    let mut machine = machine();
    claimed(&mut machine, claim(tables.len() as u32, vec![]));
    let Command::Freeze(groups) = machine.step(Fact::Read(tables.iter().map(|t| event(t)).collect()), at(0)) else {
        panic!("a new batch is frozen first")
    };
    let records = (0..).zip(groups).map(|(no, group)| record(no, &group.table, &group.ordinals)).collect();
    let Command::Deliver(part) = machine.step(Fact::Frozen { records, failed: vec![] }, at(0)) else {
        panic!("a frozen part is delivered")
    };
    (machine, part)
}

#[test]
fn a_quiet_batch_is_frozen_delivered_and_settled() {
    let (mut machine, part) = delivering(&["a"]);
    assert!(!part.resend);
    assert!(matches!(machine.step(Fact::Delivered, at(1)), Command::Settle));
    assert!(matches!(machine.step(Fact::Settled, at(1)), Command::Prune));
    assert!(matches!(machine.step(Fact::Pruned, at(1)), Command::Claim), "there may be more");
    assert!(matches!(machine.step(Fact::Claimed { claim: None, asked: at(1) }, at(1)), Command::Plan));
    assert!(matches!(machine.step(Fact::Planned(Planned::default()), at(2)), Command::Idle(_)));
    assert!(matches!(machine.step(Fact::Planned(Planned::default()), at(6)), Command::Prune));
    assert!(matches!(machine.step(Fact::Pruned, at(6)), Command::Idle(_)));
}

#[test]
fn events_are_grouped_by_table_in_order() {
    let mut machine = machine();
    claimed(&mut machine, claim(4, vec![]));
    let events = ["a", "b", "a", "b"].map(event).into();
    let Command::Freeze(groups) = machine.step(Fact::Read(events), at(0)) else { panic!("freezes first") };
    let expected = [("a", vec![0, 2]), ("b", vec![1, 3])];
    assert_eq!(groups, expected.map(|(table, ordinals)| Group { table: table.into(), ordinals }));
}

#[test]
fn what_was_frozen_before_is_recovered_before_it_is_sent_again() {
    let mut machine = machine();
    let frozen = record(0, "a", &[0, 1]);
    claimed(&mut machine, claim(2, vec![frozen.clone()]));
    let Command::Recover(part) = machine.step(Fact::Read(vec![event("a"), event("a")]), at(0)) else {
        panic!("a part of an earlier claim may have been sent")
    };
    assert_eq!((part.token, part.resend, part.events.len()), (frozen.token, true, 2));
    let Command::Deliver(again) = machine.step(Fact::Recovered(Recovery::Resend), at(0)) else {
        panic!("sends the same part")
    };
    assert_eq!(again.token, frozen.token);
}

#[test]
fn only_what_is_missing_goes_under_a_new_token() {
    let mut machine = machine();
    claimed(&mut machine, claim(3, vec![record(0, "a", &[0, 1, 2])]));
    let events = vec![event("a"), event("a"), event("a")];
    let landed = vec![events[0].event.id, events[2].event.id];
    machine.step(Fact::Read(events), at(0));
    let Command::Replace { no: 0, groups } = machine.step(Fact::Recovered(Recovery::Replace { landed }), at(0)) else {
        panic!("replaces the part")
    };
    assert_eq!(groups, [Group { table: "a".into(), ordinals: vec![1] }]);
    let new = record(1, "a", &[1]);
    let Command::Deliver(part) = machine.step(Fact::Replaced(vec![new.clone()]), at(0)) else {
        panic!("sends the rest")
    };
    assert_eq!((part.token, part.resend, part.events.len()), (new.token, false, 1));
}

#[test]
fn parts_that_are_done_are_left_alone_and_new_tables_are_frozen() {
    let mut machine = machine();
    let done = PartRecord { done: true, ..record(0, "a", &[0]) };
    claimed(&mut machine, claim(2, vec![done]));
    let Command::Freeze(groups) = machine.step(Fact::Read(vec![event("a"), event("b")]), at(0)) else {
        panic!("the second event is in no part yet")
    };
    assert_eq!(groups, [Group { table: "b".into(), ordinals: vec![1] }]);
}

#[test]
fn what_stands_in_for_another_part_keeps_its_place() {
    let mut machine = machine();
    claimed(&mut machine, claim(4, vec![record(1, "a", &[2, 3]), record(2, "a", &[0, 1])]));
    let Command::Recover(part) = machine.step(Fact::Read((0..4).map(|_| event("a")).collect()), at(0)) else {
        panic!("looks for an earlier send")
    };
    assert_eq!(part.id.no, 2, "the events that come first");
}

#[test]
fn a_broken_table_is_put_aside_and_does_not_stop_the_others() {
    let (mut machine, first) = delivering(&["a", "b"]);
    assert_eq!(first.table, "a");
    let Command::Hold(aside) = machine.step(Fact::SinkFailed(no_table()), at(1)) else { panic!("puts it aside") };
    assert_eq!((aside.part, aside.group, aside.delay), (Some(0), group("a", &[0]), Duration::from_secs(60)));
    assert_eq!((aside.reason.dead, aside.reason.code), (false, Some(60)));
    let Command::Deliver(second) = machine.step(Fact::Held, at(1)) else {
        panic!("the second part is tried all the same")
    };
    assert_eq!(second.table, "b");
    assert!(matches!(machine.step(Fact::Delivered, at(1)), Command::Settle), "nothing of the batch is left");
}

#[test]
fn what_cannot_even_be_frozen_is_put_aside_too() {
    let mut machine = machine();
    claimed(&mut machine, claim(2, vec![]));
    machine.step(Fact::Read(vec![event("a"), event("b")]), at(0));
    let frozen = Fact::Frozen { records: vec![record(0, "b", &[1])], failed: vec![(group("a", &[0]), no_table())] };
    let Command::Hold(aside) = machine.step(frozen, at(0)) else { panic!("puts it aside") };
    assert_eq!((aside.part, aside.group), (None, group("a", &[0])));
    assert!(matches!(machine.step(Fact::Held, at(0)), Command::Deliver(_)));
}

#[test]
fn what_is_put_aside_already_waits_for_its_next_try_and_the_rest_goes_on() {
    let mut machine = machine();
    claimed(&mut machine, Claim { held: true, ..claim(1, vec![record(0, "a", &[0])]) });
    machine.step(Fact::Read(vec![event("a")]), at(0));
    let Command::Release(release) = machine.step(Fact::SinkFailed(no_table()), at(1)) else { panic!("gives it back") };
    assert!(release.parked && release.delay == Duration::from_secs(60));
    assert!(matches!(machine.step(Fact::Released, at(1)), Command::Plan), "what is new goes on");
    let planned = machine.step(Fact::Planned(Planned::default()), at(1));
    assert!(matches!(planned, Command::Claim), "and so do other batches");
}

#[test]
fn in_order_everything_of_a_parked_table_waits_behind_it() {
    let mut machine = Machine::new(Policy { ordered: true, ..policy() }, 7);
    claimed(&mut machine, Claim { parked_tables: vec!["a".into()], ..claim(3, vec![]) });
    let events = ["a", "b", "a"].map(event).into();
    let Command::Freeze(groups) = machine.step(Fact::Read(events), at(0)) else { panic!("the other table goes on") };
    assert_eq!(groups, [group("b", &[1])]);
    let Command::Hold(aside) = machine.step(Fact::Frozen { records: vec![], failed: vec![] }, at(0)) else {
        panic!("puts the first aside")
    };
    assert_eq!((aside.part, aside.group, aside.reason.dead), (None, group("a", &[0, 2]), false));

    // What is parked in the middle of a batch stops the table's later parts in it.
    claimed(&mut machine, claim(2, vec![record(0, "a", &[0]), record(1, "a", &[1])]));
    machine.step(Fact::Read(vec![event("a"), event("a")]), at(0));
    assert!(matches!(machine.step(Fact::SinkFailed(no_table()), at(0)), Command::Hold(Aside { part: Some(0), .. })));
    assert!(matches!(machine.step(Fact::Held, at(0)), Command::Hold(Aside { part: Some(1), .. })));
    assert!(matches!(machine.step(Fact::Held, at(0)), Command::Settle));
}

#[test]
fn events_that_may_have_arrived_in_other_parts_are_looked_for_before_they_are_sent() {
    let mut machine = machine();
    claimed(&mut machine, Claim { replay: true, ..claim(2, vec![]) });
    let events = vec![event("a"), event("a")];
    let landed = vec![events[0].event.id];
    machine.step(Fact::Read(events), at(0));
    let frozen = Fact::Frozen { records: vec![record(0, "a", &[0, 1])], failed: vec![] };
    let Command::Recover(part) = machine.step(frozen, at(0)) else { panic!("looks first") };
    assert!(part.replay);
    let Command::Replace { no: 0, groups } = machine.step(Fact::Recovered(Recovery::Replace { landed }), at(0)) else {
        panic!("the rest goes under a new token")
    };
    assert_eq!(groups, [group("a", &[1])]);
}

#[test]
fn the_next_batch_is_claimed_with_the_settlement_of_the_one_before() {
    let (mut machine, _) = delivering(&["a"]);
    machine.pruned_at = Some(at(0));
    assert!(matches!(machine.step(Fact::Delivered, at(1)), Command::SettleAndClaim));
    let next = machine.step(Fact::SettledAndClaimed { claim: Some(claim(1, vec![])), asked: at(1) }, at(1));
    assert!(matches!(next, Command::Read), "{next:?}");
    machine.stop();
    let next = machine.step(Fact::SettledAndClaimed { claim: Some(claim(1, vec![])), asked: at(1) }, at(1));
    assert!(matches!(next, Command::Release(_)), "{next:?}");
}

#[test]
fn idle_waits_grow_and_begin_anew_after_an_event() {
    let mut machine = machine();
    machine.pruned_at = Some(at(0));
    let idle = |machine: &mut Machine| match machine.step(Fact::Planned(Planned::default()), at(1)) {
        Command::Idle(wait) => wait.as_millis(),
        command => panic!("{command:?}"),
    };
    assert_eq!([0; 7].map(|_| idle(&mut machine)), [10, 20, 40, 80, 160, 200, 200]);
    machine.step(Fact::Planned(Planned { rows: 1, batches: 1, contended: false }), at(1));
    assert_eq!(idle(&mut machine), 10);
}

#[test]
fn waits_for_another_session_that_seals_begin_anew_after_a_batch() {
    let mut machine = machine();
    let contended = Planned { contended: true, ..Planned::default() };
    let wait = |machine: &mut Machine| match machine.step(Fact::Planned(contended), at(1)) {
        Command::Wait(wait) => wait.as_millis(),
        command => panic!("{command:?}"),
    };
    assert_eq!([0; 7].map(|_| wait(&mut machine)), [5, 10, 20, 40, 80, 160, 200]);
    machine.step(Fact::Claimed { claim: Some(claim(1, vec![])), asked: at(1) }, at(1));
    assert_eq!([0; 2].map(|_| wait(&mut machine)), [5, 10], "else a backlog is drained with a pause at every plan");
    machine.step(Fact::Planned(Planned { rows: 1, batches: 1, contended: false }), at(1));
    assert_eq!(wait(&mut machine), 5);
}

#[test]
fn a_destination_that_is_down_makes_everything_wait_longer_each_time() {
    let mut machine = machine();
    let mut waits = Vec::new();
    for _ in 0..8 {
        claimed(&mut machine, claim(1, vec![]));
        machine.step(Fact::Read(vec![event("a")]), at(0));
        machine.step(Fact::Frozen { records: vec![record(0, "a", &[0])], failed: vec![] }, at(0));
        let Command::Release(release) = machine.step(Fact::SinkFailed(SinkError::unknown("insert", "refused")), at(0))
        else {
            panic!("gives the batch back")
        };
        assert!(!release.parked && release.error.is_some());
        let Command::Wait(wait) = machine.step(Fact::Released, at(0)) else { panic!("waits") };
        assert_eq!(wait, release.delay);
        waits.push(wait);
    }
    assert!(waits[6] > waits[0] * 10, "{waits:?}");
    assert!(waits.iter().all(|wait| *wait <= Duration::from_secs(60)));
    // A success starts from the beginning.
    claimed(&mut machine, claim(1, vec![]));
    machine.step(Fact::Read(vec![event("a")]), at(0));
    machine.step(Fact::Frozen { records: vec![record(0, "a", &[0])], failed: vec![] }, at(0));
    assert!(matches!(machine.step(Fact::Delivered, at(0)), Command::Settle));
    machine.step(Fact::Settled, at(0));
    assert_eq!(machine.failures, 0);
}

#[test]
fn nothing_is_sent_under_a_lease_that_is_gone() {
    let mut machine = machine();
    claimed(&mut machine, claim(1, vec![record(0, "a", &[0])]));
    let command = machine.step(Fact::Read(vec![event("a")]), at(28));
    assert!(matches!(command, Command::Claim), "suspended past the deadline: {command:?}");
    assert!(machine.claim().is_none());

    claimed(&mut machine, claim(1, vec![record(0, "a", &[0])]));
    machine.step(Fact::Read(vec![event("a")]), at(1));
    let command = machine.step(Fact::Recovered(Recovery::Resend), at(28));
    assert!(matches!(command, Command::Claim), "suspended while looking: {command:?}");
}

#[test]
fn a_lost_lease_drops_the_work() {
    let (mut machine, _) = delivering(&["a"]);
    let command = machine.step(Fact::StoreFailed(StoreError::lease_lost("settle")), at(1));
    assert!(matches!(command, Command::Claim));
    assert!(machine.claim().is_none());
}

#[test]
fn a_batch_that_reads_back_wrong_is_parked_and_never_sent() {
    let mut machine = machine();
    claimed(&mut machine, claim(5, vec![]));
    let wrong = StoreError::new(StoreErrorKind::Mismatch, "read", "4 of 5");
    let Command::Release(release) = machine.step(Fact::StoreFailed(wrong), at(0)) else { panic!("gives it back") };
    assert!(release.parked);
}

#[test]
fn a_stop_finishes_the_batch_in_hand() {
    let (mut machine, _) = delivering(&["a"]);
    machine.stop();
    assert!(matches!(machine.step(Fact::Delivered, at(1)), Command::Settle));
    assert!(matches!(machine.step(Fact::Settled, at(1)), Command::Exit(Exit::Done)));
}

#[test]
fn an_abort_gives_the_lease_back() {
    let (mut machine, _) = delivering(&["a"]);
    machine.stop();
    let Command::Release(release) = machine.step(Fact::Aborted, at(1)) else { panic!("gives it back") };
    assert_eq!((release.delay, release.parked), (Duration::ZERO, false));
    assert!(matches!(machine.step(Fact::Released, at(1)), Command::Exit(Exit::Done)));
}

#[test]
fn once_ends_when_drained_and_says_what_was_left() {
    let mut drained = Machine::new(Policy { once: true, ..policy() }, 7);
    assert!(matches!(drained.step(Fact::Started, at(0)), Command::Claim));
    assert!(matches!(drained.step(Fact::Claimed { claim: None, asked: at(0) }, at(0)), Command::Plan));
    assert!(matches!(drained.step(Fact::Planned(Planned::default()), at(0)), Command::Prune));
    assert!(matches!(drained.step(Fact::Pruned, at(0)), Command::Exit(Exit::Done)));

    // The worker that prunes may have ended before this one settled.
    let mut other = Machine::new(Policy { once: true, prune_interval: None, ..policy() }, 7);
    assert!(matches!(other.step(Fact::Started, at(0)), Command::Claim));
    assert!(matches!(other.step(Fact::Claimed { claim: None, asked: at(0) }, at(0)), Command::Plan));
    assert!(matches!(other.step(Fact::Planned(Planned::default()), at(0)), Command::Prune));
    assert!(matches!(other.step(Fact::Pruned, at(0)), Command::Exit(Exit::Done)));

    let mut failing = Machine::new(Policy { once: true, ..policy() }, 7);
    claimed(&mut failing, claim(1, vec![]));
    failing.step(Fact::Read(vec![event("a")]), at(0));
    failing.step(Fact::Frozen { records: vec![], failed: vec![(group("a", &[0]), unknown())] }, at(0));
    let command = failing.step(Fact::Released, at(0));
    assert!(matches!(command, Command::Exit(Exit::Failed(_))), "{command:?}");
}

#[test]
fn once_does_not_call_a_batch_delivered_whose_lease_ran_out() {
    let lost =
        || [Fact::LeaseExpired, Fact::StoreFailed(StoreError::lease_lost("settle")), Fact::Read(vec![event("a")])];
    let exit = |once: bool, fact: Fact| {
        let mut machine = Machine::new(Policy { once, prune_interval: None, ..policy() }, 7);
        claimed(&mut machine, claim(1, vec![record(0, "a", &[0])]));
        let command = machine.step(fact, at(28));
        assert!(matches!(command, Command::Claim), "{command:?}");
        // Nobody may have it yet, so that there is nothing to claim.
        assert!(matches!(machine.step(Fact::Claimed { claim: None, asked: at(28) }, at(28)), Command::Plan));
        machine.step(Fact::Planned(Planned::default()), at(28));
        machine.stop();
        let Command::Exit(exit) = machine.step(Fact::Waited, at(28)) else { panic!("it was told to stop") };
        exit
    };
    for fact in lost() {
        let told = format!("{fact:?}");
        assert_eq!(exit(true, fact), Exit::Failed(LEASE_RAN_OUT.to_owned()), "{told}");
    }
    for fact in lost() {
        assert_eq!(exit(false, fact), Exit::Done, "the batch comes again by itself");
    }
}
