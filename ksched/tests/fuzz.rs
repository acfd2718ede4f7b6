//! X10: no bytes make a parser of this crate panic.

use ksched::fuzz::{TARGETS, hammer};

#[test]
fn no_bytes_make_a_parser_panic_x10() {
    for target in TARGETS {
        hammer(target, 20_000);
    }
}

#[test]
fn each_body_is_a_target_of_the_fuzzer_x10() {
    let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../fuzz/fuzz_targets");
    for target in TARGETS {
        let file = folder.join(format!("{}.rs", target.name));
        let text = std::fs::read_to_string(&file).unwrap_or_default();
        let call = format!("ksched::fuzz::run(\"{}\", data)", target.name);
        assert!(text.contains(&call), "{}", file.display());
    }
}
