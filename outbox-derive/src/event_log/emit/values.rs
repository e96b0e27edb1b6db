//! What a value says of itself: payload, key and time. Each gives the fields that it needs, and the code.

use proc_macro2::{Ident, Span, TokenStream};
use quote::{quote, quote_spanned};
use syn::spanned::Spanned;
use syn::{Field, GenericArgument, Path, PathArguments, Type};

use super::super::check::{Content, EventCase, Key, PayloadField, Value, place};
use super::binding;
use crate::paths::Paths;

pub(super) fn key<'e>(event: &'e EventCase<'e>, paths: &Paths) -> (Vec<&'e Field>, TokenStream) {
    if let Content::Inner(inner) = event.content {
        let binding = binding(event, inner);
        return (vec![inner], quote_spanned!(place(inner)=> #paths::EventLog::key(#binding)));
    }
    let Some(Key { field, with }) = &event.key else { return (Vec::new(), quote!(::core::option::Option::None)) };
    let (span, binding) = (place(field), binding(event, field));
    let value = match (with, optional(&field.ty)) {
        (Some(with), _) => {
            let made = made(with, event, field);
            quote_spanned! {with.span()=> {
                #[allow(unused_imports)]
                use #paths::KeyFallback as _;
                #paths::KeyOf(#made).key()
            }}
        }
        (None, Some(_)) => quote_spanned! {span=>
            match #binding {
                ::core::option::Option::Some(key) => ::core::option::Option::Some(#paths::EventKey::event_key(key)),
                ::core::option::Option::None => ::core::option::Option::None,
            }
        },
        (None, None) => quote_spanned! {span=>
            ::core::option::Option::Some(#paths::EventKey::event_key(#binding))
        },
    };
    (vec![field], value)
}

pub(super) fn time<'e>(event: &'e EventCase<'e>, paths: &Paths) -> (Vec<&'e Field>, TokenStream) {
    if let Content::Inner(inner) = event.content {
        let binding = binding(event, inner);
        return (vec![inner], quote_spanned!(place(inner)=> #paths::EventLog::occurred_at(#binding)));
    }
    let Some(field) = event.timestamp else { return (Vec::new(), quote!(::core::option::Option::None)) };
    let binding = binding(event, field);
    (vec![field], quote_spanned!(place(field)=> #paths::EventTime::event_time(#binding)))
}

pub(super) fn payload<'e>(event: &'e EventCase<'e>, paths: &Paths) -> (Vec<&'e Field>, TokenStream) {
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
    let PayloadField { field, name, flatten, value, skip_if, .. } = field;
    let (span, binding) = (place(field), binding(event, field));
    let method = Ident::new(if *flatten { "flatten" } else { "field" }, span);
    let value = match value {
        Value::Plain => quote_spanned!(span=> #binding),
        Value::With(with) => {
            let made = made(with, event, field);
            quote_spanned!(with.span()=> &#made)
        }
        // Bound, so that the field is no dead code to the compiler, and not read.
        Value::Redacted => {
            return quote_spanned! {span=>
                let _ = #binding;
                #paths::PayloadWriter::redacted(&mut #writer, #name)?;
            };
        }
    };
    let write = quote_spanned!(span=> #paths::PayloadWriter::#method(&mut #writer, #name, #value)?;);
    match skip_if {
        Some(skip_if) => quote_spanned!(span=> if !#skip_if(#binding) { #write }),
        None => write,
    }
}

/// What a function makes of a field: spelled at the function, so that one that does not fit is shown there.
fn made(with: &Path, event: &EventCase<'_>, field: &Field) -> TokenStream {
    let mut binding = binding(event, field);
    binding.set_span(binding.span().located_at(with.span()));
    quote_spanned!(with.span()=> #with(#binding))
}

/// The `T` of an `Option<T>`, by its name: a macro sees no types.
pub(super) fn optional(ty: &Type) -> Option<&Type> {
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
