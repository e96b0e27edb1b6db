//! What the derives expand to, for every option.

use proc_macro2::TokenStream;
use quote::quote;

fn pretty(tokens: TokenStream) -> String {
    prettyplease::unparse(&syn2::parse2(tokens).expect("items"))
}

fn expand(item: TokenStream) -> String {
    pretty(super::expand(item))
}

/// Looks for pieces of code, however they are broken into lines.
fn assert_expands(item: TokenStream, lines: &[&str]) {
    let squeezed = |text: &str| text.split_whitespace().collect::<String>();
    let expanded = squeezed(&expand(item));
    for line in lines {
        assert!(expanded.contains(&squeezed(line)), "{line}\nis not in\n{expanded}");
    }
}

#[test]
fn a_struct_without_options() {
    insta::assert_snapshot!(expand(quote! {
        struct UserCreated {
            email: String,
        }
    }));
}

#[test]
fn an_enum_with_a_bit_of_everything() {
    insta::assert_snapshot!(expand(quote! {
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
    }));
}

#[test]
fn every_option_of_a_type() {
    insta::assert_snapshot!(expand(quote! {
        #[event_log(name = "seen", version = 3, upcast = old::upgrade, table = "seen", layout = "columns", crate = my::outbox)]
        #[event_log(ddl(engine = "MergeTree", order_by = "a", partition_by = "b", ttl = "c"), rename_all = "UPPERCASE")]
        struct PageSeen {
            path: String,
        }
    }));
}

#[test]
fn every_option_of_a_field() {
    insta::assert_snapshot!(expand(quote! {
        #[event_log(layout = "columns")]
        struct PageSeen<'a, T, U> {
            #[event_log(key, with = hash)]
            user: &'a str,
            #[event_log(timestamp, rename = "at")]
            time: T,
            #[event_log(skip)]
            hidden: U,
            #[event_log(flatten)]
            place: Place<T>,
            #[event_log(flatten, with = short)]
            device: Device,
            #[event_log(sensitive)]
            password: U,
            #[event_log(ch(type = "LowCardinality(String)", codec = "ZSTD(3)", default = "'x'", comment = "why"))]
            kind: T,
            #[serde(skip_serializing_if = "Vec::is_empty", rename = "labels")]
            tags: Vec<T>,
        }
    }));
}

#[test]
fn a_wrapped_event_brings_its_columns() {
    insta::assert_snapshot!(expand(quote! {
        #[event_log(layout = "columns", ddl(ttl = "a"))]
        enum Ledger<E> {
            Booked(E),
            #[event_log(layout = "context")]
            Noted(Note),
        }
    }));
}

#[test]
fn the_columns_of_a_flattened_struct() {
    insta::assert_snapshot!(pretty(super::members::expand(quote! {
        #[serde(rename_all = "camelCase")]
        struct Place<T> {
            city_name: String,
            #[event_log(ch(type = "FixedString(2)"))]
            country: T,
            #[serde(flatten)]
            more: More<T>,
            #[serde(skip)]
            cache: u8,
        }
    })));
}

#[test]
fn a_faulty_item_gets_empty_implementations_beside_its_faults() {
    insta::assert_snapshot!(expand(quote! {
        #[event_log(verison = 2)]
        struct UserCreated<T: Clone> {
            #[event_log(kee)]
            email: T,
        }
    }));
}

#[test]
fn a_sensitive_field_is_never_read() {
    let item = quote! {
        struct Login {
            #[event_log(sensitive)]
            password: Secret,
        }
    };
    assert_expands(item, &["let _ = field_0;", "PayloadWriter::redacted(&mut payload, \"password\")?;"]);
}

#[test]
fn a_field_that_mentions_no_parameter_adds_no_bound() {
    let expanded = expand(quote! {
        struct Login<T> {
            plain: Vec<u8>,
            #[event_log(sensitive)]
            password: T,
            nothing: PhantomData<u8>,
        }
    });
    assert!(!expanded.contains("where"), "{expanded}");
}
