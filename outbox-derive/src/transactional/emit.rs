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
    /// Where errors about the returned type show.
    outcome_place: Span,
    /// The module of the kind of connection.
    module: TokenStream,
    /// Where errors about the connection show.
    place: Span,
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

/// Where errors about something are to show, with names that are ours.
fn ours_at(place: Span) -> Span {
    Span::mixed_site().located_at(place)
}

fn pieces(checked: &Checked, paths: &Paths) -> Pieces {
    let Checked { function, body, source, conn, conn_type, output, repeated, emit, .. } = checked;
    let is_async = function.signature.asyncness.is_some();
    // One span for all that can be wrong about the connection, so that it is said once.
    let place = ours_at(*conn_type);
    let (tx_paths, outcome_paths) = (paths.spanned(place), paths.at(output.span()));
    let wait = if is_async { quote_spanned!(place=> .await) } else { quote!() };
    let module = if is_async { quote_spanned!(place=> aio) } else { quote_spanned!(place=> sync) };
    let module = quote_spanned!(place=> #tx_paths::#module);
    let outcome = quote_spanned!(output.span()=> <#output as #outcome_paths::Outcome>);
    let get = quote_spanned!(place=> #module::Tx::conn(tx));

    let (ident, mutability) = (&conn.ident, &conn.mutability);
    // `return` and the last expression are held against the declared type, as in any other function.
    let pinned = is_async.then(|| {
        quote_spanned!(Span::mixed_site()=> if false {
            return #paths::pinned::<#output>();
        })
    });
    let body = quote_spanned! {Span::mixed_site()=> {
        #[allow(unused_variables, unused_mut)]
        let #mutability #ident = #get;
        #pinned
        #body
    }};
    // The declared type lets `?` in the body find its error's type.
    let run = match is_async {
        true => quote!(async move #body.await),
        false => quote!((move || -> #output #body)()),
    };
    let clones = repeated.iter().flatten().map(|clone| fresh(clone, paths));
    let emitted = emit.as_ref().map(|events| {
        let place = ours_at(events.span());
        let call = quote_spanned!(place=> tx.emit_ok(&ok, #events)#wait);
        quote_spanned! {Span::mixed_site()=>
            let out: #output = match out {
                ::core::result::Result::Ok(ok) => match #call {
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
    let begin = quote_spanned!(place=> #module::Tx::begin(source, &options)#wait);
    let begin = quote_spanned!(Span::mixed_site()=> { let source = &mut *#source; #begin });
    let outcome_place = ours_at(output.span());
    Pieces { wait, outcome, outcome_place, module, place, begin, run }
}

/// A parameter's clone, under its name.
fn fresh(Clone { name, mutability, place }: &Clone, paths: &Paths) -> TokenStream {
    let place = ours_at(*place);
    let paths = paths.spanned(place);
    let again = quote_spanned!(place=> #paths::Repeatable::again(&#name));
    quote_spanned! {Span::mixed_site()=>
        #[allow(unused_variables, unused_mut)]
        let #mutability #name = #again;
    }
}

/// The connection that `from` gives, until the function returns.
fn acquire(from: &syn::Expr, pieces: &Pieces) -> TokenStream {
    let Pieces { wait, outcome, module, place, .. } = pieces;
    let acquire = quote_spanned!(*place=> #module::Acquire::acquire(#from)#wait);
    quote_spanned! {Span::mixed_site()=>
        let mut guard = match #acquire {
            ::core::result::Result::Ok(guard) => guard,
            ::core::result::Result::Err(error) => return #outcome::from_db(error),
        };
    }
}

/// Run once.
fn transaction(Pieces { wait, outcome, module, place, begin, run, .. }: &Pieces) -> TokenStream {
    let finish = quote_spanned!(*place=> #module::Tx::finish(tx, commit)#wait);
    quote_spanned! {Span::mixed_site()=>
        let mut tx = match #begin {
            ::core::result::Result::Ok(tx) => tx,
            ::core::result::Result::Err(error) => return #outcome::from_db(error),
        };
        #run
        let commit = #outcome::is_ok(&out);
        match #finish {
            ::core::result::Result::Ok(()) => out,
            ::core::result::Result::Err(error) => #outcome::from_db(error),
        }
    }
}

/// Run until it ends with something else than a conflict, or has no retries left.
fn repeated_transaction(pieces: &Pieces, paths: &Paths) -> TokenStream {
    let Pieces { wait, outcome, outcome_place, module, place, begin, run } = pieces;
    let finish = quote_spanned!(*place=> attempts.finish(tx, commit, transient)#wait);
    let verdict = quote_spanned!(*outcome_place=> (&&&&&Probe(error)).verdict());
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
                    #verdict
                }
            };
            let commit = #outcome::is_ok(&out);
            match #finish {
                ::core::result::Result::Ok(#paths::Next::Again) => continue,
                ::core::result::Result::Ok(#paths::Next::Done) => break out,
                ::core::result::Result::Err(error) => break #outcome::from_db(error),
            }
        }
    }
}
