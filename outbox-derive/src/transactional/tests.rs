//! What the attribute expands to.

use proc_macro2::TokenStream;
use quote::quote;

fn expanded(options: TokenStream, item: TokenStream) -> String {
    let tokens = super::expand(options, item);
    prettyplease::unparse(&syn2::parse2(tokens).expect("an item"))
}

#[test]
fn an_async_function() {
    let expanded = expanded(
        quote!(emit = |user| UserCreated::from(user)),
        quote! {
            /// Creates.
            pub async fn create(mut conn: &mut AsyncPgConnection, new: NewUser) -> Result<impl Named, AppError> {
                insert(&mut conn, new).await
            }
        },
    );
    insta::assert_snapshot!(expanded);
}

#[test]
fn a_blocking_method() {
    let expanded = expanded(
        quote!(conn = db, crate = renamed::outbox),
        quote! {
            fn create<C: Connection<Backend = Pg>>(&self, db: &mut C) -> QueryResult<()> {
                insert(db)
            }
        },
    );
    insta::assert_snapshot!(expanded);
}
