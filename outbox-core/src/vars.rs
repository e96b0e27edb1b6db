//! Reading settings by name, each from its own variable, with errors that name it.

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;

/// Named settings, usually the process environment. `Debug` shows names only.
///
/// # Examples
/// ```
/// use outbox_core::Vars;
///
/// let vars = Vars::new([("OUTBOX_BATCH_ROWS", "250")]);
/// assert_eq!(vars.parse::<u32>("OUTBOX_BATCH_ROWS").unwrap(), Some(250));
/// assert_eq!(vars.parse::<u32>("OUTBOX_BATCH_ROWS_MAX").unwrap(), None);
/// let wrong = Vars::new([("OUTBOX_BATCH_ROWS", "many")]).parse::<u32>("OUTBOX_BATCH_ROWS").unwrap_err();
/// assert!(wrong.to_string().starts_with("OUTBOX_BATCH_ROWS: "));
/// ```
#[derive(Clone, Default)]
pub struct Vars(BTreeMap<String, String>);

impl Vars {
    /// The given settings.
    pub fn new<K: Into<String>, V: Into<String>>(vars: impl IntoIterator<Item = (K, V)>) -> Self {
        Self(vars.into_iter().map(|(name, value)| (name.into(), value.into())).collect())
    }

    /// The environment of this process. Variables that are not Unicode are left out.
    #[must_use]
    pub fn from_process() -> Self {
        Self::new(
            std::env::vars_os().filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?))),
        )
    }

    /// The value, where it is set and not empty.
    #[must_use]
    pub fn text(&self, name: &str) -> Option<&str> {
        self.0.get(name).map(String::as_str).filter(|value| !value.is_empty())
    }

    /// The value as a `T`.
    ///
    /// # Errors
    /// [`VarError`] that names the variable when the value is not one. The value itself is not shown.
    pub fn parse<T: FromStr<Err: fmt::Display>>(&self, name: &'static str) -> Result<Option<T>, VarError> {
        let parse = |value: &str| value.trim().parse().map_err(|e: T::Err| VarError::new(name, e.to_string()));
        self.text(name).map(parse).transpose()
    }

    /// The names that begin with `prefix`, in alphabetical order.
    pub fn names<'a>(&'a self, prefix: &'a str) -> impl Iterator<Item = &'a str> {
        self.0.keys().map(String::as_str).filter(move |name| name.starts_with(prefix))
    }
}

impl fmt::Debug for Vars {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.0.keys()).finish()
    }
}

/// A setting is missing or wrong. Names the variable; never shows its value.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{name}: {message}")]
pub struct VarError {
    name: String,
    message: String,
}

impl VarError {
    /// An error about the variable `name`.
    pub fn new(name: impl Into<String>, message: impl Into<String>) -> Self {
        Self { name: name.into(), message: message.into() }
    }

    /// The variable's name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_empty_value_counts_as_unset() {
        let vars = Vars::new([("A", "")]);
        assert_eq!(vars.text("A"), None);
        assert_eq!(vars.parse::<u16>("A"), Ok(None));
    }

    #[test]
    fn values_never_show() {
        let vars = Vars::new([("CLICKHOUSE_PASSWORD", "hunter2")]);
        assert_eq!(format!("{vars:?}"), r#"{"CLICKHOUSE_PASSWORD"}"#);
        let error = vars.parse::<u16>("CLICKHOUSE_PASSWORD").expect_err("not a number");
        assert!(!error.to_string().contains("hunter2"));
    }
}
