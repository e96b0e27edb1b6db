//! What people do to tables: the real server's own answers, with and without a lost one before.

use super::{Case, Expect};
use crate::position::{AnswerCut, How};
use crate::script::{Act, Step, Target};

/// A name, what is done, how it is mended, and what becomes of the events.
type Row = (&'static str, &'static [&'static str], &'static [&'static str], Expect);

const TARGET_WITHOUT_WINDOW: &str = "the_view_s_target_has_no_window";
const WINDOW_OFF: &str = "ALTER TABLE event_log MODIFY SETTING non_replicated_deduplication_window = 0";
const WINDOW_ON: &str = "ALTER TABLE event_log MODIFY SETTING non_replicated_deduplication_window = 1000";

/// Done before anything is sent, and mended when it has failed.
#[rustfmt::skip]
const SPOILT: &[Row] = &[
    ("the_table_is_away", &["RENAME TABLE event_log TO away"], &["RENAME TABLE away TO event_log"], Expect::Once),
    ("a_column_is_renamed", &["ALTER TABLE event_log RENAME COLUMN environment TO place"],
        &["ALTER TABLE event_log RENAME COLUMN place TO environment"], Expect::Once),
    ("a_column_is_dropped", &["ALTER TABLE event_log DROP COLUMN environment"],
        &["ALTER TABLE event_log ADD COLUMN environment String"], Expect::Once),
    ("a_type_is_narrowed", &["ALTER TABLE event_log MODIFY COLUMN metadata_version Int8"],
        &["ALTER TABLE event_log MODIFY COLUMN metadata_version Int32"], Expect::Once),
    ("a_type_is_widened", &["ALTER TABLE event_log MODIFY COLUMN metadata_version Int64"], &[], Expect::Once),
    ("a_column_is_added", &["ALTER TABLE event_log ADD COLUMN more UInt8"], &[], Expect::Once),
    ("the_window_is_off", &[WINDOW_OFF], &[WINDOW_ON], Expect::Once),
    (TARGET_WITHOUT_WINDOW,
        &["ALTER TABLE mirror MODIFY SETTING non_replicated_deduplication_window = 0"],
        &["ALTER TABLE mirror MODIFY SETTING non_replicated_deduplication_window = 1000"], Expect::Once),
    ("the_view_s_target_is_away", &["RENAME TABLE mirror TO away"], &["RENAME TABLE away TO mirror"], Expect::Once),
    ("the_view_throws",
        &["CREATE TABLE picky (c UInt8) ENGINE = MergeTree ORDER BY c SETTINGS non_replicated_deduplication_window = 1000",
          "CREATE MATERIALIZED VIEW picky_view TO picky AS SELECT throwIf(event_type != '') AS c FROM event_log"],
        &["DROP VIEW picky_view"], Expect::Once),
    ("the_disk_is_below_its_reserve",
        &["ALTER TABLE event_log MODIFY SETTING min_free_disk_bytes_to_perform_insert = 1152921504606846976"],
        &["ALTER TABLE event_log MODIFY SETTING min_free_disk_bytes_to_perform_insert = 0"], Expect::Once),
    ("there_are_too_many_parts",
        &["SYSTEM STOP MERGES event_log",
          "INSERT INTO event_log (event_id, event_type) VALUES (generateUUIDv4(), 'other')",
          "ALTER TABLE event_log MODIFY SETTING parts_to_throw_insert = 1, parts_to_delay_insert = 1"],
        &["ALTER TABLE event_log MODIFY SETTING parts_to_throw_insert = 3000, parts_to_delay_insert = 1000"], Expect::Once),
    ("a_constraint_refuses_all", &["ALTER TABLE event_log ADD CONSTRAINT none CHECK event_type = 'none'",
          "ALTER TABLE event_log DROP CONSTRAINT none"], &[], Expect::Once),
    ("a_constraint_refuses_some",
        &["ALTER TABLE event_log ADD CONSTRAINT clean CHECK position(event_context, 'POISON') = 0"], &[],
        Expect::DeadLettered(469)),
];

/// Done between freezing and the first send.
#[rustfmt::skip]
const IN_FLIGHT: &[(&str, &str, &[&str])] = &[
    ("a_column_is_renamed", "ALTER TABLE event_log RENAME COLUMN environment TO place",
        &["ALTER TABLE event_log RENAME COLUMN place TO environment"]),
    ("a_column_is_dropped", "ALTER TABLE event_log DROP COLUMN environment",
        &["ALTER TABLE event_log ADD COLUMN environment String"]),
    ("a_type_is_widened", "ALTER TABLE event_log MODIFY COLUMN metadata_version Int64", &[]),
    ("a_column_is_added", "ALTER TABLE event_log ADD COLUMN more UInt8", &[]),
    ("the_window_is_off", WINDOW_OFF, &[WINDOW_ON]),
    ("the_table_is_away", "RENAME TABLE event_log TO away", &["RENAME TABLE away TO event_log"]),
];

pub(super) fn cases() -> Vec<Case> {
    let lost = || Step::once(Target::Insert, Act::CutAnswer(AnswerCut::BeforeIt, How::Fin));
    let mut cases = Vec::new();
    for (name, spoil, mend, expect) in SPOILT {
        let of = |name: String, script| Case {
            spoil: spoil.to_vec(),
            mend: mend.to_vec(),
            expect: expect.clone(),
            poison: matches!(expect, Expect::DeadLettered(_)),
            ..Case::new(name, script)
        };
        cases.push(of((*name).to_owned(), Vec::new()));
        if *name == TARGET_WITHOUT_WINDOW {
            // A target that has no memory of a send doubles its repeat: docs/clickhouse.md says so.
            continue;
        }
        // What is refused before anything is sent has no answer to lose until it is mended.
        cases.push(of(format!("{name}_and_an_answer_is_lost"), vec![lost()]));
    }
    for (name, alter, mend) in IN_FLIGHT {
        let of =
            |name: String, act| Case { mend: mend.to_vec(), ..Case::new(name, vec![Step::once(Target::Insert, act)]) };
        cases.push(of(format!("{name}_in_flight"), Act::Alter(alter)));
        cases.push(of(format!("{name}_after_a_lost_answer"), Act::LoseThenAlter(alter)));
    }
    cases
}
