//! Whether the function can be wrapped: it has a body, a connection, and a result to decide by.

use proc_macro2::{Group, Ident, Span, TokenStream};
use syn::spanned::Spanned;
use syn::visit_mut::{VisitMut, visit_type_mut};
use syn::{Expr, FnArg, Pat, PatIdent, ReturnType, Signature, Type, TypeParamBound};

use super::parse::{Function, Options};
use super::repeat::{self, Clone};
use super::settings::settings;
use crate::faults::{Faults, did_you_mean};
use crate::paths::Paths;

/// A function that can be wrapped.
pub(super) struct Checked {
    pub(super) function: Function,
    pub(super) body: Group,
    pub(super) source: Source,
    /// What the body calls the connection.
    pub(super) conn: PatIdent,
    /// Where its type stands.
    pub(super) conn_type: Span,
    /// The declared return type, with `_` for each `impl Trait` in it.
    pub(super) output: Type,
    pub(super) settings: TokenStream,
    /// With `retries`: what each run needs anew.
    pub(super) repeated: Option<Vec<Clone>>,
    pub(super) emit: Option<Expr>,
}

/// Where the connection comes from.
pub(super) enum Source {
    /// The parameter of the connection's name.
    Parameter,
    /// `from = ..`
    Expression(Expr),
}

pub(super) fn check(mut function: Function, options: Options, paths: &Paths, faults: &mut Faults) -> Option<Checked> {
    let signature = &function.signature;
    if let Some(constness) = &signature.constness {
        faults.at(constness, "a `const fn` cannot run a transaction");
    }
    let settings = settings(&options, paths, faults);
    let output = output(signature, faults);
    let conn = match &options.from {
        Some(from) => Some((binding(options.conn.as_ref()), from.span())),
        None => connection(signature, options.conn.as_ref(), faults),
    };
    let body = function.body.clone();
    if body.is_none() {
        faults.at(
            &signature.ident,
            "a method without a body has nothing to run in a transaction: put the attribute on the `impl`'s method",
        );
    }
    let parameter = match (&conn, &options.from) {
        (Some((conn, _)), None) => Some(conn.ident.clone()),
        _ => None,
    };
    let repeated =
        options.retries.as_ref().map(|_| repeat::clones(&mut function.signature, parameter.as_ref(), faults));
    let (body, (conn, conn_type), output) = (body?, conn?, output?);
    let source = match options.from {
        Some(from) => Source::Expression(from),
        None => {
            fix_parameter(&mut function.signature, &conn);
            Source::Parameter
        }
    };
    Some(Checked { function, body, source, conn, conn_type, output, settings, repeated, emit: options.emit })
}

/// What the connection that `from` gives is called.
fn binding(named: Option<&Ident>) -> PatIdent {
    let ident = named.cloned().unwrap_or_else(|| Ident::new("conn", Span::call_site()));
    PatIdent { attrs: Vec::new(), by_ref: None, mutability: None, ident, subpat: None }
}

fn output(signature: &Signature, faults: &mut Faults) -> Option<Type> {
    let ReturnType::Type(_, output) = &signature.output else {
        faults.at(
            &signature.ident,
            "a transactional function must return a `Result`: `Ok` commits, `Err` rolls back, and its error must hold `diesel::result::Error`",
        );
        return None;
    };
    if signature.asyncness.is_none() {
        match &**output {
            Type::Path(path) if path.path.segments.last().is_some_and(|last| last.ident == "Pin") => {
                faults.at(
                    output,
                    "this function returns a boxed future, so it is over before the future runs. \
                     `#[async_trait]` rewrites methods like that: put `#[transactional_event]` on an `async fn` of the type itself and call it from here",
                );
                return None;
            }
            Type::ImplTrait(opaque) if opaque.bounds.iter().any(is_future) => {
                faults.at(
                    output,
                    "this function returns a future, so it is over before the future runs: make it an `async fn`",
                );
                return None;
            }
            _ => {}
        }
    }
    let mut output = (**output).clone();
    Opaque.visit_type_mut(&mut output);
    Some(output)
}

fn is_future(bound: &TypeParamBound) -> bool {
    matches!(bound, TypeParamBound::Trait(bound) if bound.path.segments.last().is_some_and(|last| last.ident == "Future"))
}

/// Replaces `impl Trait`, which only a signature may hold, by `_`.
struct Opaque;

impl VisitMut for Opaque {
    fn visit_type_mut(&mut self, ty: &mut Type) {
        if matches!(ty, Type::ImplTrait(_)) {
            *ty = syn::parse_quote!(_);
        } else {
            visit_type_mut(self, ty);
        }
    }
}

fn connection(signature: &Signature, named: Option<&Ident>, faults: &mut Faults) -> Option<(PatIdent, Span)> {
    let parameters: Vec<(&PatIdent, &Type)> = signature.inputs.iter().filter_map(parameter).collect();
    let found = parameters.iter().find(|(pat, _)| match named {
        Some(named) => pat.ident == *named,
        None => pat.ident == "conn",
    });
    let Some((pat, ty)) = found else {
        missing(signature, named, &parameters, faults);
        return None;
    };
    if let Type::Reference(reference) = ty
        && reference.mutability.is_none()
    {
        faults.at(ty, "a transaction needs the connection for itself: take it as `&mut`");
        return None;
    }
    let place = match ty {
        Type::Reference(reference) => reference.elem.span(),
        other => other.span(),
    };
    Some(((*pat).clone(), place))
}

/// Takes `mut` from the connection's parameter: only the body's binding can need it.
fn fix_parameter(signature: &mut Signature, conn: &PatIdent) {
    for argument in &mut signature.inputs {
        if let FnArg::Typed(typed) = argument
            && let Pat::Ident(pat) = &mut *typed.pat
            && pat.ident == conn.ident
        {
            pat.mutability = None;
        }
    }
}

fn parameter(argument: &FnArg) -> Option<(&PatIdent, &Type)> {
    match argument {
        FnArg::Typed(typed) => match &*typed.pat {
            Pat::Ident(pat) => Some((pat, &typed.ty)),
            _ => None,
        },
        FnArg::Receiver(_) => None,
    }
}

fn missing(signature: &Signature, named: Option<&Ident>, parameters: &[(&PatIdent, &Type)], faults: &mut Faults) {
    let names: Vec<String> = parameters.iter().map(|(pat, _)| pat.ident.to_string()).collect();
    if let Some(named) = named {
        let names: Vec<&str> = names.iter().map(String::as_str).collect();
        let hint = match did_you_mean(&named.to_string(), &names) {
            Some(meant) => format!("did you mean `{meant}`?"),
            None => "it must name the parameter that is the connection".to_owned(),
        };
        faults.at(named, format_args!("no parameter is named `{named}`: {hint}"));
        return;
    }
    let exclusive = |ty: &Type| matches!(ty, Type::Reference(reference) if reference.mutability.is_some());
    let cure = match parameters.iter().find(|(_, ty)| exclusive(ty)) {
        Some((pat, _)) => format!("if `{0}` is the connection, say `#[transactional_event(conn = {0})]`", pat.ident),
        None => "add one, `conn: &mut AsyncPgConnection` say, or take it from a pool: `#[transactional_event(from = &self.pool)]`"
            .to_owned(),
    };
    faults.at(&signature.ident, format_args!("no parameter is named `conn`: {cure}"));
}
