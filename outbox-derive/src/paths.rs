//! Where expanded code finds what it calls: the only place that spells the crate's name.

use proc_macro2::{Span, TokenStream, TokenTree};
use quote::{ToTokens, quote};
use syn::Path;

/// The facade's module for macros: `::outbox::__private`, or under the path that `crate = ..` gives.
pub(crate) struct Paths {
    tokens: TokenStream,
    /// Written by the user, so resolved where the user wrote it.
    given: bool,
}

impl Paths {
    pub(crate) fn new(krate: Option<&Path>) -> Self {
        match krate {
            Some(path) => Self { tokens: quote!(#path::__private), given: true },
            None => Self { tokens: quote!(::outbox::__private), given: false },
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
        Self { tokens: self.tokens.clone().into_iter().map(respan).collect(), given: self.given }
    }

    /// The same, with this very span on every token: the compiler says once what several tokens with one span are wrong about.
    pub(crate) fn spanned(&self, span: Span) -> Self {
        if self.given {
            return self.at(span);
        }
        let respan = |mut token: TokenTree| {
            token.set_span(span);
            token
        };
        Self { tokens: self.tokens.clone().into_iter().map(respan).collect(), given: false }
    }
}

impl ToTokens for Paths {
    fn to_tokens(&self, tokens: &mut TokenStream) {
        self.tokens.to_tokens(tokens);
    }
}
