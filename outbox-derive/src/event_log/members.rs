//! `#[derive(EventColumns)]`: the columns of a struct that is flattened into events.
//!
//! The struct is written by its own `Serialize`, so serde's attributes name the columns, and ours only describe them.

use proc_macro2::TokenStream;
use quote::quote;
use syn::{Data, DeriveInput, Fields, Generics};

use super::check::{Layout, payload};
use super::emit::{bounded, bounds, schema};
use super::parse::{self, FieldOptions};
use crate::case::Rule;
use crate::faults::Faults;
use crate::paths::Paths;

pub(crate) fn expand(item: TokenStream) -> TokenStream {
    let input: DeriveInput = match syn::parse2(item) {
        Ok(input) => input,
        Err(fault) => return fault.into_compile_error(),
    };
    let mut faults = Faults::default();
    let container = parse::members(&input, &mut faults);
    let paths = Paths::new(container.krate.as_ref());
    let named = match &input.data {
        Data::Struct(data) => match &data.fields {
            Fields::Named(named) => Some(named),
            _ => None,
        },
        _ => None,
    };
    let Some(named) = named else {
        faults.at(&input.ident, "only a struct with named fields has columns");
        return with_stub(faults, &input, &paths);
    };
    if let Some(foreign) = &container.serde.foreign {
        faults.push(syn::Error::new(
            foreign.span(),
            format_args!(
                "serde's `{foreign}` stores something else than these fields: implement `EventColumns` by hand"
            ),
        ));
    }
    let options: Vec<_> =
        named.named.iter().map(|field| member(parse::member(field, &mut faults), &mut faults)).collect();
    let rule = container.serde.rename_all.as_ref().and_then(|rule| Rule::parse(&rule.value()));
    let fields = payload(named.named.iter().zip(options), rule, Layout::Columns, &mut faults);
    if !faults.is_empty() {
        return with_stub(faults, &input, &paths);
    }
    let bounds = bounds::of_columns(&input.generics, &fields, &paths);
    emit(&input, bounded(&input.generics, bounds), &schema::columns(&fields, &paths), &paths)
}

/// A function of serde's hides the type of what is stored.
fn member(mut options: FieldOptions, faults: &mut Faults) -> FieldOptions {
    let foreign = options.serde.foreign.take().filter(|_| !options.serde.skip);
    let typed = options.ch.as_ref().is_some_and(|ch| ch.ty.is_some());
    if let (Some(foreign), false) = (foreign, typed) {
        faults.push(syn::Error::new(
            foreign.span(),
            format_args!(
                "what serde's `{foreign}` stores has a type of its own: say it, `#[event_log(ch(type = \"..\"))]`"
            ),
        ));
    }
    options
}

/// An `impl` without columns beside the faults, so that one mistake gives one message.
fn with_stub(faults: Faults, input: &DeriveInput, paths: &Paths) -> TokenStream {
    let (errors, stub) = (faults.into_tokens(), emit(input, input.generics.clone(), &quote!(&[]), paths));
    quote!(#errors #stub)
}

fn emit(input: &DeriveInput, generics: Generics, columns: &TokenStream, paths: &Paths) -> TokenStream {
    let ident = &input.ident;
    let (impl_generics, type_generics, where_clause) = generics.split_for_impl();
    quote! {
        #[automatically_derived]
        #[allow(deprecated)]
        impl #impl_generics #paths::EventColumns for #ident #type_generics #where_clause {
            const COLUMNS: &'static [#paths::Column] = #columns;
        }
    }
}
