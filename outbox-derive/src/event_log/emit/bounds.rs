//! Bounds on the types of fields rather than on parameters: a skipped field or a `PhantomData` needs none.

use proc_macro2::{TokenStream, TokenTree};
use quote::{ToTokens, quote};
use syn::{Generics, Type, WherePredicate, parse_quote_spanned};

use super::super::check::{Content, EventCase, Layout, PayloadField, Value};
use super::values::optional;
use crate::paths::Paths;

/// Collects them, for types that mention a parameter.
struct Bounds {
    parameters: Vec<String>,
    predicates: Vec<WherePredicate>,
}

impl Bounds {
    fn new(generics: &Generics) -> Self {
        let parameters = generics.type_params().map(|parameter| parameter.ident.to_string()).collect();
        Self { parameters, predicates: Vec::new() }
    }

    fn add(&mut self, ty: &Type, on: TokenStream) {
        if mentions(ty.to_token_stream(), &self.parameters) {
            let span = syn::spanned::Spanned::span(ty);
            self.predicates.push(parse_quote_spanned!(span=> #ty: #on));
        }
    }
}

/// What `EventLog` needs.
pub(super) fn of_log(generics: &Generics, events: &[EventCase<'_>], paths: &Paths) -> Vec<WherePredicate> {
    let mut bounds = Bounds::new(generics);
    for event in events {
        match &event.content {
            Content::Inner(inner) => bounds.add(&inner.ty, quote!(#paths::EventLog)),
            Content::Fields(fields) => {
                for field in fields.iter().filter(|field| matches!(field.value, Value::Plain)) {
                    bounds.add(&field.field.ty, quote!(#paths::Serialize));
                }
            }
        }
        if let Some(key) = event.key.as_ref().filter(|key| key.with.is_none()) {
            let ty = &key.field.ty;
            bounds.add(optional(ty).unwrap_or(ty), quote!(#paths::EventKey));
        }
        if let Some(time) = event.timestamp {
            bounds.add(&time.ty, quote!(#paths::EventTime));
        }
    }
    bounds.predicates
}

/// What `EventSchema` needs.
pub(super) fn of_schema(generics: &Generics, events: &[EventCase<'_>], paths: &Paths) -> Vec<WherePredicate> {
    let mut bounds = Bounds::new(generics);
    for event in events.iter().filter(|event| event.layout == Layout::Columns) {
        match &event.content {
            Content::Inner(inner) => bounds.add(&inner.ty, quote!(#paths::EventSchema)),
            Content::Fields(fields) => columns(&mut bounds, fields, paths),
        }
    }
    bounds.predicates
}

/// What `EventColumns` needs.
pub(in super::super) fn of_columns(
    generics: &Generics,
    fields: &[PayloadField<'_>],
    paths: &Paths,
) -> Vec<WherePredicate> {
    let mut bounds = Bounds::new(generics);
    columns(&mut bounds, fields, paths);
    bounds.predicates
}

fn columns(bounds: &mut Bounds, fields: &[PayloadField<'_>], paths: &Paths) {
    for field in fields.iter().filter(|field| matches!(field.value, Value::Plain)) {
        if field.flatten {
            bounds.add(&field.field.ty, quote!(#paths::EventColumns));
        } else if field.column.ty.is_none() {
            bounds.add(&field.field.ty, quote!(#paths::ClickHouseType));
        }
    }
}

fn mentions(tokens: TokenStream, parameters: &[String]) -> bool {
    tokens.into_iter().any(|token| match token {
        TokenTree::Ident(ident) => parameters.iter().any(|parameter| ident == parameter),
        TokenTree::Group(group) => mentions(group.stream(), parameters),
        _ => false,
    })
}
