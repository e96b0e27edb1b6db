//! What the options say about the transaction, checked against each other -> `TxOptions`.

use proc_macro2::TokenStream;
use quote::{quote, quote_spanned};
use syn::LitInt;

use super::duration::duration;
use super::parse::{self, Options};
use crate::faults::Faults;
use crate::paths::Paths;

/// As `outbox_diesel::RETRIES_MAX`, which is where it is explained.
const RETRIES_MAX: u32 = 100;

/// An expression of the transaction's options.
pub(super) fn settings(options: &Options, paths: &Paths, faults: &mut Faults) -> TokenStream {
    let mut calls = TokenStream::new();
    if let Some(text) = &options.isolation {
        let isolation = match text.value().as_str() {
            parse::READ_COMMITTED => quote!(ReadCommitted),
            parse::REPEATABLE_READ => quote!(RepeatableRead),
            _ => quote!(Serializable),
        };
        calls.extend(quote!(.isolation(#paths::Isolation::#isolation)));
    }
    if options.read_only.is_some() {
        calls.extend(quote!(.read_only()));
    }
    if options.deferrable.is_some() {
        calls.extend(quote!(.deferrable()));
    }
    if let Some(retries) = options.retries.as_ref().and_then(|number| retries(number, faults)) {
        calls.extend(quote!(.retries(#retries)));
    }
    if let Some(delay) = options.retry_delay.as_ref().and_then(|value| duration(value, paths, faults)) {
        calls.extend(quote!(.retry_delay(#delay)));
    }
    if let Some(text) = &options.nested {
        let nested = match text.value().as_str() {
            parse::JOIN => quote!(Join),
            parse::FORBID => quote!(Forbid),
            parse::REQUIRE => quote!(Require),
            _ => quote!(Savepoint),
        };
        calls.extend(quote!(.nested(#paths::Nested::#nested)));
    }
    if let Some(check) = &options.commit_check {
        calls.extend(quote_spanned!(check.span=> .commit_check(#check)));
    }
    relations(options, faults);
    quote!(#paths::TxOptions::new() #calls)
}

fn retries(number: &LitInt, faults: &mut Faults) -> Option<u32> {
    match number.base10_parse::<u32>() {
        Ok(retries @ 1..=RETRIES_MAX) => Some(retries),
        Ok(0) => {
            faults.at(number, "no retries are the default: leave `retries` out");
            None
        }
        _ => {
            faults.at(
                number,
                format_args!(
                    "`retries` is at most {RETRIES_MAX}: a transaction that always conflicts does not get through by more of the same"
                ),
            );
            None
        }
    }
}

/// What cannot be meant.
fn relations(options: &Options, faults: &mut Faults) {
    if let Some(isolation) = &options.isolation
        && options.deferrable.is_some()
        && isolation.value() != parse::SERIALIZABLE
    {
        faults.at(isolation, "a `deferrable` transaction is serializable and read only: leave `isolation` out");
    }
    if let Some(emit) = &options.emit
        && (options.read_only.is_some() || options.deferrable.is_some())
    {
        faults.at(emit, "a read-only transaction cannot write events: leave `emit` or `read_only` out");
    }
    if let Some(delay) = &options.retry_delay
        && options.retries.is_none()
    {
        faults.at(delay, "nothing is repeated: `retry_delay` needs `retries = 3`, say");
    }
    if let Some(nested) = &options.nested
        && nested.value() == parse::REQUIRE
    {
        let own = [
            options.retries.as_ref().map(|_| "retries"),
            options.isolation.as_ref().map(|_| "isolation"),
            options.read_only.as_ref().map(|_| "read_only"),
            options.deferrable.as_ref().map(|_| "deferrable"),
        ];
        for option in own.into_iter().flatten() {
            faults.at(
                nested,
                format_args!(
                    "`nested = \"require\"` is never the outermost transaction, and only that one can have `{option}`: leave one of them out"
                ),
            );
        }
    }
}
