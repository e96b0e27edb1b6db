//! The settings: the process environment over a `.env` file, with unknown names refused.

use std::path::Path;

use outbox_clickhouse::ClickHouseSettings;
use outbox_core::{VarError, Vars};
use outbox_diesel::Tables;

use crate::RelayOptions;

/// Settings of the command itself.
const OWN: [&str; 7] = [
    "OUTBOX_BEHIND_POOLER",
    "OUTBOX_ENVIRONMENT",
    // Read by services that emit.
    "OUTBOX_HEADER_FIELDS",
    "OUTBOX_LISTEN",
    "OUTBOX_LOG",
    "OUTBOX_LOG_FORMAT",
    "OUTBOX_STOP_GRACE",
];
/// Names under this prefix belong to tests.
const TESTS: &str = "OUTBOX_TEST_";

/// Reads the settings.
///
/// # Errors
/// [`VarError`] when a file that was asked for cannot be read, or a name that begins with `OUTBOX_` is not known.
pub(super) fn load(file: Option<&Path>) -> Result<Vars, VarError> {
    let read = match file {
        Some(path) => dotenvy::from_path(path),
        None => dotenvy::dotenv().map(drop),
    };
    match read {
        Ok(()) => {}
        Err(error) if file.is_none() && error.not_found() => {}
        // The parser quotes the line, which may hold a password: say where, not what.
        Err(dotenvy::Error::LineParse(_, column)) => {
            return Err(VarError::new(name(file), format!("a line cannot be read at its character {column}")));
        }
        Err(error) => return Err(VarError::new(name(file), error.to_string())),
    }
    let vars = Vars::from_process();
    check_names(&vars)?;
    Ok(vars)
}

fn name(file: Option<&Path>) -> String {
    file.map_or_else(|| ".env".to_owned(), |path| path.display().to_string())
}

fn check_names(vars: &Vars) -> Result<(), VarError> {
    let known: Vec<&str> =
        OWN.iter().chain(RelayOptions::VARS).chain(Tables::VARS).chain(ClickHouseSettings::VARS).copied().collect();
    let unknown = vars.names("OUTBOX_").find(|name| !name.starts_with(TESTS) && !known.contains(name));
    match unknown {
        None => Ok(()),
        Some(unknown) => {
            let near = known
                .iter()
                .max_by(|a, b| strsim::jaro_winkler(a, unknown).total_cmp(&strsim::jaro_winkler(b, unknown)));
            let hint = near.map(|near| format!("did you mean {near}?")).unwrap_or_default();
            Err(VarError::new(unknown, format!("is no setting of the outbox; {hint}")))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_unknown_name_is_refused_with_the_nearest_known_one() {
        let refused = check_names(&Vars::new([("OUTBOX_BATCH_ROW", "1")])).expect_err("no such setting");
        assert_eq!(
            refused.to_string(),
            "OUTBOX_BATCH_ROW: is no setting of the outbox; did you mean OUTBOX_BATCH_ROWS?"
        );
    }

    #[test]
    fn known_and_foreign_names_pass() {
        let vars = Vars::new([("OUTBOX_BATCH_ROWS", "1"), ("OUTBOX_TEST_POSTGRES_URL", "x"), ("PATH", "/bin")]);
        assert_eq!(check_names(&vars), Ok(()));
    }
}
