//! `#[derive(EventLog)]` and `#[derive(EventColumns)]`.

mod check;
mod emit;
pub(crate) mod members;
mod parse;
mod serde;
#[cfg(test)]
mod tests;

use proc_macro2::TokenStream;
use quote::quote;
use syn::DeriveInput;

use crate::faults::Faults;
use crate::paths::Paths;

/// The `impl`s for an item, or its faults beside empty `impl`s: without those, every use of the type as an event would be
/// one more message.
pub(crate) fn expand(item: TokenStream) -> TokenStream {
    let input: DeriveInput = match syn::parse2(item) {
        Ok(input) => input,
        Err(fault) => return fault.into_compile_error(),
    };
    let mut faults = Faults::default();
    let given = parse::parse(&input, &mut faults);
    let paths = Paths::new(given.container.krate.as_ref());
    let events = check::check(&input, given, &mut faults);
    match faults.into_tokens() {
        None => emit::emit(&input, &events, &paths),
        Some(errors) => {
            let stub = emit::stub(&input, &paths);
            quote!(#errors #stub)
        }
    }
}
