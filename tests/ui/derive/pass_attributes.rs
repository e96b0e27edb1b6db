//! Attributes of others, raw names, visibility, lints: none of them disturbs, and nothing warns.
#![deny(warnings)]
#![allow(dead_code)]

/// Documented.
#[derive(Debug, Clone, outbox::EventLog, serde::Deserialize)]
#[event_log(name = "raw")]
#[event_log(version = 2)]
#[non_exhaustive]
#[must_use]
pub struct r#Type {
    /// Documented, too.
    #[serde(default, alias = "kind")]
    pub r#type: String,
    #[cfg(not(any()))]
    pub(crate) r#fn: u8,
    #[deprecated = "use `type`"]
    old: Option<u8>,
    #[event_log(sensitive)]
    password: String,
}

#[derive(outbox::EventLog)]
#[deprecated]
enum Old {
    #[deprecated]
    One { _a: u8 },
}

mod nested {
    mod outbox {}
    #[derive(::outbox::EventLog)]
    struct Result {
        option: Option<String>,
        payload: u8,
        field_0: u8,
        #[event_log(skip)]
        self_: (),
    }
}

fn main() {}
