//! Attributes -> options, as they were given.

use proc_macro2::{Ident, TokenStream};
use syn::{Attribute, Data, DeriveInput, Field, Fields, LitInt, LitStr, Meta, Path};

use super::serde::{self, Serde};
use crate::faults::Faults;
use crate::options::{self, Opt};

/// Everything that the item's attributes say, in the order of its variants and fields.
pub(super) struct Given {
    pub(super) container: Named,
    /// One per variant; for a struct, one without options of its own.
    pub(super) cases: Vec<Case>,
}

pub(super) struct Case {
    pub(super) options: Named,
    pub(super) fields: Vec<FieldOptions>,
}

/// What an event type can be given: on the container, and again on a variant.
#[derive(Default)]
pub(super) struct Named {
    pub(super) name: Option<LitStr>,
    pub(super) version: Option<LitInt>,
    pub(super) table: Option<LitStr>,
    pub(super) rename_all: Option<LitStr>,
    pub(super) krate: Option<Path>,
    pub(super) serde: Serde,
}

#[derive(Default)]
pub(super) struct FieldOptions {
    pub(super) key: Option<Ident>,
    pub(super) timestamp: Option<Ident>,
    pub(super) rename: Option<LitStr>,
    pub(super) skip: Option<Ident>,
    pub(super) flatten: Option<Ident>,
    pub(super) with: Option<Path>,
    pub(super) serde: Serde,
}

const CONTAINER: &[&str] = &["name", "version", "table", "rename_all", "crate"];
const VARIANT: &[&str] = &["name", "version", "table", "rename_all"];
const FIELD: &[&str] = &["key", "timestamp", "rename", "skip", "flatten", "with"];

pub(super) fn parse(input: &DeriveInput, faults: &mut Faults) -> Given {
    let container = named(&input.attrs, CONTAINER, faults);
    let cases = match &input.data {
        Data::Struct(data) => vec![Case { options: Named::default(), fields: fields(&data.fields, faults) }],
        Data::Enum(data) => data
            .variants
            .iter()
            .map(|variant| Case {
                options: named(&variant.attrs, VARIANT, faults),
                fields: fields(&variant.fields, faults),
            })
            .collect(),
        Data::Union(data) => {
            faults.at(data.union_token, "a union cannot be an event: which of its fields is set is not known");
            Vec::new()
        }
    };
    Given { container, cases }
}

fn named(attrs: &[Attribute], known: &[&str], faults: &mut Faults) -> Named {
    let mut named = Named { serde: serde::read(attrs), ..Named::default() };
    for option in own(attrs, known, faults) {
        match option.name.to_string().as_str() {
            "name" => named.name = option.text(faults),
            "version" => named.version = option.number(faults),
            "table" => named.table = option.text(faults),
            "rename_all" => named.rename_all = option.text(faults),
            _ => named.krate = option.path(faults),
        }
    }
    named
}

fn fields(fields: &Fields, faults: &mut Faults) -> Vec<FieldOptions> {
    fields.iter().map(|each| field(each, faults)).collect()
}

fn field(field: &Field, faults: &mut Faults) -> FieldOptions {
    let mut given = FieldOptions { serde: serde::read(&field.attrs), ..FieldOptions::default() };
    for option in own(&field.attrs, FIELD, faults) {
        match option.name.to_string().as_str() {
            "key" => given.key = option.flag(faults),
            "timestamp" => given.timestamp = option.flag(faults),
            "rename" => given.rename = option.text(faults),
            "skip" => given.skip = option.flag(faults),
            "flatten" => given.flatten = option.flag(faults),
            _ => given.with = option.path(faults),
        }
    }
    given
}

/// The options of all `#[event_log(..)]` here.
fn own(attrs: &[Attribute], known: &[&str], faults: &mut Faults) -> Vec<Opt> {
    let mut tokens = TokenStream::new();
    for attr in attrs.iter().filter(|attr| attr.path().is_ident("event_log")) {
        match &attr.meta {
            Meta::List(list) => {
                if !tokens.is_empty() {
                    tokens.extend(quote::quote!(,));
                }
                tokens.extend(list.tokens.clone());
            }
            other => faults.at(other, format_args!("expected `#[event_log(..)]` with {}", options::one_of(known))),
        }
    }
    options::read(tokens, known, faults)
}
