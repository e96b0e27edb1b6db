//! What befalls the questions that the sink asks: before a part is frozen, and while it finds out what became of one.

use super::Case;
use crate::answer::{exception, plain, text};
use crate::position::{AnswerCut, How, RequestCut};
use crate::script::{Act, Step, Target};

const MORE: &str = "ALTER TABLE event_log ADD COLUMN more UInt8";

pub(super) fn cases() -> Vec<Case> {
    let mut cases = Vec::new();
    for (name, act) in acts() {
        let question = Step::times(Target::Question, act.clone(), 2);
        let mark = Step::times(Target::Mark, act.clone(), 2);
        cases.push(Case::new(format!("question_before_freezing_{name}"), vec![question.clone()]));
        cases.push(Case::new(format!("mark_before_freezing_{name}"), vec![mark]));
        let lost = Step::once(Target::Insert, Act::CutAnswer(AnswerCut::BeforeIt, How::Fin));
        cases.push(Case::new(format!("question_after_a_lost_answer_{name}"), vec![lost, question]));
        // The token is no proof any more, so that only the ids can tell.
        let altered = Step::once(Target::Insert, Act::LoseThenAlter(MORE));
        let read_back = Step::times(Target::ReadBack, act, 2);
        cases.push(Case::new(format!("read_back_{name}"), vec![altered, read_back]));
    }
    cases
}

fn acts() -> Vec<(&'static str, Act)> {
    let refused = |code: i32, status: &str| Act::Answer(exception(status, &text(code, "words")));
    vec![
        ("busy", refused(202, "500 Internal Server Error")),
        ("out_of_memory", refused(241, "500 Internal Server Error")),
        ("without_rights", refused(497, "403 Forbidden")),
        ("without_a_login", refused(516, "403 Forbidden")),
        ("cannot_read", refused(33, "500 Internal Server Error")),
        ("unforeseen", refused(4711, "500 Internal Server Error")),
        ("answered_by_a_proxy", Act::Answer(plain("502 Bad Gateway", "<html>"))),
        ("answered_with_a_page", Act::Answer(plain("200 OK", "<html>welcome</html>"))),
        ("answered_with_nothing", Act::Answer(plain("200 OK", ""))),
        ("garbage", Act::Answer(b"SECRET\r\n\r\n".to_vec())),
        ("silence", Act::Silence(false)),
        ("cut", Act::CutRequest(RequestCut::AfterTheHead, How::Fin)),
        ("answer_cut_in_the_head", Act::CutAnswer(AnswerCut::Headers, How::Rst)),
        ("answer_cut_after_the_head", Act::CutAnswer(AnswerCut::AfterTheHead, How::Fin)),
        ("answer_cut_at_its_last_byte", Act::CutAnswer(AnswerCut::LastByte, How::Fin)),
    ]
}
