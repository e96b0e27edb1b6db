//! The variables by which `cargo xtask test` tells tests where things are.

use std::path::PathBuf;

/// The value of `name`.
///
/// # Panics
/// With what to do, when it is not set.
pub(crate) fn required(name: &str) -> String {
    match std::env::var(name) {
        Ok(value) if !value.is_empty() => value,
        _ => panic!(
            "{name} is not set: run the tests with `cargo xtask test`, or keep `cargo xtask up` running and set what it prints"
        ),
    }
}

pub(crate) fn required_path(name: &str) -> PathBuf {
    required(name).into()
}

/// Runs blocking work aside, so that the test's other tasks go on meanwhile.
pub(crate) async fn aside<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> T {
    match tokio::task::spawn_blocking(work).await {
        Ok(value) => value,
        Err(e) => std::panic::resume_unwind(e.into_panic()),
    }
}
