//! The expansion: begin, body, finish, with a guard between them.
//!
//! Not `conn.transaction(closure)`: that has no place for the guard, and its future is not `Send` where the connection is
//! generic (rust-lang/rust#100013). Locals have `mixed_site` spans, so no name of the user's is taken or seen. What can be
//! wrong with the connection or the returned type is said there: calls are full paths, spanned like the type.

use proc_macro2::{Span, TokenStream};
use quote::{quote, quote_spanned};
use syn::spanned::Spanned;

use super::check::Checked;
use super::parse::Function;
use crate::paths::Paths;

pub(super) fn emit(checked: Checked, paths: &Paths) -> TokenStream {
    let Checked { function: Function { attrs, vis, signature, .. }, body, conn, conn_type, output, emit } = checked;
    let (module, wait) = match signature.asyncness {
        Some(_) => (quote_spanned!(conn_type=> aio), quote!(.await)),
        None => (quote_spanned!(conn_type=> sync), quote!()),
    };
    let (ident, mutability) = (&conn.ident, &conn.mutability);
    let (tx_paths, outcome_paths) = (paths.at(conn_type), paths.at(output.span()));
    let tx = quote_spanned!(conn_type=> #tx_paths::#module::Tx);
    let outcome = quote_spanned!(output.span()=> <#output as #outcome_paths::Outcome>);
    let begin = quote_spanned!(conn_type=> #tx::begin);
    let get = quote_spanned!(conn_type=> #tx::conn);
    let finish = quote_spanned!(conn_type=> #tx::finish);

    let body = quote_spanned! {Span::mixed_site()=> {
        #[allow(unused_variables, unused_mut)]
        let #mutability #ident = #get(tx);
        #body
    }};
    // The declared type lets `?` in the body find its error's type.
    let run = match signature.asyncness {
        Some(_) => quote!(async move #body.await),
        None => quote!((move || -> #output #body)()),
    };
    let emitted = emit.map(|events| {
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
    quote_spanned! {Span::mixed_site()=>
        #(#attrs)*
        #vis #signature {
            let mut tx = match #begin(&mut *#ident)#wait {
                ::core::result::Result::Ok(tx) => tx,
                ::core::result::Result::Err(error) => return #outcome::from_db(error),
            };
            let out: #output = {
                let tx = &mut tx;
                #run
            };
            #emitted
            match #finish(tx, #outcome::is_ok(&out))#wait {
                ::core::result::Result::Ok(()) => out,
                ::core::result::Result::Err(error) => #outcome::from_db(error),
            }
        }
    }
}
