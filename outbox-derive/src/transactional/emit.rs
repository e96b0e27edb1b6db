//! The expansion: begin, body, finish, with a guard between them.
//!
//! Not `conn.transaction(closure)`: that has no place for the guard, and its future is not `Send` where the connection is
//! generic (rust-lang/rust#100013). Locals have `mixed_site` spans, so no name of the user's is taken or seen.

use proc_macro2::{Span, TokenStream};
use quote::{quote, quote_spanned};
use syn::spanned::Spanned;

use super::check::Checked;
use super::parse::Function;
use crate::paths::Paths;

pub(super) fn emit(checked: Checked, paths: &Paths) -> TokenStream {
    let Checked { function: Function { attrs, vis, signature, .. }, body, conn, output, emit } = checked;
    let (module, wait) = match signature.asyncness {
        Some(_) => (quote!(aio), quote!(.await)),
        None => (quote!(sync), quote!()),
    };
    let (ident, mutability) = (&conn.ident, &conn.mutability);
    let begun = quote_spanned!(ident.span()=> #paths::#module::Tx::begin(&mut *#ident));
    let failed = quote_spanned!(output.span()=> <#output as #paths::Outcome>::from_db);
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
                    ::core::result::Result::Err(error) => #failed(error),
                },
                failed => failed,
            };
        }
    });
    quote_spanned! {Span::mixed_site()=>
        #(#attrs)*
        #vis #signature {
            let mut tx = match #begun #wait {
                ::core::result::Result::Ok(tx) => tx,
                ::core::result::Result::Err(error) => return #failed(error),
            };
            let out: #output = {
                #[allow(unused_variables, unused_mut)]
                let #mutability #ident = tx.conn();
                #run
            };
            #emitted
            tx.finish(out)#wait
        }
    }
}
