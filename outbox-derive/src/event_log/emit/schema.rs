//! What is known of the event types without a value: `EventSchema`.

use proc_macro2::TokenStream;
use quote::{quote, quote_spanned};
use syn::spanned::Spanned;

use super::super::check::{Content, EventCase, Layout, PayloadField, TableDdl, Value, place};
use crate::paths::Paths;

pub(super) fn event_type(event: &EventCase<'_>, paths: &Paths) -> TokenStream {
    let EventCase { name, version, table, layout, ddl, content, .. } = event;
    let mut event_type = quote!(#paths::EventType::new(#name, #version, #table));
    if let Some(path) = &event.upcast {
        let at = paths.at(path.span());
        // Spelled at the path, so that a function that does not fit is shown there.
        event_type.extend(quote_spanned! {path.span()=>
            .upcast(#at::Upcast::new(|version, fields| #at::upcast_result(#path(version, fields))))
        });
    }
    if *layout == Layout::Context {
        return event_type;
    }
    let ddl = table_ddl(ddl, paths);
    match content {
        Content::Inner(inner) => {
            let ty = &inner.ty;
            // An event that has no columns is found out when the constant is evaluated: that shows here, too.
            quote_spanned! {place(inner)=>
                #event_type.in_columns_of(<#ty as #paths::EventSchema>::EVENT_TYPES, #ddl)
            }
        }
        Content::Fields(fields) => {
            let columns = columns(fields, paths);
            quote!(#event_type.in_columns(#columns, #ddl))
        }
    }
}

/// A slice that lives for ever, also where it names type parameters.
pub(in super::super) fn columns(fields: &[PayloadField<'_>], paths: &Paths) -> TokenStream {
    let columns = fields.iter().map(|field| column(field, paths));
    quote!(const { &[#(#columns),*] })
}

fn column(field: &PayloadField<'_>, paths: &Paths) -> TokenStream {
    let PayloadField { field, name, flatten, value, column, .. } = field;
    let (span, ty) = (place(field), &field.ty);
    if *flatten {
        let columns = match value {
            Value::Plain => quote_spanned!(span=> <#ty as #paths::EventColumns>::COLUMNS),
            Value::With(with) => quote_spanned!(with.span()=> #paths::columns_of(|field: &#ty| #with(field))),
            Value::Redacted => quote!(&[]),
        };
        return quote!(#paths::Column::flattened(#columns));
    }
    let ty = match (&column.ty, value) {
        (Some(sql), _) => quote!(#paths::ColumnType::named(#sql)),
        (None, Value::Plain) => quote_spanned!(span=> <#ty as #paths::ClickHouseType>::TYPE),
        // The closure fixes the field's type, so that a function for `&str` is one for `&String`.
        (None, Value::With(with)) => {
            quote_spanned!(with.span()=> #paths::ColumnType::returned_by(|field: &#ty| #with(field)))
        }
        (None, Value::Redacted) => quote!(#paths::ColumnType::named("String")),
    };
    let plain = quote!(#paths::Column::new(#name, #ty));
    if [&column.codec, &column.default, &column.comment].into_iter().all(Option::is_none) {
        return plain;
    }
    let (codec, default, comment) = (option(&column.codec), option(&column.default), option(&column.comment));
    quote!(#plain.with(#codec, #default, #comment))
}

fn table_ddl(ddl: &TableDdl, paths: &Paths) -> TokenStream {
    let TableDdl { engine, order_by, partition_by, ttl } = ddl;
    if [engine, order_by, partition_by, ttl].into_iter().all(Option::is_none) {
        return quote!(#paths::Ddl::NONE);
    }
    let (engine, order_by) = (option(engine), option(order_by));
    let (partition_by, ttl) = (option(partition_by), option(ttl));
    quote! {
        #paths::Ddl { engine: #engine, order_by: #order_by, partition_by: #partition_by, ttl: #ttl }
    }
}

fn option(text: &Option<String>) -> TokenStream {
    match text {
        Some(text) => quote!(::core::option::Option::Some(#text)),
        None => quote!(::core::option::Option::None),
    }
}
