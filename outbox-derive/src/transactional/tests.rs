//! What the attribute expands to.

use proc_macro2::TokenStream;
use quote::quote;

fn expanded(options: TokenStream, item: TokenStream) -> String {
    let tokens = super::expand(options, item);
    prettyplease::unparse(&syn2::parse2(tokens).expect("items"))
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

#[test]
fn every_setting_of_the_transaction() {
    let expanded = expanded(
        quote!(isolation = "repeatable read", read_only, nested = "forbid", commit_check = false, crate = outbox),
        quote! {
            fn read(conn: &mut C) -> QueryResult<()> {
                look(conn)
            }
        },
    );
    insta::assert_snapshot!(expanded);
}

#[test]
fn an_async_function_with_retries() {
    let expanded = expanded(
        quote!(retries = 3, retry_delay = "20ms", isolation = "serializable", emit = told),
        quote! {
            async fn place(&self, conn: &mut C, mut order: Order, (a, mut b): (A, B), text: &str) -> Result<Order, AppError> {
                save(conn, &order).await
            }
        },
    );
    insta::assert_snapshot!(expanded);
}

#[test]
fn a_blocking_function_with_retries_from_a_pool() {
    let expanded = expanded(
        quote!(from = &self.pool, conn = db, retries = 1, retry_delay = DELAY, deferrable),
        quote! {
            fn report(&self) -> Result<Box<impl Iterator<Item = u8>>, AppError> {
                look(db)
            }
        },
    );
    insta::assert_snapshot!(expanded);
}

#[test]
fn an_item_with_faults_stays_as_it_is_beside_them() {
    let expanded = expanded(
        quote!(retries = 101, isolaton = "serializable"),
        quote! {
            fn place(conn: &mut C) -> QueryResult<()> {
                save(conn)
            }
        },
    );
    insta::assert_snapshot!(expanded);
}
