//! Errors in words: what happened, what to do, and nothing of what was sent.
//!
//! ClickHouse quotes rows in its messages ("Cannot parse input: expected ',' before: ..."). Only texts of codes that are
//! about tables, users and resources are passed on; of all others just the error's name, the row's number and the
//! column, when it is one of ours. The crate's own error is never kept as the source for the same reason.

use std::time::Duration;

use clickhouse::error::Error;
use hyper_util::client::legacy;
use outbox_core::{SinkError, SinkErrorKind};

use crate::classify::{Answer, Row};
use crate::{ClickHouseSettings, TableName};

/// The most of a server's text that goes into a message, in characters.
const TEXT_CHARS_MAX: usize = 300;

/// Codes whose texts are about tables, users, settings and resources, never about values.
const SHOWN_CODES: &[i32] = &[
    3, 16, 20, 36, 48, 60, 73, 81, 115, 159, 164, 192, 193, 194, 202, 203, 209, 210, 216, 225, 236, 241, 242, 243, 252,
    279, 285, 286, 290, 319, 394, 425, 439, 497, 516, 519, 999,
];

/// What an error message needs to know beside the error.
pub(crate) struct Explain<'a> {
    pub(crate) operation: &'static str,
    pub(crate) about: Option<&'a TableName>,
    pub(crate) settings: &'a ClickHouseSettings,
    /// The server's `host:port`.
    pub(crate) address: &'a str,
}

/// The row that the server blames.
#[derive(Debug, thiserror::Error)]
#[error("row {} of the INSERT", .0.number)]
pub(crate) struct BadRow(pub(crate) Row);

/// The answer is a number without its words: they broke off, or were no text.
#[derive(Debug, thiserror::Error)]
#[error("ClickHouse has not said why")]
pub(crate) struct Unexplained;

impl Explain<'_> {
    /// Puts a failure of the crate into words.
    pub(crate) fn error(&self, error: Error, limit: Duration) -> SinkError {
        match error {
            Error::BadResponse(text) => self.answer(&Answer::parse(&text)),
            Error::TimedOut => self.timed_out(limit),
            Error::Network(source) => {
                let connecting = source.downcast_ref::<legacy::Error>().is_some_and(legacy::Error::is_connect);
                let message = if connecting { self.unreachable(&*source) } else { self.cut_off() };
                SinkError::unknown(self.operation, message).with_source(source)
            }
            Error::InvalidParams(_) | Error::Unsupported(_) => SinkError::stop(
                self.operation,
                format!("the address {} cannot be used: set {}", self.address, ClickHouseSettings::ADDRESS_VARS),
            ),
            Error::SchemaMismatch(_) | Error::InvalidColumnsHeader(_) => {
                SinkError::stop(self.operation, "the server's answer has other columns than were asked for")
            }
            // The rest is about answers that cannot be read, and could quote them.
            _ => SinkError::unknown(self.operation, "the server's answer cannot be read"),
        }
    }

    /// No answer within the time that the settings allow.
    pub(crate) fn timed_out(&self, limit: Duration) -> SinkError {
        let name = if self.operation == "deliver" { "CLICKHOUSE_INSERT_TIMEOUT" } else { "CLICKHOUSE_QUERY_TIMEOUT" };
        let limit = humantime::format_duration(limit);
        let message = format!("no answer from ClickHouse at {} within {limit} ({name})", self.address);
        SinkError::unknown(self.operation, message)
    }

    fn answer(&self, answer: &Answer<'_>) -> SinkError {
        let shown = shown(answer);
        let message = match self.hint(answer) {
            Some(hint) => format!("{shown}; {hint}"),
            None => shown,
        };
        let error = SinkError::new(answer.kind(), self.operation, message);
        let error = match answer.row().filter(|_| answer.kind() == SinkErrorKind::BadRows) {
            Some(row) => error.with_source(BadRow(row)),
            None if exception_name(answer.text).is_none() => error.with_source(Unexplained),
            None => error,
        };
        match answer.code {
            Some(code) => error.with_code(code),
            None => error,
        }
    }

    fn hint(&self, answer: &Answer<'_>) -> Option<String> {
        let settings = self.settings;
        let table = || self.about.map_or_else(|| "the table".to_owned(), ToString::to_string);
        Some(match answer.code? {
            60 => format!(
                "create {}, or let the sink do it with OUTBOX_CLICKHOUSE_CREATE_TABLE=true, or name another table in \
                 CLICKHOUSE_EVENT_LOG_TABLE and CLICKHOUSE_DATABASE",
                table()
            ),
            81 => {
                let database = crate::sql::name(self.about.map_or(&settings.database, |about| &about.database));
                format!("run CREATE DATABASE {database}, or name another one in CLICKHOUSE_DATABASE")
            }
            192..=194 | 516 => format!(
                "ClickHouse at {} refuses the user `{}`: check CLICKHOUSE_USER and CLICKHOUSE_PASSWORD (or CLICKHOUSE_URL)",
                self.address, settings.user
            ),
            497 => format!("grant the user `{}` what the message names", settings.user),
            164 => format!("the server or the user `{}` is read-only now", settings.user),
            16 | 44 => format!("the columns of {} have changed since the statement was made", table()),
            53 | 117 if answer.is_outdated_header() => {
                format!("the types of {} have changed since the statement was made", table())
            }
            252 if answer.kind() == SinkErrorKind::BadRows => {
                format!("the times of these events are spread over too many partitions of {}", table())
            }
            395 => format!("a materialized view on {} refuses the rows: repair the view", table()),
            _ => return None,
        })
    }

    fn unreachable(&self, source: &(dyn std::error::Error + 'static)) -> String {
        let mut cause = source;
        while let Some(deeper) = cause.source() {
            cause = deeper;
        }
        format!(
            "cannot reach ClickHouse at {}: {cause}; start it there, or set {}",
            self.address,
            ClickHouseSettings::ADDRESS_VARS
        )
    }

    fn cut_off(&self) -> String {
        format!("the connection to ClickHouse at {} broke before its answer", self.address)
    }
}

/// The part of a server's text that cannot hold a value.
fn shown(answer: &Answer<'_>) -> String {
    let text = answer.text;
    let Some(code) = answer.code else {
        if answer.is_cut() {
            return "ClickHouse has read fewer rows than were sent: what cuts requests in between?".to_owned();
        }
        if text.starts_with("299 ") {
            return "the answer is a 200 without ClickHouse's own headers (X-ClickHouse-..): what listens there, or which \
                    proxy takes them away?"
                .to_owned();
        }
        let status = text.len() < 60
            && text.bytes().take(3).filter(u8::is_ascii_digit).count() == 3
            && text.bytes().skip(3).all(|byte| byte.is_ascii_alphabetic() || byte == b' ');
        return match status {
            true => format!("the answer is not ClickHouse's: {text}"),
            false => format!("the answer is not ClickHouse's ({} bytes): is there a proxy in between?", text.len()),
        };
    };
    if SHOWN_CODES.contains(&code) || answer.is_outdated_header() {
        let words = text.split_once("DB::Exception: ").map_or("", |(_, words)| words);
        let cut = [": While executing", ": while executing", ": while pushing", ": (at row", "\n", " (version "];
        let end = cut.iter().filter_map(|mark| words.find(mark)).min().unwrap_or(words.len());
        let words = &words[..end];
        let name = exception_name(text).map(|name| format!("({name})"));
        let words = name.and_then(|name| words.strip_suffix(&name)).unwrap_or(words);
        let words: String = words.trim_end_matches(['.', ' ']).chars().take(TEXT_CHARS_MAX).collect();
        if !words.is_empty() {
            return words;
        }
    }
    let mut shown = exception_name(text).map_or_else(|| "the server refuses".to_owned(), str::to_owned);
    if let Some(row) = answer.row() {
        shown.push_str(&format!(" at row {}", row.number));
    }
    if let Some(column) = column_at_fault(text) {
        shown.push_str(&format!(" in column {column}"));
    }
    if let Some((_, view)) = text.rsplit_once("while pushing to view ") {
        let view: String = view.chars().take_while(|char| char.is_alphanumeric() || "._`".contains(*char)).collect();
        shown.push_str(&format!(" in the materialized view {}", view.trim_end_matches('.')));
    }
    shown
}

/// The column whose value the server was reading: its own name for it, and no word of the row.
fn column_at_fault(text: &str) -> Option<&str> {
    const NAME_BYTES_MAX: usize = 64;
    let (_, rest) = text.rsplit_once("while reading the value of key ")?;
    let name = &rest[..rest.find(')')?];
    let word = name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_');
    (word && !name.is_empty() && name.len() <= NAME_BYTES_MAX).then_some(name)
}

/// `CANNOT_PARSE_TEXT` of `... (CANNOT_PARSE_TEXT) (version 26.7.2.1)`.
fn exception_name(text: &str) -> Option<&str> {
    let text = text.trim_end();
    let text = text.rfind(" (version ").map_or(text, |end| &text[..end]);
    let (_, name) = text.strip_suffix(')')?.rsplit_once('(')?;
    let constant = |byte: u8| byte.is_ascii_uppercase() || byte.is_ascii_digit() || byte == b'_';
    (!name.is_empty() && name.len() < 80 && name.bytes().all(constant)).then_some(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn explained(text: &str) -> SinkError {
        let settings = ClickHouseSettings::new().user("writer").password("hunter2");
        let about = TableName::new("db", "event_log");
        Explain { operation: "insert", about: Some(&about), settings: &settings, address: "ch:8123" }
            .error(Error::BadResponse(text.to_owned()), Duration::from_secs(60))
    }

    /// Texts of a 26.7 server, with what a client sent marked as SECRET.
    const QUOTING: &[(&str, &str)] = &[
        (
            "Code: 27. DB::Exception: Cannot parse input: expected ',' before: 'SECRET2}': (at row 1)\n: While executing \
             ParallelParsingBlockInputFormat. (CANNOT_PARSE_INPUT_ASSERTION_FAILED) (version 26.7.2.1)",
            "insert: CANNOT_PARSE_INPUT_ASSERTION_FAILED at row 1 (code 27)",
        ),
        (
            "Code: 6. DB::Exception: Cannot parse string 'SECRET1' as UInt8: syntax error at begin of string. Note: there \
             are toUInt8OrZero and toUInt8OrNull functions: while executing 'FUNCTION toUInt8(..) UInt8 : 0': while \
             pushing to view chexp.mvthrow. (CANNOT_PARSE_TEXT) (version 26.7.2.1)",
            "insert: CANNOT_PARSE_TEXT in the materialized view chexp.mvthrow (code 6)",
        ),
        (
            "Code: 376. DB::Exception: Cannot parse UUID from String: SECRET: (while reading the value of key event_id): \
             (at row 12)\n: While executing X. (CANNOT_PARSE_UUID) (version 26.7.2.1)",
            "insert: CANNOT_PARSE_UUID at row 12 in column event_id (code 376)",
        ),
        ("Code: 4711. DB::Exception: SECRET. (SOMETHING_NEW)", "insert: SOMETHING_NEW (code 4711)"),
        ("Code: 62. DB::Exception: Syntax error: failed at (1): SECRET", "insert: the server refuses (code 62)"),
        ("<html>SECRET</html>", "insert: the answer is not ClickHouse's (19 bytes): is there a proxy in between?"),
        ("503 Service Unavailable", "insert: the answer is not ClickHouse's: 503 Service Unavailable"),
        (
            "Code: 117. DB::Exception: Type of 'metadata_version' must be Int32, not Int64: (while reading header): While \
             executing BinaryRowInputFormat. (INCORRECT_DATA) (version 26.7.2.1)",
            "insert: Type of 'metadata_version' must be Int32, not Int64: (while reading header); the types of \
             `db`.`event_log` have changed since the statement was made (code 117)",
        ),
    ];

    #[test]
    fn rows_are_never_quoted() {
        for (text, expected) in QUOTING {
            let error = explained(text);
            assert_eq!(error.to_string(), *expected);
            assert!(!format!("{error:?}").contains("SECRET"));
        }
    }

    #[test]
    fn messages_say_what_to_do() {
        let missing =
            explained("Code: 60. DB::Exception: Table db.event_log does not exist. (UNKNOWN_TABLE) (version 1)");
        assert!(
            missing.to_string().contains("Table db.event_log does not exist; create `db`.`event_log`"),
            "{missing}"
        );
        assert!(missing.to_string().contains("OUTBOX_CLICKHOUSE_CREATE_TABLE=true"), "{missing}");
        let login = explained("Code: 516. DB::Exception: writer: Authentication failed. (AUTHENTICATION_FAILED)");
        assert!(login.to_string().contains("CLICKHOUSE_USER and CLICKHOUSE_PASSWORD"), "{login}");
        assert!(!format!("{login} {login:?}").contains("hunter2"));
        let database = explained("Code: 81. DB::Exception: Database db does not exist. (UNKNOWN_DATABASE)");
        assert!(database.to_string().contains("CREATE DATABASE `db`"), "{database}");
        assert_eq!(database.kind(), SinkErrorKind::Stop);
    }
}
