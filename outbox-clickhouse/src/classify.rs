//! What a server's error code means for the events, by code alone: the HTTP status says the wrong thing too often (a
//! missing table is 404, a too large part count 500).

use outbox_core::SinkErrorKind;

/// A server's answer, as far as it may be shown.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Answer<'a> {
    /// The error number, None when it was not ClickHouse that answered.
    pub(crate) code: Option<i32>,
    pub(crate) text: &'a str,
}

/// A row that the server blames.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Row {
    /// From 1.
    pub(crate) number: usize,
    /// Counted while the body was read; or else within what this server, which may be one of several, was to keep.
    pub(crate) as_sent: bool,
}

impl<'a> Answer<'a> {
    /// Reads `Code: 60. DB::Exception: ...`, where new servers put a line and a tag in front when the headers had gone out.
    pub(crate) fn parse(text: &'a str) -> Self {
        let text = match text.strip_prefix("__exception__").and_then(|rest| rest.find("Code: ").map(|at| &rest[at..])) {
            Some(rest) => rest,
            None => text,
        };
        let code = text.strip_prefix("Code: ").and_then(|rest| {
            let digits = rest.len() - rest.trim_start_matches(|char: char| char.is_ascii_digit()).len();
            rest[..digits].parse().ok()
        });
        Self { code, text }
    }

    /// Raised by a materialized view: the rows of the source table may be committed.
    fn in_view(&self) -> bool {
        self.text.contains("while pushing to view")
    }

    /// The types of the columns that were sent are not the table's any more.
    pub(crate) fn is_outdated_header(&self) -> bool {
        match self.code {
            Some(53) => self.text.contains("While executing Native"),
            Some(117) => self.text.contains("(while reading header)"),
            _ => false,
        }
    }

    /// ClickHouse says that it has read fewer rows than were sent: see [`guard`](crate::guard).
    pub(crate) fn is_cut(&self) -> bool {
        self.text.starts_with("298 ")
    }

    fn is_too_many_partitions(&self) -> bool {
        self.text.contains("partitions for single INSERT")
    }

    /// A server that goes down says so for seconds, while it writes its last log: as good as a connection that breaks.
    fn is_shutting_down(&self) -> bool {
        self.text.contains("shutting down")
    }

    /// The server's own words, at the end of a text that may quote a row.
    fn is_at_row(&self) -> bool {
        let Some((_, rest)) = self.text.rsplit_once(": (at row ") else { return false };
        let rest = rest.trim_start_matches(|char: char| char.is_ascii_digit());
        rest.starts_with(")\n: While executing ") || rest.starts_with("): While executing ")
    }

    /// The row at fault, from 1, where the server counts it.
    pub(crate) fn row(&self) -> Option<Row> {
        [("(at row ", true), ("is violated at row ", false)].into_iter().find_map(|(mark, as_sent)| {
            let (_, rest) = self.text.rsplit_once(mark)?;
            let number = rest.split(|char: char| !char.is_ascii_digit()).next()?.parse().ok()?;
            Some(Row { number, as_sent })
        })
    }

    /// What the relay shall do. An unknown code is tried again: nothing is given up because it was not foreseen.
    pub(crate) fn kind(&self) -> SinkErrorKind {
        match self.code {
            // The one answer of ClickHouse itself that has no code, and does not get better by itself.
            None if self.text.contains("HTTP request URI invalid or too long") => SinkErrorKind::Stop,
            None => SinkErrorKind::Unknown,
            Some(252) if self.is_too_many_partitions() && !self.in_view() => SinkErrorKind::BadRows,
            Some(236) if self.is_shutting_down() => SinkErrorKind::Unknown,
            // A shard that went away in the middle of its answer.
            Some(32 | 33) if self.text.contains("while receiving packet from") => SinkErrorKind::Unknown,
            Some(code) if is_busy(code) => SinkErrorKind::Busy,
            Some(code) if is_unknown(code) => SinkErrorKind::Unknown,
            // Whatever it is: the same part under the same token is what completes the view once it is repaired.
            Some(_) if self.in_view() => SinkErrorKind::Environment,
            Some(code) if is_environment(code) => SinkErrorKind::Environment,
            Some(_) if self.is_outdated_header() => SinkErrorKind::Stop,
            Some(code) if is_stop(code) => SinkErrorKind::Stop,
            Some(code) if is_bad_rows(code) => SinkErrorKind::BadRows,
            // Whatever it is, it is this row's: the server was reading it.
            Some(_) if self.is_at_row() => SinkErrorKind::BadRows,
            Some(_) => SinkErrorKind::Unforeseen,
        }
    }
}

/// The network, a time-out, a shard or Keeper did not answer: the same again (3, 159, 160, 209, 210, 279, 286, 319, 394, 425,
/// 519, 999, 1000).
fn is_unknown(code: i32) -> bool {
    matches!(code, 3 | 159 | 160 | 209 | 210 | 279 | 286 | 319 | 394 | 425 | 519 | 999 | 1000)
}

/// Too many simultaneous queries (202, 203), memory (241), disk space (243, 439), replica limits (290), too many parts
/// (252).
fn is_busy(code: i32) -> bool {
    matches!(code, 202 | 203 | 241 | 243 | 252 | 290 | 439)
}

/// Read-only (164, 242), Keeper lost (225), aborted (236), too few replicas for the quorum (285), a view that throws (395).
fn is_environment(code: i32) -> bool {
    matches!(code, 164 | 225 | 236 | 242 | 285 | 395)
}

/// The statement, the table, the database, the settings or the user are wrong.
fn is_stop(code: i32) -> bool {
    matches!(code, 16 | 20 | 36 | 44 | 47 | 48 | 60 | 62 | 73 | 81 | 115 | 192 | 193 | 194 | 497 | 516)
}

/// A value does not parse, does not fit its type, or breaks a constraint.
const BAD_ROWS: &[i32] = &[
    6, 25, 26, 27, 32, 33, 38, 41, 53, 69, 70, 72, 117, 120, 128, 130, 131, 321, 349, 376, 407, 441, 467, 469, 563,
    626, 632, 675, 676, 691,
];

fn is_bad_rows(code: i32) -> bool {
    BAD_ROWS.contains(&code)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kind(text: &str) -> SinkErrorKind {
        Answer::parse(text).kind()
    }

    #[test]
    fn every_known_code_has_its_kind() {
        let table: &[(&[i32], SinkErrorKind)] = &[
            (&[3, 159, 160, 209, 210, 279, 286, 319, 394, 425, 519, 999, 1000], SinkErrorKind::Unknown),
            (&[202, 203, 241, 243, 252, 290, 439], SinkErrorKind::Busy),
            (&[164, 225, 236, 242, 285, 395], SinkErrorKind::Environment),
            (&[16, 20, 36, 44, 47, 48, 60, 62, 73, 81, 115, 192, 193, 194, 497, 516], SinkErrorKind::Stop),
            (BAD_ROWS, SinkErrorKind::BadRows),
            (&[7, 216, 4711], SinkErrorKind::Unforeseen),
        ];
        for (codes, expected) in table {
            for code in *codes {
                assert_eq!(kind(&format!("Code: {code}. DB::Exception: words")), *expected, "{code}");
                assert_eq!(kind(&format!("Code: {code}")), *expected, "an empty body leaves the header: {code}");
            }
        }
    }

    #[test]
    fn what_is_not_clickhouse_is_unknown() {
        for text in
            ["", "503 Service Unavailable", "<html>", "Code: ", "Code: x", "Code: 99999999999999", "slow Code: 60."]
        {
            assert_eq!(Answer::parse(text).code, None, "{text}");
            assert_eq!(kind(text), SinkErrorKind::Unknown);
        }
    }

    #[test]
    fn an_exception_after_the_headers_has_its_code_behind_a_tag() {
        let text = "__exception__\r\nrnywyenlaeqynhmu\r\nCode: 241. DB::Exception: Memory limit exceeded";
        assert_eq!(Answer::parse(text).code, Some(241));
        assert_eq!(Answer::parse("__exception__ Code: 241").code, Some(241));
        assert_eq!(Answer::parse("a __exception__ Code: 241").code, None);
    }

    #[test]
    fn the_text_splits_the_codes_that_mean_two_things() {
        let header = "Code: 117. DB::Exception: Type of 'metadata_version' must be Int32, not Int64: (while reading \
                      header): While executing BinaryRowInputFormat. (INCORRECT_DATA)";
        assert_eq!(kind(header), SinkErrorKind::Stop);
        let partitions = "Code: 252. DB::Exception: Too many partitions for single INSERT block (more than 100).";
        assert_eq!(kind(partitions), SinkErrorKind::BadRows);
        let view =
            "Code: 6. DB::Exception: Cannot parse string 'x' as UInt8: while pushing to view db.v. (CANNOT_PARSE_TEXT)";
        assert_eq!(kind(view), SinkErrorKind::Environment, "the source rows are committed");
        let target = "Code: 60. DB::Exception: Table db.t does not exist: while pushing to view db.v. (UNKNOWN_TABLE)";
        assert_eq!(kind(target), SinkErrorKind::Environment, "not the table that was written to");
        let many = "Code: 252. DB::Exception: Too many parts (3000): while pushing to view db.v. (TOO_MANY_PARTS)";
        assert_eq!(kind(many), SinkErrorKind::Busy);
        let new =
            "Code: 4711. DB::Exception: Cannot do it: (at row 3)\n: While executing JSONEachRowRowInputFormat. (NEW)";
        assert_eq!(kind(new), SinkErrorKind::BadRows, "the others go through");
        assert_eq!(kind("Code: 4711. DB::Exception: ': (at row 3)' is odd. (NEW)"), SinkErrorKind::Unforeseen);
        assert_eq!(kind("HTTP request URI invalid or too long"), SinkErrorKind::Stop);
        let going = "Code: 236. DB::Exception: The server is shutting down due to a fatal error. (ABORTED)";
        assert_eq!(kind(going), SinkErrorKind::Unknown, "no reason to put anything aside");
    }

    #[test]
    fn the_row_at_fault_is_read_where_it_is_counted() {
        let row = |text| Answer::parse(text).row().map(|row| (row.number, row.as_sent));
        assert_eq!(row("Code: 27. DB::Exception: Cannot parse '(at row 9)': (at row 12)\n: While"), Some((12, true)));
        assert_eq!(
            row("Code: 469. DB::Exception: Constraint `c` for table t is violated at row 3. Expression: x"),
            Some((3, false))
        );
        assert_eq!(row("Code: 33. DB::Exception: Cannot read all data"), None);
    }
}
