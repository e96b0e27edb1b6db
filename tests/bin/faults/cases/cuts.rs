//! The connection to the real server is cut, at every class of position, once and for a while.

use outbox_test::proxy::Mode;

use super::Case;
use crate::position::{AnswerCut, How, RequestCut};
use crate::script::{Act, Step, Target};

/// Bytes of the client's that a proxy lets through on a connection, whatever they are: heads, questions, bodies.
const ANYWHERE: &[u64] =
    &[1, 10, 100, 200, 300, 400, 500, 600, 800, 1000, 1300, 1600, 2000, 2500, 3000, 3500, 4000, 5000, 6000, 8000];

pub(super) fn cases() -> Vec<Case> {
    let mut cases = Vec::new();
    for how in [How::Fin, How::Rst] {
        let end = match how {
            How::Fin => "fin",
            How::Rst => "rst",
        };
        for cut in RequestCut::ALL {
            let step = Step::once(Target::Insert, Act::CutRequest(cut, how));
            cases.push(Case::new(format!("request_cut_{}_{end}", snake(&format!("{cut:?}"))), vec![step]));
        }
        for cut in AnswerCut::ALL {
            let step = Step::once(Target::Insert, Act::CutAnswer(cut, how));
            cases.push(Case::new(format!("answer_cut_{}_{end}", snake(&format!("{cut:?}"))), vec![step]));
        }
    }
    let lost = Step::times(Target::Insert, Act::CutAnswer(AnswerCut::BeforeIt, How::Rst), 6);
    cases.push(Case::new("answer_lost_six_times", vec![lost]));
    let half = Step::times(Target::Insert, Act::CutRequest(RequestCut::MiddleOfTheBody, How::Fin), 6);
    cases.push(Case::new("request_cut_six_times", vec![half]));
    cases.push(Case::new("request_emptied", vec![Step::once(Target::Insert, Act::Shorten(false))]));
    for (name, keeps_lines) in [("request_emptied_in_lines", false), ("request_loses_its_last_line", true)] {
        // What the server has to convert goes as JSON.
        let before = vec!["ALTER TABLE event_log MODIFY COLUMN metadata_version Int64"];
        let script = vec![Step::once(Target::Insert, Act::Shorten(keeps_lines))];
        cases.push(Case { before, ..Case::new(name, script) });
    }
    for bytes in ANYWHERE {
        let proxy = vec![Mode::CutAfter(*bytes); 3];
        cases.push(Case { proxy, ..Case::new(format!("proxy_cuts_after_{bytes}_bytes"), Vec::new()) });
    }
    for (name, mode) in [("refuses", Mode::Refuse), ("loses_answers", Mode::LoseReply)] {
        let proxy = vec![mode; 5];
        cases.push(Case { proxy, ..Case::new(format!("proxy_{name}"), Vec::new()) });
    }
    cases.push(Case { proxy: vec![Mode::Blackhole], ..Case::new("proxy_black_hole", Vec::new()) });
    cases
}

/// `MiddleOfTheBody` as `middle_of_the_body`.
fn snake(name: &str) -> String {
    let mut snake = String::new();
    for char in name.chars() {
        if char.is_ascii_uppercase() && !snake.is_empty() {
            snake.push('_');
        }
        snake.push(char.to_ascii_lowercase());
    }
    snake
}
