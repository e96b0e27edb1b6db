//! Why a command failed, and with which exit code.

use std::process::ExitStatus;
use std::{fmt, io};

use crate::local;

pub(crate) type Result<T> = std::result::Result<T, Error>;

#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    #[error("{what}: {source}")]
    Io { what: String, source: io::Error },
    #[error(transparent)]
    Server(#[from] local::Error),
    #[error("`{command}` failed ({status})")]
    Command { command: String, status: ExitStatus },
    #[error("something is missing:\n{0}")]
    Missing(MissingList),
    #[error("{variable}: {problem}")]
    Setting { variable: &'static str, problem: String },
    #[error("{file} does not match its pinned hash: it is not what was published; try `cargo xtask fetch` again")]
    Hash { file: String },
    #[error("failed: {}", .0.join(", "))]
    Checks(Vec<&'static str>),
    #[error("the relay ended by itself ({status}); its log ends with:\n{log}")]
    RelayEnded { status: ExitStatus, log: String },
    #[error("nothing moved for {seconds} s with {pending} events undelivered; the relay's log ends with:\n{log}")]
    Stuck { seconds: u64, pending: u64, log: String },
    #[error("`outbox status --json` said something unexpected: {0}")]
    Status(String),
    #[error("interrupted")]
    Interrupted,
}

impl Error {
    pub(crate) fn io(what: impl Into<String>) -> impl FnOnce(io::Error) -> Self {
        let what = what.into();
        move |source| Self::Io { what, source }
    }

    /// A child's own code is passed on; 3 is "something is missing"; 130 is what shells give for ^C.
    pub(crate) fn exit_code(&self) -> u8 {
        match self {
            Self::Missing(_) => 3,
            Self::Interrupted => 130,
            Self::Command { status, .. } => status.code().and_then(|code| u8::try_from(code).ok()).unwrap_or(1),
            _ => 1,
        }
    }
}

/// A thing that this machine lacks.
#[derive(Clone, Debug)]
pub(crate) struct Missing {
    /// One line: what, and every way to mend it.
    pub(crate) line: String,
    /// The Debian package that has it.
    pub(crate) package: Option<&'static str>,
}

/// One line each.
#[derive(Debug)]
pub(crate) struct MissingList(pub(crate) Vec<Missing>);

impl fmt::Display for MissingList {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let lines: Vec<String> = self.0.iter().map(|missing| format!("- {}", missing.line)).collect();
        f.write_str(&lines.join("\n"))
    }
}
