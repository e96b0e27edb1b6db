//! What the macros accept, and what they say about the rest.

/// `TRYBUILD=overwrite cargo test -p outbox-tests ui` writes the messages anew. They are those of the toolchain that the
/// workspace names.
#[test]
fn the_macros_say_what_is_wrong() {
    let cases = trybuild::TestCases::new();
    cases.pass("ui/derive/pass_*.rs");
    cases.compile_fail("ui/derive/fail_*.rs");
    cases.pass("ui/transactional/pass_*.rs");
    cases.compile_fail("ui/transactional/fail_*.rs");
}
