//! What this workspace may depend on: licenses, banned crates, one version of what is shared.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::process::Command;

use serde_json::Value;

/// Licenses that ask for no more than to be named.
const LICENSES: [&str; 9] = [
    "MIT",
    "Apache-2.0",
    "BSD-2-Clause",
    "BSD-3-Clause",
    "ISC",
    "Zlib",
    "Unicode-3.0",
    "CC0-1.0",
    "BSL-1.0",
];

/// Crates that need what a machine may not have, or minutes of compiling C.
const BANNED: [&str; 2] = ["openssl-sys", "aws-lc-sys"];

/// Crates whose types are part of ours, or that are large: two versions are a mistake.
const SINGLE: [&str; 8] =
    ["tokio", "hyper", "rustls", "k8s-openapi", "serde_json", "prost", "tonic", "http"];

/// Every package that a build for Linux has, tests and build scripts included. (Other platforms
/// bring crates that no build of this project sees.)
fn packages() -> Vec<Value> {
    let output = Command::new(env!("CARGO"))
        .args(["metadata", "--format-version", "1", "--all-features", "--offline"])
        .args(["--filter-platform", "x86_64-unknown-linux-gnu"])
        .current_dir(Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap())
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let metadata: Value = serde_json::from_slice(&output.stdout).unwrap();
    let packages = metadata["packages"].as_array().unwrap().clone();
    assert!(packages.len() > 100, "only {} packages were found", packages.len());
    packages
}

/// Whether an SPDX expression can be met with the licenses above. An exception only widens.
fn is_fine(expression: &str) -> bool {
    // Old manifests say `MIT/Apache-2.0`.
    let spaced = expression.replace('/', " OR ").replace('(', " ( ").replace(')', " ) ");
    let mut words = spaced.split_whitespace().peekable();
    let fine = any(&mut words);
    fine && words.next().is_none()
}

type Words<'a> = std::iter::Peekable<std::str::SplitWhitespace<'a>>;

fn any(words: &mut Words<'_>) -> bool {
    let mut fine = all(words);
    while words.next_if_eq(&"OR").is_some() {
        fine |= all(words);
    }
    fine
}

fn all(words: &mut Words<'_>) -> bool {
    let mut fine = one(words);
    while words.next_if_eq(&"AND").is_some() {
        fine &= one(words);
    }
    fine
}

fn one(words: &mut Words<'_>) -> bool {
    let fine = match words.next() {
        Some("(") => {
            let fine = any(words);
            words.next() == Some(")") && fine
        }
        Some(license) => LICENSES.contains(&license),
        None => false,
    };
    if words.next_if_eq(&"WITH").is_some() {
        words.next();
    }
    fine
}

#[test]
fn license_expressions_are_understood() {
    let table = [
        ("MIT", true),
        ("MIT OR GPL-3.0", true),
        ("MIT/Unlicense", true),
        ("MIT AND GPL-3.0", false),
        ("(MIT OR Apache-2.0) AND Unicode-3.0", true),
        ("(MIT OR Apache-2.0) AND MPL-2.0", false),
        ("GPL-2.0 OR MIT AND ISC", true),
        ("Apache-2.0 WITH LLVM-exception", true),
        ("LGPL-3.0 WITH anything", false),
        ("", false),
        ("MIT (", false),
        ("MPL-2.0", false),
    ];
    for (expression, expect) in table {
        assert_eq!(is_fine(expression), expect, "{expression:?}");
    }
}

#[test]
fn every_dependency_has_a_license_that_we_take() {
    let refused: Vec<String> = packages()
        .iter()
        .filter(|package| !is_fine(package["license"].as_str().unwrap_or_default()))
        .map(|package| {
            format!("{} {}: {}", package["name"], package["version"], package["license"])
        })
        .collect();
    assert!(refused.is_empty(), "{}", refused.join("\n"));
}

#[test]
fn nothing_banned_is_among_the_dependencies_and_nothing_shared_is_there_twice() {
    let mut versions: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for package in packages() {
        let text = |key: &str| package[key].as_str().unwrap().to_owned();
        versions.entry(text("name")).or_default().insert(text("version"));
    }
    for name in BANNED {
        assert!(!versions.contains_key(name), "{name} is banned");
    }
    for name in SINGLE {
        let found = versions.get(name).cloned().unwrap_or_default();
        assert!(found.len() <= 1, "{name} is there as {found:?}");
    }
}
