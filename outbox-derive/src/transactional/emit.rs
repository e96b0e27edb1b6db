//! The expansion: begin, body, finish, with a guard between them.
//!
//! Not `conn.transaction(closure)`: that has no place for the guard, and its future is not `Send` where the connection is
//! generic (rust-lang/rust#100013). Locals have `mixed_site` spans, so no name of the user's is taken or seen. What can be
//! wrong with the connection or the returned type is said there: calls are full paths, spanned like the type.

use proc_macro2::{Span, TokenStream};
use quote::{quote, quote_spanned};
use syn::spanned::Spanned;

use super::check::{Checked, Source};
use super::parse::Function;
use super::repeat::Clone;
use crate::paths::Paths;

/// The pieces that both forms, once and repeated, are made of.
struct Pieces {
    wait: TokenStream,
    /// `<Output as Outcome>`
    outcome: TokenStream,
    /// The module of the kind of connection.
    module: TokenStream,
    /// `Tx::begin(..)`
    begin: TokenStream,
    /// The body's value, and with it the events that `emit = ..` makes of it.
    run: TokenStream,
}

pub(super) fn emit(checked: Checked, paths: &Paths) -> TokenStream {
    let pieces = pieces(&checked, paths);
    let Checked { function: Function { attrs, vis, signature, .. }, source, settings, repeated, .. } = checked;
    let acquire = match &source {
        Source::Expression(from) => acquire(from, &pieces),
        Source::Parameter => TokenStream::new(),
    };
    let transaction = match repeated {
        Some(_) => repeated_transaction(&pieces, paths),
        None => transaction(&pieces),
    };
    quote_spanned! {Span::mixed_site()=>
        #(#attrs)*
        #vis #signature {
            #acquire
            let options = #settings;
            #transaction
        }
    }
}

fn pieces(checked: &Checked, paths: &Paths) -> Pieces {
    let Checked { function, body, source, conn, conn_type, output, repeated, emit, .. } = checked;
    let is_async = function.signature.asyncness.is_some();
    let (conn_type, wait) = (*conn_type, if is_async { quote!(.await) } else { quote!() });
    let (tx_paths, outcome_paths) = (paths.at(conn_type), paths.at(output.span()));
    let module = if is_async { quote_spanned!(conn_type=> aio) } else { quote_spanned!(conn_type=> sync) };
    let module = quote_spanned!(conn_type=> #tx_paths::#module);
    let outcome = quote_spanned!(output.span()=> <#output as #outcome_paths::Outcome>);
    let begin = quote_spanned!(conn_type=> #module::Tx::begin);
    let get = quote_spanned!(conn_type=> #module::Tx::conn);

    let (ident, mutability) = (&conn.ident, &conn.mutability);
    let body = quote_spanned! {Span::mixed_site()=> {
        #[allow(unused_variables, unused_mut)]
        let #mutability #ident = #get(tx);
        #body
    }};
    // The declared type lets `?` in the body find its error's type.
    let run = match is_async {
        true => quote!(async move #body.await),
        false => quote!((move || -> #output #body)()),
    };
    let clones = repeated.iter().flatten().map(|clone| fresh(clone, paths));
    let emitted = emit.as_ref().map(|events| {
        quote_spanned! {Span::mixed_site()=>
            let out: #output = match out {
                ::core::result::Result::Ok(ok) => match tx.emit_ok(&ok, #events)#wait {
                    ::core::result::Result::Ok(()) => ::core::result::Result::Ok(ok),
                    ::core::result::Result::Err(error) => #outcome::from_db(error),
                },
                failed => failed,
            };
        }
    });
    let run = quote_spanned! {Span::mixed_site()=>
        let out: #output = {
            let tx = &mut tx;
            #(#clones)*
            #run
        };
        #emitted
    };
    let source = match source {
        Source::Expression(_) => quote_spanned!(Span::mixed_site()=> guard),
        Source::Parameter => quote!(#ident),
    };
    let begin = quote_spanned!(Span::mixed_site()=> #begin(&mut *#source, &options)#wait);
    Pieces { wait, outcome, module, begin, run }
}

/// A parameter's clone, under its name.
fn fresh(Clone { name, mutability, place }: &Clone, paths: &Paths) -> TokenStream {
    let paths = paths.at(*place);
    let again = quote_spanned!(*place=> #paths::Repeatable::again);
    quote_spanned! {Span::mixed_site()=>
        #[allow(unused_variables, unused_mut)]
        let #mutability #name = #again(&#name);
    }
}

/// The connection that `from` gives, until the function returns.
fn acquire(from: &syn::Expr, pieces: &Pieces) -> TokenStream {
    let Pieces { wait, outcome, module, .. } = pieces;
    let acquire = quote_spanned!(from.span()=> #module::Acquire::acquire);
    quote_spanned! {Span::mixed_site()=>
        let mut guard = match #acquire(#from)#wait {
            ::core::result::Result::Ok(guard) => guard,
            ::core::result::Result::Err(error) => return #outcome::from_db(error),
        };
    }
}

/// Run once.
fn transaction(Pieces { wait, outcome, module, begin, run }: &Pieces) -> TokenStream {
    quote_spanned! {Span::mixed_site()=>
        let mut tx = match #begin {
            ::core::result::Result::Ok(tx) => tx,
            ::core::result::Result::Err(error) => return #outcome::from_db(error),
        };
        #run
        match #module::Tx::finish(tx, #outcome::is_ok(&out))#wait {
            ::core::result::Result::Ok(()) => out,
            ::core::result::Result::Err(error) => #outcome::from_db(error),
        }
    }
}

/// Run until it ends with something else than a conflict, or has no retries left.
fn repeated_transaction(Pieces { wait, outcome, module, begin, run }: &Pieces, paths: &Paths) -> TokenStream {
    quote_spanned! {Span::mixed_site()=>
        let mut attempts = #module::Attempts::new(&options);
        loop {
            let mut tx = match #begin {
                ::core::result::Result::Ok(tx) => tx,
                ::core::result::Result::Err(error) => match attempts.not_begun(error)#wait {
                    ::core::result::Result::Ok(()) => continue,
                    ::core::result::Result::Err(error) => break #outcome::from_db(error),
                },
            };
            #run
            let transient = match &out {
                ::core::result::Result::Ok(_) => false,
                ::core::result::Result::Err(error) => {
                    #[allow(unused_imports)]
                    use #paths::probe::*;
                    (&&&&&Probe(error)).verdict()
                }
            };
            match attempts.finish(tx, #outcome::is_ok(&out), transient)#wait {
                ::core::result::Result::Ok(#paths::Next::Again) => continue,
                ::core::result::Result::Ok(#paths::Next::Done) => break out,
                ::core::result::Result::Err(error) => break #outcome::from_db(error),
            }
        }
    }
}
