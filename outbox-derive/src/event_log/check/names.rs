//! Names, versions and rules.

use proc_macro2::Ident;
use syn::ext::IdentExt;
use syn::{LitInt, LitStr};

use super::super::parse::Named;
use crate::case::{Rule, snake_case};
use crate::faults::{Faults, did_you_mean};
use crate::options::one_of;

/// The longest name that every store can hold, as in `outbox-core`.
const NAME_BYTES_MAX: usize = 255;

/// `enum_name.variant_name`
pub(super) fn variant_name(prefix: &str, variant: &Ident, options: &Named, faults: &mut Faults) -> String {
    name(options.name.as_ref(), faults).unwrap_or_else(|| match &options.serde.rename {
        Some(renamed) => format!("{prefix}.{}", renamed.value()),
        None => format!("{prefix}.{}", snake_case(&variant.unraw().to_string())),
    })
}

pub(super) fn name(given: Option<&LitStr>, faults: &mut Faults) -> Option<String> {
    let text = given?.value();
    if text.is_empty() || text.len() > NAME_BYTES_MAX || text.contains('\0') {
        let limits = format_args!("a name has 1 to {NAME_BYTES_MAX} bytes and holds no U+0000").to_string();
        faults.at(given, limits);
    }
    Some(text)
}

pub(super) fn version(given: Option<&LitInt>, faults: &mut Faults) -> Option<i32> {
    let version = given?.base10_parse::<i32>().ok().filter(|version| *version >= 1);
    if version.is_none() {
        faults.at(given, "a version is a number from 1 to 2147483647");
    }
    version
}

pub(super) fn rule(given: Option<&LitStr>, faults: &mut Faults) -> Option<Rule> {
    let rule = known_rule(given?);
    if let (None, Some(given)) = (rule, given) {
        unknown("rule", given, &Rule::NAMES, faults);
    }
    rule
}

pub(super) fn known_rule(given: &LitStr) -> Option<Rule> {
    Rule::parse(&given.value())
}

/// Says what a text could be instead.
pub(super) fn unknown(what: &str, given: &LitStr, known: &[&str], faults: &mut Faults) {
    let hint = match did_you_mean(&given.value(), known) {
        Some(meant) => format!("did you mean `{meant}`?"),
        None => format!("expected {}", one_of(known)),
    };
    faults.at(given, format_args!("unknown {what} `{}`: {hint}", given.value()));
}
