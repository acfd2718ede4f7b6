//! X10: no bytes make a parser of this crate panic.

use kcore::fuzz::{assert_listed, hammer_all};
use ksched::fuzz::TARGETS;

#[test]
fn no_bytes_make_a_parser_panic_x10() {
    hammer_all(TARGETS);
}

#[test]
fn each_body_is_a_target_of_the_fuzzer_x10() {
    assert_listed(TARGETS, "ksched");
}
