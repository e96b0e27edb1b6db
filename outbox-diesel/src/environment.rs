//! The environment that every event of this process is stored with: `production`, `staging`.

use std::sync::OnceLock;

use outbox_core::NAME_BYTES_MAX;

use crate::EnvironmentError;

/// Where nothing is said.
const DEFAULT: &str = "development";
const VARIABLE: &str = "OUTBOX_ENVIRONMENT";

static ENVIRONMENT: OnceLock<String> = OnceLock::new();

/// Names the environment of this process, before its first event. Without this call it is the variable
/// `OUTBOX_ENVIRONMENT`, read once, or else `development`.
///
/// # Errors
/// [`EnvironmentError`] when the name is empty, longer than 255 bytes or holds U+0000, or when another name is in use already.
///
/// # Examples
/// ```
/// outbox_diesel::set_environment("staging")?;
/// assert_eq!(outbox_diesel::environment(), "staging");
/// assert!(outbox_diesel::set_environment("production").is_err(), "events were stored under the other name");
/// # Ok::<(), outbox_diesel::EnvironmentError>(())
/// ```
pub fn set_environment(name: &str) -> Result<(), EnvironmentError> {
    if name.is_empty() || name.len() > NAME_BYTES_MAX || name.contains('\0') {
        return Err(EnvironmentError::bad_name(NAME_BYTES_MAX));
    }
    match ENVIRONMENT.get_or_init(|| name.to_owned()) {
        used if used == name => Ok(()),
        used => Err(EnvironmentError::in_use(used)),
    }
}

/// The environment of this process. The first call settles it.
#[must_use]
pub fn environment() -> &'static str {
    ENVIRONMENT.get_or_init(|| {
        let name = std::env::var(VARIABLE).unwrap_or_default();
        if name.is_empty() { DEFAULT.to_owned() } else { name }
    })
}
