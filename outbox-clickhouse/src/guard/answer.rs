//! Reads along until it is clear whose answer it is.

/// The statuses that stand in for a 200 that does not count. Nobody else sends them: they are reserved, and not an error's.
const STRANGER: &[u8; 3] = b"299";
const CUT: &[u8; 3] = b"298";
/// No server's head is longer; what is, is passed on as it is.
const HEAD_BYTES_MAX: usize = 64 << 10;

/// One connection's requests and answers, in turn.
#[derive(Debug, Default)]
pub(super) struct Watch {
    /// The request's first line, as far as it has gone out.
    line: Vec<u8>,
    /// The answer, as far as it has come and is not decided on.
    held: Vec<u8>,
    waits: bool,
}

enum Verdict {
    /// More of it is needed.
    Open,
    Counts,
    /// A 200 of somebody else's, or one that something comes after; or ClickHouse's, for fewer rows than were sent.
    DoesNotCount(&'static [u8; 3]),
}

impl Watch {
    /// Whether nothing more is to be looked at until the next request.
    pub(super) fn is_decided(&self) -> bool {
        !self.waits
    }

    /// These bytes have gone out.
    pub(super) fn asked(&mut self, bytes: &[u8]) {
        if !self.waits {
            (self.waits, self.line) = (true, Vec::new());
        }
        if !self.line.contains(&b'\n') {
            let end = bytes.iter().position(|byte| *byte == b'\n').map_or(bytes.len(), |at| at + 1);
            self.line.extend_from_slice(&bytes[..end]);
        }
    }

    /// These have come; returns what may be passed on.
    pub(super) fn answered(&mut self, bytes: &[u8]) -> Vec<u8> {
        self.held.extend_from_slice(bytes);
        self.decide(false)
    }

    /// No more will come.
    pub(super) fn ended(&mut self) -> Vec<u8> {
        self.decide(true)
    }

    fn decide(&mut self, ended: bool) -> Vec<u8> {
        let insert = contains(&self.line, b"query=INSERT");
        match verdict(&self.held, insert, rows_sent(&self.line), ended) {
            Verdict::Open if !ended => return Vec::new(),
            Verdict::Open | Verdict::Counts => {}
            Verdict::DoesNotCount(instead) => self.held[STATUS].copy_from_slice(instead),
        }
        self.waits = false;
        std::mem::take(&mut self.held)
    }
}

/// Where a status stands behind `HTTP/1.1 `.
const STATUS: std::ops::Range<usize> = 9..12;

/// `insert`: it is the answer to an INSERT. `sent`: of so many rows, where that is known.
fn verdict(answer: &[u8], insert: bool, sent: Option<u64>, ended: bool) -> Verdict {
    const START: &[u8] = b"HTTP/1.";
    let start = answer.len().min(START.len());
    if answer[..start] != START[..start] {
        return Verdict::Counts;
    }
    let Some(head) = answer.windows(4).position(|window| window == b"\r\n\r\n") else {
        return if answer.len() > HEAD_BYTES_MAX { Verdict::Counts } else { Verdict::Open };
    };
    let (head, body) = (answer[..head].to_ascii_lowercase(), &answer[head + 4..]);
    if head.get(STATUS) != Some(b"200") {
        return Verdict::Counts;
    }
    if !contains(&head, b"\nx-clickhouse-") {
        return Verdict::DoesNotCount(STRANGER);
    }
    if !insert {
        return Verdict::Counts;
    }
    // A body that somebody has emptied is an INSERT of nothing, and one of lines may end after any of them.
    if let (Some(sent), Some(read)) = (sent, rows_read(&head))
        && read < sent
    {
        return Verdict::DoesNotCount(CUT);
    }
    // An INSERT answers nothing: whatever comes is about something that went wrong.
    let nothing: &[u8] = match () {
        () if contains(&head, b"\ncontent-length: 0") => return Verdict::Counts,
        () if contains(&head, b"\ntransfer-encoding: chunked") => b"0\r\n",
        () => b"",
    };
    let start = body.len().min(nothing.len());
    match () {
        () if body[..start] != nothing[..start] || (nothing.is_empty() && !body.is_empty()) => {
            Verdict::DoesNotCount(STRANGER)
        }
        () if ended || (start == nothing.len() && !nothing.is_empty()) => Verdict::Counts,
        () => Verdict::Open,
    }
}

/// How many rows a request says that it brings, in its comment for ClickHouse's log.
fn rows_sent(line: &[u8]) -> Option<u64> {
    let line = str::from_utf8(line).ok()?;
    let (_, comment) = line.split_once("log_comment=outbox")?;
    let comment = comment.split(['&', ' ']).next()?;
    comment.rsplit_once(ROWS).and_then(|(_, rows)| rows.parse().ok())
}

/// How a number of rows begins in a URL's comment.
const ROWS: &str = "+rows+";

/// How many rows ClickHouse has read; a server that does not count these may count what it has written, with what views have. None where
/// it does not say.
fn rows_read(head: &[u8]) -> Option<u64> {
    let head = str::from_utf8(head).ok()?;
    let (_, summary) = head.split_once("\nx-clickhouse-summary:")?;
    let summary = summary.lines().next()?;
    let number = |name: &str| {
        let (_, rest) = summary.split_once(name)?;
        rest.split('"').next()?.parse::<u64>().ok()
    };
    match number("\"read_rows\":\"")? {
        0 => number("\"written_rows\":\""),
        read => Some(read),
    }
}

fn contains(bytes: &[u8], wanted: &[u8]) -> bool {
    bytes.windows(wanted.len()).any(|window| window == wanted)
}

#[cfg(test)]
mod tests {
    use super::*;

    const INSERT: &str = "POST /?query=INSERT+INTO+t HTTP/1.1\r\n";
    const QUESTION: &str = "POST / HTTP/1.1\r\n";

    /// The answer as it is read, when it comes in pieces of every size.
    fn read(request: &str, answer: &str) -> String {
        let mut seen: Vec<String> = Vec::new();
        for size in 1..=answer.len() {
            let mut watch = Watch::default();
            request.as_bytes().chunks(size).for_each(|bytes| watch.asked(bytes));
            let mut passed = Vec::new();
            for bytes in answer.as_bytes().chunks(size) {
                if watch.is_decided() {
                    passed.extend_from_slice(bytes);
                } else {
                    passed.extend(watch.answered(bytes));
                }
            }
            if !watch.is_decided() {
                passed.extend(watch.ended());
            }
            seen.push(String::from_utf8(passed).expect("text"));
        }
        seen.dedup();
        assert_eq!(seen.len(), 1, "the size of the pieces makes no difference: {seen:?}");
        seen.remove(0)
    }

    fn counts(request: &str, answer: &str) -> bool {
        let read = read(request, answer);
        assert!(read == answer || read == answer.replacen("200", "299", 1), "{read}");
        read == answer
    }

    #[test]
    fn an_insert_of_which_rows_are_missing_does_not_count() {
        let request = |comment| format!("POST /?query=INSERT+INTO+t&log_comment={comment}&a=1 HTTP/1.1\r\n");
        let answer = |read: u64, written: u64| {
            format!(
                "HTTP/1.1 200 OK\r\nX-ClickHouse-Summary: {{\"read_rows\":\"{read}\",\"read_bytes\":\"9\",\
                 \"written_rows\":\"{written}\"}}\r\nContent-Length: 0\r\n\r\n"
            )
        };
        let cut = |comment, answer: &str| read(&request(comment), answer) == answer.replacen("200", "298", 1);
        let five = "outbox+route+rows+7+part+3%2F1+fence+1+rows+5";
        assert!(cut(five, &answer(0, 0)), "an empty body");
        assert!(cut(five, &answer(4, 4)));
        assert!(cut(five, &answer(4, 8)), "a view has written them, too");
        assert!(counts(&request(five), &answer(5, 5)));
        assert!(counts(&request(five), &answer(5, 10)), "views are counted, too");
        assert!(counts(&request(five), &answer(0, 5)), "servers that count one of both");
        assert!(counts(&request("somebody+rows+5"), &answer(0, 0)), "not ours");
        let silent = "HTTP/1.1 200 OK\r\nX-ClickHouse-Query-Id: q\r\nContent-Length: 0\r\n\r\n";
        assert!(counts(&request(five), silent), "what it does not say cannot be held against it");
        assert!(counts(&request(five), &answer(0, 0).replace("written_rows", "other")));
    }

    #[test]
    fn an_insert_is_acknowledged_by_clickhouse_and_with_nothing_else() {
        let own = "HTTP/1.1 200 OK\r\nX-ClickHouse-Query-Id: q\r\n";
        assert!(counts(INSERT, &format!("{own}Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n")));
        assert!(counts(INSERT, &format!("{own}Content-Length: 0\r\n\r\n")));
        assert!(counts(INSERT, &format!("{own}\r\n")), "until the connection ends");
        assert!(!counts(INSERT, &format!("{own}Transfer-Encoding: chunked\r\n\r\n5\r\nCode:\r\n0\r\n\r\n")));
        assert!(!counts(INSERT, &format!("{own}Content-Length: 5\r\n\r\nCode:")));
        assert!(!counts(INSERT, &format!("{own}\r\nCode:")));
    }

    #[test]
    fn a_200_of_somebody_else_s_does_not_count() {
        for request in [INSERT, QUESTION] {
            assert!(!counts(request, "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi"));
            assert!(!counts(request, "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"));
            let only_mentions = "HTTP/1.1 200 OK\r\nAccess-Control-Expose-Headers: X-ClickHouse-Query-Id\r\n\r\n";
            assert!(!counts(request, only_mentions));
        }
    }

    #[test]
    fn answers_to_questions_and_refusals_are_left_alone() {
        let rows = "HTTP/1.1 200 OK\r\nx-clickhouse-format: RowBinary\r\nContent-Length: 4\r\n\r\nrows";
        assert!(counts(QUESTION, rows));
        for answer in ["HTTP/1.1 503 No\r\nContent-Length: 0\r\n\r\n", "garbage\r\n\r\n", "HT", "HTTP/1.1 200 OK\r\n"] {
            assert!(counts(INSERT, answer), "{answer}");
        }
    }

    #[test]
    fn each_answer_of_a_connection_is_looked_at() {
        let mut watch = Watch::default();
        let good = b"HTTP/1.1 200 OK\r\nX-ClickHouse-Query-Id: q\r\nContent-Length: 0\r\n\r\n";
        let page = b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n";
        for _ in 0..2 {
            watch.asked(INSERT.as_bytes());
            assert_eq!(watch.answered(good), good);
            assert!(watch.is_decided());
            watch.asked(QUESTION.as_bytes());
            assert!(watch.answered(page).starts_with(b"HTTP/1.1 299"));
        }
    }

    #[test]
    fn an_answer_before_the_request_was_read_does_not_confuse_the_next_look() {
        let mut watch = Watch::default();
        watch.asked(INSERT.as_bytes());
        assert!(watch.answered(b"HTTP/1.1 413 Large\r\n\r\n").starts_with(b"HTTP/1.1 413"));
        watch.asked(b"more of the body\n");
        assert_eq!(watch.answered(b"too large"), b"too large");
    }
}
