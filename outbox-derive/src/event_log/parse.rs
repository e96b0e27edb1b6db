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
    pub(super) upcast: Option<Path>,
    pub(super) layout: Option<LitStr>,
    pub(super) ddl: Option<Ddl>,
    pub(super) rename_all: Option<LitStr>,
    pub(super) krate: Option<Path>,
    pub(super) serde: Serde,
}

/// `ddl(..)`: what the table is made from.
pub(super) struct Ddl {
    pub(super) place: Ident,
    pub(super) engine: Option<LitStr>,
    pub(super) order_by: Option<LitStr>,
    pub(super) partition_by: Option<LitStr>,
    pub(super) ttl: Option<LitStr>,
}

/// `ch(..)`: the column of a field.
pub(super) struct Ch {
    pub(super) place: Ident,
    pub(super) ty: Option<LitStr>,
    pub(super) codec: Option<LitStr>,
    pub(super) default: Option<LitStr>,
    pub(super) comment: Option<LitStr>,
}

#[derive(Default)]
pub(super) struct FieldOptions {
    pub(super) key: Option<Ident>,
    pub(super) timestamp: Option<Ident>,
    pub(super) rename: Option<LitStr>,
    pub(super) skip: Option<Ident>,
    pub(super) flatten: Option<Ident>,
    pub(super) with: Option<Path>,
    pub(super) sensitive: Option<Ident>,
    pub(super) ch: Option<Ch>,
    pub(super) serde: Serde,
}

impl FieldOptions {
    /// Whether nothing is said about it: the only field of a tuple then stands for the whole event.
    pub(super) fn is_plain(&self) -> bool {
        let Self { key, timestamp, rename, skip, flatten, with, sensitive, ch, serde } = self;
        let serde_plain = serde.rename.is_none() && !serde.skip && !serde.flatten && serde.foreign.is_none();
        let own_plain = rename.is_none() && skip.is_none() && flatten.is_none() && with.is_none();
        let marks = [key, timestamp, sensitive].into_iter().flatten().next();
        marks.is_none() && ch.is_none() && own_plain && serde_plain
    }
}

const CONTAINER: &[&str] = &["name", "version", "upcast", "table", "layout", "ddl", "rename_all", "crate"];
const VARIANT: &[&str] = &["name", "version", "upcast", "table", "layout", "ddl", "rename_all"];
const FIELD: &[&str] = &["key", "timestamp", "rename", "skip", "flatten", "with", "sensitive", "ch"];
const DDL: &[&str] = &["engine", "order_by", "partition_by", "ttl"];
const CH: &[&str] = &["type", "codec", "default", "comment"];

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

/// What a struct for `EventColumns` says of itself.
pub(super) fn members(input: &DeriveInput, faults: &mut Faults) -> Named {
    named(&input.attrs, &["crate"], faults)
}

/// What one of its fields says.
pub(super) fn member(each: &Field, faults: &mut Faults) -> FieldOptions {
    field(each, &["ch"], faults)
}

fn named(attrs: &[Attribute], known: &[&str], faults: &mut Faults) -> Named {
    let mut named = Named { serde: serde::read(attrs), ..Named::default() };
    for option in own(attrs, known, faults) {
        match option.name.to_string().as_str() {
            "name" => named.name = option.text(faults),
            "version" => named.version = option.number(faults),
            "upcast" => named.upcast = option.path(faults),
            "table" => named.table = option.text(faults),
            "layout" => named.layout = option.text(faults),
            "ddl" => named.ddl = ddl(option, faults),
            "rename_all" => named.rename_all = option.text(faults),
            _ => named.krate = option.path(faults),
        }
    }
    named
}

fn ddl(option: Opt, faults: &mut Faults) -> Option<Ddl> {
    let mut ddl = Ddl { place: option.name.clone(), engine: None, order_by: None, partition_by: None, ttl: None };
    for option in option.list(DDL, faults)? {
        let text = option.text(faults);
        match option.name.to_string().as_str() {
            "engine" => ddl.engine = text,
            "order_by" => ddl.order_by = text,
            "partition_by" => ddl.partition_by = text,
            _ => ddl.ttl = text,
        }
    }
    Some(ddl)
}

fn ch(option: Opt, faults: &mut Faults) -> Option<Ch> {
    let mut ch = Ch { place: option.name.clone(), ty: None, codec: None, default: None, comment: None };
    for option in option.list(CH, faults)? {
        let text = option.text(faults);
        match option.name.to_string().as_str() {
            "type" => ch.ty = text,
            "codec" => ch.codec = text,
            "default" => ch.default = text,
            _ => ch.comment = text,
        }
    }
    Some(ch)
}

fn fields(fields: &Fields, faults: &mut Faults) -> Vec<FieldOptions> {
    fields.iter().map(|each| field(each, FIELD, faults)).collect()
}

fn field(field: &Field, known: &[&str], faults: &mut Faults) -> FieldOptions {
    let mut given = FieldOptions { serde: serde::read(&field.attrs), ..FieldOptions::default() };
    for option in own(&field.attrs, known, faults) {
        match option.name.to_string().as_str() {
            "key" => given.key = option.flag(faults),
            "timestamp" => given.timestamp = option.flag(faults),
            "rename" => given.rename = option.text(faults),
            "skip" => given.skip = option.flag(faults),
            "flatten" => given.flatten = option.flag(faults),
            "sensitive" => given.sensitive = option.flag(faults),
            "ch" => given.ch = ch(option, faults),
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
