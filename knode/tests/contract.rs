//! The Contract lists in the seam's documents and the suite's cases are the same.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::collections::BTreeSet;

#[test]
fn contract_lists_and_suite_cases_are_the_same() {
    let sources = concat!(env!("CARGO_MANIFEST_DIR"), "/src/runtime");
    let mut listed = BTreeSet::new();
    for entry in std::fs::read_dir(sources).unwrap() {
        let text = std::fs::read_to_string(entry.unwrap().path()).unwrap();
        let items = text.lines().filter_map(|line| line.trim().strip_prefix("/// - `"));
        for item in items {
            let name = item.trim_end_matches('`').to_owned();
            assert!(listed.insert(name.clone()), "{name} is listed twice");
        }
    }
    let cases: BTreeSet<String> =
        knode::conformance::CASES.iter().map(|(name, _)| (*name).to_owned()).collect();
    assert_eq!(listed, cases);
}

#[test]
fn the_seam_takes_pointers_to_backends() {
    use knode::fake::{FakeRuntime, Options};
    use knode::runtime::{Runtime, Version};
    use std::sync::Arc;
    fn takes(runtime: impl Runtime) -> Arc<dyn Runtime> {
        Arc::new(runtime)
    }
    let shared = takes(Arc::new(FakeRuntime::new(Options::default())));
    let boxed = takes(Box::new(shared));
    assert!(boxed.events().is_some());
    assert_eq!(Version::new("a", "1").to_string(), "a://1");
}
