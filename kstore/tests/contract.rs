//! The Contract lists of the seam and the cases of the suite are one list.

use std::collections::BTreeSet;

use kstore::conformance::{CASES, Capabilities};

/// The names that the Contract lists of a source file give, and the methods that have no list.
fn contracts(source: &str) -> (Vec<String>, Vec<String>) {
    let (mut names, mut bare) = (Vec::new(), Vec::new());
    let (mut in_list, mut listed) = (false, 0);
    for line in source.lines().map(str::trim) {
        if line == "/// # Contract" {
            in_list = true;
        } else if let Some(item) = line.strip_prefix("/// - `").filter(|_| in_list) {
            names.extend(item.split('`').next().map(str::to_owned));
            listed += 1;
        } else if line.starts_with("async fn ") || line.starts_with("fn ") {
            if listed == 0 {
                bare.push(line.to_owned());
            }
            (in_list, listed) = (false, 0);
        }
    }
    (names, bare)
}

#[test]
fn contract_lists_name_exactly_the_cases_of_the_suite() {
    let (mut listed, mut bare) = contracts(include_str!("../src/store.rs"));
    let (leases, lease_bare) = contracts(include_str!("../src/lease.rs"));
    listed.extend(leases);
    // The one function of that file that is no method of the seam.
    bare.extend(lease_bare.into_iter().filter(|line| !line.starts_with("fn fmt(")));
    assert_eq!(bare, [""; 0], "methods without a Contract list");
    let unique: BTreeSet<&str> = listed.iter().map(String::as_str).collect();
    assert_eq!(unique.len(), listed.len(), "a line is in two lists");
    let cases: BTreeSet<&str> = CASES.iter().map(|case| case.name).collect();
    assert_eq!(cases.len(), CASES.len(), "a case is listed twice");
    assert_eq!(unique, cases);
}

#[test]
fn the_parser_sees_a_method_without_a_list() {
    let source = "/// # Contract\n/// - `a`: x.\nasync fn one();\n/// Nothing.\nfn two();";
    assert_eq!(contracts(source), (vec!["a".to_owned()], vec!["fn two();".to_owned()]));
}

#[test]
fn every_capability_that_a_case_needs_exists() {
    for case in CASES {
        assert!(Capabilities::default().has(case.capability).is_some(), "{case:?}");
    }
}
