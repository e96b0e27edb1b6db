//! What was checked -> `impl EventLog` and `impl EventSchema`.

pub(super) mod bounds;
pub(super) mod schema;
mod values;

use proc_macro2::{Ident, Span, TokenStream};
use quote::{ToTokens, quote};
use syn::{DeriveInput, Field, Generics, WherePredicate};

use super::check::{EventCase, place};
use crate::paths::Paths;

pub(super) fn emit(input: &DeriveInput, events: &[EventCase<'_>], paths: &Paths) -> TokenStream {
    let names = arms(events, |event| (Vec::new(), event.name.to_token_stream()));
    let versions = arms(events, |event| (Vec::new(), event.version.to_token_stream()));
    let tables = arms(events, |event| (Vec::new(), event.table.to_token_stream()));
    let keys = arms(events, |event| values::key(event, paths));
    let times = arms(events, |event| values::time(event, paths));
    let payloads = arms(events, |event| values::payload(event, paths));
    let types = events.iter().map(|event| schema::event_type(event, paths));

    let (ident, generics) = (&input.ident, &input.generics);
    let log_generics = bounded(generics, bounds::of_log(generics, events, paths));
    let schema_generics = bounded(generics, bounds::of_schema(generics, events, paths));
    let (impl_generics, type_generics, log_where) = log_generics.split_for_impl();
    let (_, _, schema_where) = schema_generics.split_for_impl();
    quote! {
        #[automatically_derived]
        #[allow(deprecated)]
        impl #impl_generics #paths::EventLog for #ident #type_generics #log_where {
            fn event_type(&self) -> &str { match self { #names } }
            fn version(&self) -> i32 { match self { #versions } }
            fn table(&self) -> &str { match self { #tables } }
            fn key(&self) -> ::core::option::Option<#paths::String> { match self { #keys } }
            fn occurred_at(&self) -> ::core::option::Option<#paths::DateTime<#paths::Utc>> { match self { #times } }
            fn payload(&self) -> ::core::result::Result<#paths::String, #paths::EncodeError> { match self { #payloads } }
        }
        #[automatically_derived]
        #[allow(deprecated)]
        impl #impl_generics #paths::EventSchema for #ident #type_generics #schema_where {
            const EVENT_TYPES: &'static [#paths::EventType] = &[#(#types),*];
        }
    }
}

/// `impl`s that never run, for an item with faults.
pub(super) fn stub(input: &DeriveInput, paths: &Paths) -> TokenStream {
    let ident = &input.ident;
    let (impl_generics, type_generics, where_clause) = input.generics.split_for_impl();
    quote! {
        #[automatically_derived]
        impl #impl_generics #paths::EventLog for #ident #type_generics #where_clause {
            fn event_type(&self) -> &str { "" }
            fn payload(&self) -> ::core::result::Result<#paths::String, #paths::EncodeError> { ::core::unreachable!() }
        }
        #[automatically_derived]
        impl #impl_generics #paths::EventSchema for #ident #type_generics #where_clause {
            const EVENT_TYPES: &'static [#paths::EventType] = &[];
        }
    }
}

pub(super) fn bounded(generics: &Generics, bounds: Vec<WherePredicate>) -> Generics {
    let mut generics = generics.clone();
    generics.make_where_clause().predicates.extend(bounds);
    generics
}

/// One arm per event type: which fields it needs, and its value.
fn arms<'e>(
    events: &'e [EventCase<'e>],
    arm: impl Fn(&'e EventCase<'e>) -> (Vec<&'e Field>, TokenStream),
) -> TokenStream {
    let arms = events.iter().map(|event| {
        let (used, value) = arm(event);
        let variant = event.variant.map(|variant| quote!(::#variant));
        let bindings =
            event.fields.iter().enumerate().filter(|(_, field)| used.iter().any(|used| same(used, field))).map(
                |(index, field)| {
                    let member = field
                        .ident
                        .as_ref()
                        .map_or_else(|| syn::Index::from(index).into_token_stream(), ToTokens::to_token_stream);
                    let binding = binding(event, field);
                    quote!(#member: #binding)
                },
            );
        quote!(Self #variant { #(#bindings,)* .. } => #value,)
    });
    arms.collect()
}

/// The name that a field has in an arm. It sits at the field's type, so that errors about the value show there.
fn binding(event: &EventCase<'_>, field: &Field) -> Ident {
    let index = event.fields.iter().position(|other| same(other, field)).unwrap_or_default();
    Ident::new(&format!("field_{index}"), Span::mixed_site().located_at(place(field)))
}

fn same(a: &Field, b: &Field) -> bool {
    std::ptr::eq(a, b)
}
