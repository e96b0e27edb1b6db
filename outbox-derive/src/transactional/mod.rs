//! `#[transactional_event]`.

mod check;
mod duration;
mod emit;
mod parse;
mod repeat;
mod settings;
#[cfg(test)]
mod tests;

use proc_macro2::TokenStream;
use quote::quote;

use crate::faults::Faults;
use crate::paths::Paths;

/// The function in its transaction, or as it was beside its faults.
pub(crate) fn expand(options: TokenStream, item: TokenStream) -> TokenStream {
    let mut faults = Faults::default();
    let options = parse::options(options, &mut faults);
    let paths = Paths::new(options.krate.as_ref());
    let checked = match syn::parse2(item.clone()) {
        Ok(function) => check::check(function, options, &paths, &mut faults),
        Err(fault) => {
            faults.push(fault);
            None
        }
    };
    match (faults.into_tokens(), checked) {
        (None, Some(checked)) => emit::emit(checked, &paths),
        (errors, _) => quote!(#errors #item),
    }
}
