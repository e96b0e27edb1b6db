//! What was checked -> `impl EventLog` and `impl EventSchema`.

use proc_macro2::{Ident, Span, TokenStream, TokenTree};
use quote::{ToTokens, quote, quote_spanned};
use syn::{DeriveInput, Field, GenericArgument, Generics, PathArguments, Type, WherePredicate, parse_quote_spanned};

use super::check::{Content, EventCase, PayloadField, place};
use crate::paths::Paths;

pub(super) fn emit(input: &DeriveInput, events: &[EventCase<'_>], paths: &Paths) -> TokenStream {
    let names = arms(events, |event| (Vec::new(), event.name.to_token_stream()));
    let versions = arms(events, |event| (Vec::new(), event.version.to_token_stream()));
    let tables = arms(events, |event| (Vec::new(), event.table.to_token_stream()));
    let keys = arms(events, |event| key(event, paths));
    let times = arms(events, |event| time(event, paths));
    let payloads = arms(events, |event| payload(event, paths));

    let types = events
        .iter()
        .map(|EventCase { name, version, table, .. }| quote!(#paths::EventType::new(#name, #version, #table)));
    let ident = &input.ident;
    let mut bounded = input.generics.clone();
    bounded.make_where_clause().predicates.extend(bounds(&input.generics, events, paths));
    let (impl_generics, type_generics, where_clause) = bounded.split_for_impl();
    let schema_where = &input.generics.where_clause;
    quote! {
        #[automatically_derived]
        impl #impl_generics #paths::EventLog for #ident #type_generics #where_clause {
            fn event_type(&self) -> &str { match self { #names } }
            fn version(&self) -> i32 { match self { #versions } }
            fn table(&self) -> &str { match self { #tables } }
            fn key(&self) -> ::core::option::Option<#paths::String> { match self { #keys } }
            fn occurred_at(&self) -> ::core::option::Option<#paths::DateTime<#paths::Utc>> { match self { #times } }
            fn payload(&self) -> ::core::result::Result<#paths::String, #paths::EncodeError> { match self { #payloads } }
        }
        #[automatically_derived]
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

fn key<'e>(event: &'e EventCase<'e>, paths: &Paths) -> (Vec<&'e Field>, TokenStream) {
    if let Content::Inner(inner) = event.content {
        let binding = binding(event, inner);
        return (vec![inner], quote_spanned!(place(inner)=> #paths::EventLog::key(#binding)));
    }
    let Some(field) = event.key else { return (Vec::new(), quote!(::core::option::Option::None)) };
    let binding = binding(event, field);
    let value = match optional(&field.ty) {
        Some(_) => quote_spanned! {place(field)=>
            ::core::option::Option::map(::core::option::Option::as_ref(#binding), #paths::ToString::to_string)
        },
        None => quote_spanned! {place(field)=>
            ::core::option::Option::Some(#paths::ToString::to_string(#binding))
        },
    };
    (vec![field], value)
}

fn time<'e>(event: &'e EventCase<'e>, paths: &Paths) -> (Vec<&'e Field>, TokenStream) {
    if let Content::Inner(inner) = event.content {
        let binding = binding(event, inner);
        return (vec![inner], quote_spanned!(place(inner)=> #paths::EventLog::occurred_at(#binding)));
    }
    let Some(field) = event.timestamp else { return (Vec::new(), quote!(::core::option::Option::None)) };
    let binding = binding(event, field);
    // `Into` takes both a time and an optional one.
    let value = quote_spanned! {place(field)=>
        ::core::convert::Into::into(::core::clone::Clone::clone(#binding))
    };
    (vec![field], value)
}

fn payload<'e>(event: &'e EventCase<'e>, paths: &Paths) -> (Vec<&'e Field>, TokenStream) {
    let fields = match &event.content {
        Content::Inner(inner) => {
            let binding = binding(event, inner);
            return (vec![*inner], quote_spanned!(place(inner)=> #paths::EventLog::payload(#binding)));
        }
        Content::Fields(fields) => fields,
    };
    let writer = Ident::new("payload", Span::mixed_site());
    let mutable = (!fields.is_empty()).then(|| quote!(mut));
    let writes = fields.iter().map(|field| write(event, field, &writer, paths));
    let value = quote! {{
        let #mutable #writer = #paths::PayloadWriter::new();
        #(#writes)*
        ::core::result::Result::Ok(#paths::PayloadWriter::finish(#writer))
    }};
    (fields.iter().map(|field| field.field).collect(), value)
}

fn write(event: &EventCase<'_>, field: &PayloadField<'_>, writer: &Ident, paths: &Paths) -> TokenStream {
    let PayloadField { field, name, flatten, with, skip_if } = field;
    let (span, binding) = (place(field), binding(event, field));
    let method = Ident::new(if *flatten { "flatten" } else { "field" }, span);
    let value = match with {
        Some(with) => quote_spanned!(span=> &#with(#binding)),
        None => quote_spanned!(span=> #binding),
    };
    let write = quote_spanned!(span=> #paths::PayloadWriter::#method(&mut #writer, #name, #value)?;);
    match skip_if {
        Some(skip_if) => quote_spanned!(span=> if !#skip_if(#binding) { #write }),
        None => write,
    }
}

/// The name that a field has in an arm. It sits at the field's type, so that errors about the value show there.
fn binding(event: &EventCase<'_>, field: &Field) -> Ident {
    let index = event.fields.iter().position(|other| same(other, field)).unwrap_or_default();
    Ident::new(&format!("field_{index}"), Span::mixed_site().located_at(place(field)))
}

fn same(a: &Field, b: &Field) -> bool {
    std::ptr::eq(a, b)
}

/// Bounds on the types of fields rather than on parameters: a skipped field or a `PhantomData` needs none.
fn bounds(generics: &Generics, events: &[EventCase<'_>], paths: &Paths) -> Vec<WherePredicate> {
    let parameters: Vec<String> = generics.type_params().map(|parameter| parameter.ident.to_string()).collect();
    let mut bounds = Vec::new();
    let mut bound = |ty: &Type, on: TokenStream| {
        if mentions(ty.to_token_stream(), &parameters) {
            let span = syn::spanned::Spanned::span(ty);
            bounds.push(parse_quote_spanned!(span=> #ty: #on));
        }
    };
    for event in events {
        match &event.content {
            Content::Inner(inner) => bound(&inner.ty, quote!(#paths::EventLog)),
            Content::Fields(fields) => {
                for field in fields.iter().filter(|field| field.with.is_none()) {
                    bound(&field.field.ty, quote!(#paths::Serialize));
                }
            }
        }
        if let Some(key) = event.key {
            bound(optional(&key.ty).unwrap_or(&key.ty), quote!(::core::fmt::Display));
        }
        if let Some(time) = event.timestamp {
            let time = &time.ty;
            bound(time, quote!(::core::clone::Clone));
            bound(time, quote!(::core::convert::Into<::core::option::Option<#paths::DateTime<#paths::Utc>>>));
        }
    }
    bounds
}

fn mentions(tokens: TokenStream, parameters: &[String]) -> bool {
    tokens.into_iter().any(|token| match token {
        TokenTree::Ident(ident) => parameters.iter().any(|parameter| ident == parameter),
        TokenTree::Group(group) => mentions(group.stream(), parameters),
        _ => false,
    })
}

/// The `T` of an `Option<T>`, by its name: a macro sees no types.
fn optional(ty: &Type) -> Option<&Type> {
    let Type::Path(path) = ty else { return None };
    let last = path.path.segments.last().filter(|last| last.ident == "Option")?;
    match &last.arguments {
        PathArguments::AngleBracketed(arguments) => match arguments.args.first()? {
            GenericArgument::Type(inner) => Some(inner),
            _ => None,
        },
        _ => None,
    }
}
