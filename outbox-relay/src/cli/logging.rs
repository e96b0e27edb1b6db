//! Structured logs on standard error.

use std::io::IsTerminal;

use outbox_core::{VarError, Vars};
use tracing_subscriber::EnvFilter;

/// At debug the ClickHouse client logs the server's error texts, which quote rows, and the PostgreSQL driver what is bound to a
/// statement, which may be a payload.
const QUIET: [&str; 2] = ["clickhouse=info", "tokio_postgres=info"];

/// Starts logging: `OUTBOX_LOG` filters (`info` unless set), `OUTBOX_LOG_FORMAT` is `text` or `json`.
pub(super) fn start(vars: &Vars) -> Result<(), VarError> {
    let mut filter = EnvFilter::try_new(vars.text("OUTBOX_LOG").unwrap_or("info"))
        .map_err(|error| VarError::new("OUTBOX_LOG", error.to_string()))?;
    for quiet in QUIET {
        filter = filter.add_directive(quiet.parse().map_err(|_| VarError::new("OUTBOX_LOG", "is no filter"))?);
    }
    let logs = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .with_ansi(std::io::stderr().is_terminal());
    match vars.text("OUTBOX_LOG_FORMAT").unwrap_or("text") {
        "text" => logs.init(),
        "json" => logs.json().flatten_event(true).init(),
        _ => return Err(VarError::new("OUTBOX_LOG_FORMAT", "needs `text` or `json`")),
    }
    Ok(())
}
