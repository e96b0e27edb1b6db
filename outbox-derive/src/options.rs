//! `name`, `name = value`, `name(..)`: the options of both macros, read one by one so that all their faults show at once.

use proc_macro2::{Ident, TokenStream, TokenTree};
use quote::ToTokens;
use syn::ext::IdentExt;
use syn::parse::{ParseStream, Parser};
use syn::{Expr, ExprLit, Lit, LitBool, LitInt, LitStr, Path, Token, parenthesized, token};

use crate::faults::{Faults, did_you_mean};

/// One option.
pub(crate) struct Opt {
    pub(crate) name: Ident,
    value: Option<Expr>,
    list: Option<TokenStream>,
}

/// Reads a list of options. Those that `known` does not hold, or that come twice, are faults and left out.
pub(crate) fn read(tokens: TokenStream, known: &[&str], faults: &mut Faults) -> Vec<Opt> {
    let items = |input: ParseStream<'_>| Ok(items(input, faults));
    let all = items.parse2(tokens).unwrap_or_default();
    let mut options: Vec<Opt> = Vec::new();
    for option in all {
        let name = option.name.to_string();
        if !known.contains(&name.as_str()) {
            faults.at(&option.name, unknown(&name, known));
        } else if options.iter().any(|earlier| earlier.name == option.name) {
            faults.at(&option.name, format_args!("the option `{name}` is given twice"));
        } else {
            options.push(option);
        }
    }
    options
}

fn unknown(name: &str, known: &[&str]) -> String {
    match did_you_mean(name, known) {
        Some(meant) => format!("unknown option `{name}`: did you mean `{meant}`?"),
        None => format!("unknown option `{name}`: expected {}", one_of(known)),
    }
}

/// `` `a`, `b` or `c` ``
pub(crate) fn one_of(names: &[&str]) -> String {
    let quoted: Vec<String> = names.iter().map(|name| format!("`{name}`")).collect();
    match quoted.split_last() {
        Some((last, rest)) if !rest.is_empty() => format!("{} or {last}", rest.join(", ")),
        _ => quoted.concat(),
    }
}

/// `"a", "b" or "c"`
fn one_of_texts(texts: &[&str]) -> String {
    one_of(texts).replace('`', "\"")
}

fn items(input: ParseStream<'_>, faults: &mut Faults) -> Vec<Opt> {
    let mut options = Vec::new();
    while !input.is_empty() {
        match item(input) {
            Ok(option) => options.push(option),
            Err(fault) => {
                faults.push(fault);
                skip_to_comma(input);
            }
        }
        if !input.is_empty() && input.parse::<Token![,]>().is_err() {
            faults.push(input.error("expected a comma between options"));
            skip_to_comma(input);
        }
    }
    options
}

fn item(input: ParseStream<'_>) -> syn::Result<Opt> {
    let name = Ident::parse_any(input).map_err(|fault| syn::Error::new(fault.span(), "expected an option's name"))?;
    let list = match input.peek(token::Paren) {
        true => {
            let content;
            parenthesized!(content in input);
            Some(content.parse()?)
        }
        false => None,
    };
    let value = match input.parse::<Option<Token![=]>>()? {
        Some(_) => Some(input.parse()?),
        None => None,
    };
    Ok(Opt { name, value, list })
}

fn skip_to_comma(input: ParseStream<'_>) {
    while !input.is_empty() && !input.peek(Token![,]) {
        if input.parse::<TokenTree>().is_err() {
            return;
        }
    }
}

impl Opt {
    /// `name = "text"`
    pub(crate) fn text(&self, faults: &mut Faults) -> Option<LitStr> {
        match &self.value {
            Some(Expr::Lit(ExprLit { lit: Lit::Str(text), .. })) => Some(text.clone()),
            _ => self.wrong("a text", "\"..\"", faults),
        }
    }

    /// `name = 2`
    pub(crate) fn number(&self, faults: &mut Faults) -> Option<LitInt> {
        match &self.value {
            Some(Expr::Lit(ExprLit { lit: Lit::Int(number), .. })) => Some(number.clone()),
            _ => self.wrong("a number", "2", faults),
        }
    }

    /// `name = some::path`, or the same as text, as serde writes it.
    pub(crate) fn path(&self, faults: &mut Faults) -> Option<Path> {
        match &self.value {
            Some(Expr::Path(path)) if path.qself.is_none() => Some(path.path.clone()),
            Some(Expr::Lit(ExprLit { lit: Lit::Str(text), .. })) => {
                text.parse().ok().or_else(|| self.wrong_path(faults))
            }
            _ => self.wrong_path(faults),
        }
    }

    /// `name = identifier`
    pub(crate) fn ident(&self, faults: &mut Faults) -> Option<Ident> {
        match &self.value {
            Some(Expr::Path(path)) if path.qself.is_none() && path.path.get_ident().is_some() => {
                path.path.get_ident().cloned()
            }
            _ => self.wrong("a name", "db", faults),
        }
    }

    /// `name = true`
    pub(crate) fn boolean(&self, faults: &mut Faults) -> Option<LitBool> {
        match &self.value {
            Some(Expr::Lit(ExprLit { lit: Lit::Bool(value), .. })) => Some(value.clone()),
            _ => self.wrong("`true` or `false`", "false", faults),
        }
    }

    /// `name = any expression`, of which `what` and `example` tell.
    pub(crate) fn expression(&self, what: &str, example: &str, faults: &mut Faults) -> Option<Expr> {
        self.value.clone().or_else(|| self.wrong(what, example, faults))
    }

    /// `name = "one of these"`
    pub(crate) fn choice(&self, known: &[&str], faults: &mut Faults) -> Option<LitStr> {
        let Some(Expr::Lit(ExprLit { lit: Lit::Str(text), .. })) = &self.value else {
            return self.wrong(&one_of_texts(known), &format!("\"{}\"", known[0]), faults);
        };
        if known.contains(&text.value().as_str()) {
            return Some(text.clone());
        }
        match did_you_mean(&text.value().to_lowercase(), known) {
            Some(meant) => faults.at(text, format_args!("no such value of `{}`: did you mean \"{meant}\"?", self.name)),
            None => faults.at(text, format_args!("no such value of `{}`: expected {}", self.name, one_of_texts(known))),
        }
        None
    }

    /// `name = |x| ..` or the path of a function.
    pub(crate) fn function(&self, faults: &mut Faults) -> Option<Expr> {
        match &self.value {
            Some(function @ (Expr::Closure(_) | Expr::Path(_))) => Some(function.clone()),
            _ => self.wrong("a closure or the path of a function", "|ok| ..", faults),
        }
    }

    /// `name`, alone.
    pub(crate) fn flag(self, faults: &mut Faults) -> Option<Ident> {
        let value = self.value.as_ref().map(ToTokens::to_token_stream).or(self.list);
        if let Some(value) = value {
            let place = if value.is_empty() { self.name.to_token_stream() } else { value };
            faults.at(place, format_args!("the option `{0}` takes no value: write just `{0}`", self.name));
            return None;
        }
        Some(self.name)
    }

    /// `name(known = .., known = ..)`
    pub(crate) fn list(self, known: &[&str], faults: &mut Faults) -> Option<Vec<Self>> {
        match (self.list, self.value) {
            (Some(list), None) => Some(read(list, known, faults)),
            (_, value) => {
                let place = value.map_or_else(|| self.name.to_token_stream(), |value| value.to_token_stream());
                let (name, first) = (&self.name, known.first().copied().unwrap_or_default());
                faults.at(place, format_args!("the option `{name}` takes a list: `{name}({first} = \"..\")`"));
                None
            }
        }
    }

    fn wrong_path<T>(&self, faults: &mut Faults) -> Option<T> {
        self.wrong("a path", "some::path", faults)
    }

    fn wrong<T>(&self, what: &str, example: &str, faults: &mut Faults) -> Option<T> {
        let place = self.value.as_ref().map_or_else(|| self.name.to_token_stream(), ToTokens::to_token_stream);
        faults.at(place, format_args!("the option `{0}` takes {what}: `{0} = {example}`", self.name));
        None
    }
}
