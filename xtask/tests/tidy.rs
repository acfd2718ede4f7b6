//! The house rules that a program can check: lengths, absences, the graph of crates.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;

const MAX_COLUMNS: usize = 100;
const MAX_FILE_LINES: usize = 800;
const MAX_FUNCTION_LINES: usize = 70;
const MAX_LIB_LINES: usize = 120;

/// Which siblings a crate may depend on, outside its tests.
const GRAPH: [(&str, &[&str]); 7] = [
    ("kcore", &[]),
    ("kstore", &["kcore"]),
    ("kapi", &["kcore", "kstore"]),
    ("ksched", &["kcore"]),
    ("kcontrol", &["kcore"]),
    ("knode", &["kcore"]),
    ("knet", &["kcore"]),
];

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().to_owned()
}

/// Where unsafe code is allowed, and why.
const UNSAFE: [(&str, &str); 2] = [
    ("knode/tests/fake.rs", "an allocator that counts bytes can only be an unsafe impl"),
    ("kapi/tests/memory.rs", "an allocator that counts bytes can only be an unsafe impl"),
];

/// Every tracked Rust file, with its text.
fn sources() -> Vec<(String, String)> {
    let listing = Command::new("git").args(["ls-files", "*.rs"]).current_dir(root()).output();
    let listing = String::from_utf8(listing.unwrap().stdout).unwrap();
    let sources: Vec<(String, String)> = listing
        .lines()
        .filter(|path| root().join(path).exists())
        .map(|path| (path.to_owned(), std::fs::read_to_string(root().join(path)).unwrap()))
        .collect();
    assert!(sources.len() > 50, "only {} sources were found", sources.len());
    sources
}

fn hold(violations: &[String]) {
    assert!(violations.is_empty(), "{} violations:\n{}", violations.len(), violations.join("\n"));
}

#[test]
fn lines_and_files_are_short() {
    let mut violations = Vec::new();
    for (path, text) in sources() {
        let limit = if path.ends_with("/lib.rs") { MAX_LIB_LINES } else { MAX_FILE_LINES };
        let lines = text.lines().count();
        if lines > limit {
            violations.push(format!("{path}: {lines} lines, at most {limit}"));
        }
        for (at, line) in text.lines().enumerate() {
            // A link cannot be broken.
            let link = line.contains("https://") && line.trim_start().starts_with("//");
            if line.chars().count() > MAX_COLUMNS && !link {
                violations.push(format!("{path}:{}: over {MAX_COLUMNS} columns", at + 1));
            }
        }
    }
    hold(&violations);
}

#[test]
fn functions_are_short() {
    let mut violations = Vec::new();
    for (path, text) in sources() {
        let lines: Vec<&str> = text.lines().collect();
        for (start, line) in lines.iter().enumerate() {
            let Some(length) = function_length(&lines[start..], line) else { continue };
            if length > MAX_FUNCTION_LINES {
                let name = line.trim();
                violations.push(format!("{path}:{}: {length} lines: {name}", start + 1));
            }
        }
    }
    hold(&violations);
}

/// The lines of a function that starts here: to the brace at its own depth, as rustfmt puts it.
fn function_length(rest: &[&str], line: &str) -> Option<usize> {
    let code = line.trim_start();
    let words = ["fn ", "async fn ", "const fn "];
    let plain = code.trim_start_matches("pub(crate) ").trim_start_matches("pub(super) ");
    let plain = plain.trim_start_matches("pub ");
    if !words.iter().any(|word| plain.starts_with(word)) {
        return None;
    }
    let indent = &line[..line.len() - code.len()];
    let close = format!("{indent}}}");
    let end = rest.iter().position(|line| {
        *line == close
            || (line.starts_with(indent)
                && line.trim_end().ends_with(';')
                && line.len() - line.trim_start().len() == indent.len())
    })?;
    Some(end + 1)
}

#[test]
fn libraries_hold_no_code_in_lib_rs() {
    let mut violations = Vec::new();
    for (path, text) in sources().iter().filter(|(path, _)| path.ends_with("/src/lib.rs")) {
        if text.lines().any(|line| line.starts_with("impl") || line.starts_with("fn ")) {
            violations.push(path.clone());
        }
    }
    hold(&violations);
}

#[test]
fn every_module_says_what_lives_in_it() {
    let missing: Vec<String> = sources()
        .into_iter()
        .filter(|(_, text)| {
            let first = text.lines().find(|line| !line.is_empty() && !line.starts_with("#!["));
            let readme = text.starts_with("#![doc = include_str!");
            !readme && !first.is_some_and(|line| line.starts_with("//!"))
        })
        .map(|(path, _)| path)
        .collect();
    hold(&missing);
}

#[test]
fn nothing_is_left_out_or_banned() {
    // Written in parts, so that this file does not find itself.
    let banned = [
        ["todo", "!("].concat(),
        ["unimplemented", "!("].concat(),
        ["#[ig", "nore"].concat(),
        ["```ig", "nore"].concat(),
        ["tokio::sel", "ect!"].concat(),
        ["futures::sel", "ect!"].concat(),
        ["allow(uns", "afe_code"].concat(),
    ];
    let mut violations = Vec::new();
    for (path, text) in sources() {
        if UNSAFE.iter().any(|(allowed, _)| *allowed == path) {
            continue;
        }
        for (at, line) in text.lines().enumerate() {
            let code = line.trim_start();
            let comment = code.starts_with("//") && !code.contains("```");
            let wrapper = path == "kcore/src/macros.rs";
            for word in banned.iter().filter(|word| line.contains(*word) && !comment && !wrapper) {
                violations.push(format!("{path}:{}: {word}", at + 1));
            }
        }
    }
    hold(&violations);
}

fn metadata() -> Value {
    let output = Command::new(env!("CARGO"))
        .args(["metadata", "--format-version", "1", "--no-deps", "--offline"])
        .current_dir(root())
        .output()
        .unwrap();
    serde_json::from_slice(&output.stdout).unwrap()
}

/// Every member's dependencies, as (name, kind, features).
fn dependencies() -> BTreeMap<String, Vec<(String, String, Vec<String>)>> {
    let metadata = metadata();
    let packages = metadata["packages"].as_array().unwrap().iter();
    packages
        .map(|package| {
            let list = package["dependencies"].as_array().unwrap().iter().map(|dependency| {
                let features = dependency["features"].as_array().unwrap().iter();
                (
                    dependency["name"].as_str().unwrap().to_owned(),
                    dependency["kind"].as_str().unwrap_or("normal").to_owned(),
                    features.map(|feature| feature.as_str().unwrap().to_owned()).collect(),
                )
            });
            (package["name"].as_str().unwrap().to_owned(), list.collect())
        })
        .collect()
}

#[test]
fn crates_depend_on_each_other_as_the_house_is_drawn() {
    let dependencies = dependencies();
    let mut violations = Vec::new();
    for (name, allowed) in GRAPH {
        for (other, kind, _) in &dependencies[name] {
            let sibling = GRAPH.iter().any(|(known, _)| known == other);
            if sibling && kind == "normal" && !allowed.contains(&other.as_str()) {
                violations.push(format!("{name} depends on {other}"));
            }
            // A cycle through tests compiles two copies of a crate.
            let base = ["kcore", "kstore", "kapi"].contains(&name);
            if sibling
                && kind == "dev"
                && base
                && other != name
                && !allowed.contains(&other.as_str())
            {
                violations.push(format!("{name} depends on {other} in its tests"));
            }
        }
    }
    hold(&violations);
}

#[test]
fn no_library_chooses_a_kubernetes_version() {
    let dependencies = dependencies();
    let mut violations = Vec::new();
    for (name, _) in GRAPH {
        for (other, kind, features) in &dependencies[name] {
            let chosen = features.iter().any(|feature| feature.starts_with("v1_"));
            if other == "k8s-openapi" && kind == "normal" && chosen {
                violations.push(format!("{name} enables {features:?}"));
            }
        }
    }
    hold(&violations);
}

#[test]
fn every_crate_has_a_readme() {
    for (name, _) in GRAPH {
        let readme = std::fs::read_to_string(root().join(name).join("README.md")).unwrap();
        assert!(readme.starts_with(&format!("# {name}")), "{name}/README.md");
    }
}
