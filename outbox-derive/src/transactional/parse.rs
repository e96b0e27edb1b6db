//! Tokens -> options and a function whose body stays one raw group of tokens: an editor then sees what the user wrote.

use proc_macro2::{Group, Ident, TokenStream, TokenTree};
use syn::parse::{Parse, ParseStream};
use syn::{Attribute, Expr, LitBool, LitInt, LitStr, Path, Signature, Token, Visibility};

use crate::faults::Faults;
use crate::options;

/// What the attribute was given.
#[derive(Default)]
pub(super) struct Options {
    pub(super) conn: Option<Ident>,
    pub(super) from: Option<Expr>,
    pub(super) isolation: Option<LitStr>,
    pub(super) read_only: Option<Ident>,
    pub(super) deferrable: Option<Ident>,
    pub(super) retries: Option<LitInt>,
    pub(super) retry_delay: Option<Expr>,
    pub(super) nested: Option<LitStr>,
    pub(super) emit: Option<Expr>,
    pub(super) commit_check: Option<LitBool>,
    pub(super) krate: Option<Path>,
}

const KNOWN: &[&str] = &[
    "conn",
    "from",
    "isolation",
    "read_only",
    "deferrable",
    "retries",
    "retry_delay",
    "nested",
    "emit",
    "commit_check",
    "crate",
];

pub(super) const READ_COMMITTED: &str = "read committed";
pub(super) const REPEATABLE_READ: &str = "repeatable read";
pub(super) const SERIALIZABLE: &str = "serializable";
const ISOLATIONS: &[&str] = &[SERIALIZABLE, REPEATABLE_READ, READ_COMMITTED];

pub(super) const SAVEPOINT: &str = "savepoint";
pub(super) const JOIN: &str = "join";
pub(super) const FORBID: &str = "forbid";
pub(super) const REQUIRE: &str = "require";
const NESTED: &[&str] = &[SAVEPOINT, JOIN, FORBID, REQUIRE];

pub(super) fn options(tokens: TokenStream, faults: &mut Faults) -> Options {
    let mut options = Options::default();
    for option in options::read(tokens, KNOWN, faults) {
        match option.name.to_string().as_str() {
            "conn" => options.conn = option.ident(faults),
            "from" => options.from = option.expression("a pool or a connection", "&self.pool", faults),
            "isolation" => options.isolation = option.choice(ISOLATIONS, faults),
            "read_only" => options.read_only = option.flag(faults),
            "deferrable" => options.deferrable = option.flag(faults),
            "retries" => options.retries = option.number(faults),
            "retry_delay" => options.retry_delay = option.expression("a duration", "\"10ms\"", faults),
            "nested" => options.nested = option.choice(NESTED, faults),
            "emit" => options.emit = option.function(faults),
            "commit_check" => options.commit_check = option.boolean(faults),
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
