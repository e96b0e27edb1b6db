//! Tokens -> options and a function whose body stays one raw group of tokens: an editor then sees what the user wrote.

use proc_macro2::{Group, Ident, TokenStream, TokenTree};
use syn::parse::{Parse, ParseStream};
use syn::{Attribute, Expr, Path, Signature, Token, Visibility};

use crate::faults::Faults;
use crate::options;

/// What the attribute was given.
#[derive(Default)]
pub(super) struct Options {
    pub(super) conn: Option<Ident>,
    pub(super) emit: Option<Expr>,
    pub(super) krate: Option<Path>,
}

const KNOWN: &[&str] = &["conn", "emit", "crate"];

pub(super) fn options(tokens: TokenStream, faults: &mut Faults) -> Options {
    let mut options = Options::default();
    for option in options::read(tokens, KNOWN, faults) {
        match option.name.to_string().as_str() {
            "conn" => options.conn = option.ident(faults),
            "emit" => options.emit = option.function(faults),
            _ => options.krate = option.path(faults),
        }
    }
    options
}

/// A function or method.
pub(super) struct Function {
    pub(super) attrs: Vec<Attribute>,
    pub(super) vis: Visibility,
    pub(super) signature: Signature,
    /// None for a method that a trait only declares.
    pub(super) body: Option<Group>,
}

impl Parse for Function {
    fn parse(input: ParseStream<'_>) -> syn::Result<Self> {
        let attrs = input.call(Attribute::parse_outer)?;
        let vis = input.parse()?;
        let signature = input.parse().map_err(|fault| {
            syn::Error::new(fault.span(), "`#[transactional_event]` belongs on a function or a method")
        })?;
        let body = match input.parse()? {
            TokenTree::Group(body) => Some(body),
            _ => None,
        };
        input.parse::<Option<Token![;]>>()?;
        Ok(Self { attrs, vis, signature, body })
    }
}
