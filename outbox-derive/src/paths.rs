//! Where expanded code finds what it calls: the only place that spells the crate's name.

use proc_macro2::TokenStream;
use quote::{ToTokens, quote};
use syn::Path;

/// The facade's module for macros: `::outbox::__private`, or under the path that `crate = ..` gives.
pub(crate) struct Paths(TokenStream);

impl Paths {
    pub(crate) fn new(krate: Option<&Path>) -> Self {
        match krate {
            Some(path) => Self(quote!(#path::__private)),
            None => Self(quote!(::outbox::__private)),
        }
    }
}

impl ToTokens for Paths {
    fn to_tokens(&self, tokens: &mut TokenStream) {
        self.0.to_tokens(tokens);
    }
}
