//! What the derive expands to.

use quote::quote;

#[test]
fn an_enum_with_a_bit_of_everything() {
    let tokens = super::expand(quote! {
        #[event_log(name = "ledger", rename_all = "camelCase")]
        enum Ledger<T> {
            Opened {
                #[event_log(key)]
                account_id: Option<u64>,
                #[event_log(timestamp, skip)]
                at: DateTime<Utc>,
                #[event_log(with = hash)]
                owner: String,
                #[event_log(flatten)]
                more: T,
            },
            #[event_log(version = 2, table = "bookings")]
            Booked(Booking),
        }
    });
    insta::assert_snapshot!(prettyplease::unparse(&syn2::parse2(tokens).expect("items")));
}
