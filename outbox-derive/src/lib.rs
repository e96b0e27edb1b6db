//! The macros of outbox. They are documented where they are re-exported, in the crate `outbox`.
//!
//! Each is `parse -> check -> emit`. Faults are collected and shown at once, and the user's item is always emitted
//! beside them, so that one mistake gives one message. This crate depends on no other of the workspace: it only spells
//! paths, in `paths.rs`.

mod case;
mod event_log;
mod faults;
mod options;
mod paths;
mod transactional;

use proc_macro::TokenStream;

#[allow(missing_docs, reason = "documented at the re-export, where the examples compile")]
#[proc_macro_derive(EventLog, attributes(event_log))]
pub fn derive_event_log(item: TokenStream) -> TokenStream {
    event_log::expand(item.into()).into()
}

#[allow(missing_docs, reason = "documented at the re-export, where the examples compile")]
#[proc_macro_derive(EventColumns, attributes(event_log))]
pub fn derive_event_columns(item: TokenStream) -> TokenStream {
    event_log::members::expand(item.into()).into()
}

#[allow(missing_docs, reason = "documented at the re-export, where the examples compile")]
#[proc_macro_attribute]
pub fn transactional_event(options: TokenStream, item: TokenStream) -> TokenStream {
    transactional::expand(options.into(), item.into()).into()
}
