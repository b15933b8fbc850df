//! What authors may not write: each refusal names its cure. The messages are beside the cases; `TRYBUILD=overwrite` renews them.

#[test]
fn each_refusal_names_its_cure() {
    trybuild::TestCases::new().compile_fail("tests/refused/*.rs");
}
