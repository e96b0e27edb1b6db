//! Where expanded code finds what it calls: the only place that spells the crate's name.

use proc_macro2::{Span, TokenStream, TokenTree};
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

impl Paths {
    /// The same, where errors about it are to show.
    pub(crate) fn at(&self, place: Span) -> Self {
        let respan = |mut token: TokenTree| {
            token.set_span(token.span().located_at(place));
            token
        };
        Self(self.0.clone().into_iter().map(respan).collect())
    }
}

impl ToTokens for Paths {
    fn to_tokens(&self, tokens: &mut TokenStream) {
        self.0.to_tokens(tokens);
    }
}
