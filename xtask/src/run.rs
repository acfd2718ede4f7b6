//! Running cargo.

use std::process::Command;

use anyhow::{Context as _, bail};

use crate::{debian, features, tools};

/// The examples that run by themselves and end, and their arguments.
const EXAMPLES: [(&str, &[&str]); 7] = [
    ("api_server_in_a_test", &[]),
    ("custom_programmer", &[]),
    ("custom_runtime", &[]),
    ("custom_store", &[]),
    ("scheduler_plugin", &[]),
    ("quickstart", &["--once"]),
    ("simulated_nodes", &["--nodes", "50", "--pods", "500"]),
];

/// Runs cargo and fails if it does.
pub(crate) fn cargo(arguments: &[&str], environment: &[(&str, &str)]) -> anyhow::Result<()> {
    let cargo = std::env::var("CARGO").unwrap_or_else(|_| "cargo".to_owned());
    let status = Command::new(cargo)
        .args(arguments)
        .envs(environment.iter().copied())
        .status()
        .context("cargo cannot be started")?;
    if !status.success() {
        bail!("cargo {} failed", arguments.join(" "));
    }
    Ok(())
}

/// Everything that must hold.
pub(crate) fn test(more: &[&str]) -> anyhow::Result<()> {
    let kubectl = tools::kubectl()?;
    println!("kubectl: {kubectl}");
    // With these set, a test that lacks a real program fails instead of skipping.
    let mut environment =
        vec![("KUBRICK_KUBECTL", kubectl.as_str()), ("KUBRICK_REQUIRE_TOOLS", "1")];
    let programs = debian::programs()?;
    for (variable, path) in &programs {
        println!("{variable}: {path}");
        environment.push((variable, path));
    }
    for (example, arguments) in EXAMPLES {
        println!("example: {example} {}", arguments.join(" "));
        let run = ["run", "--quiet", "--package", "kubrick-examples", "--example", example, "--"];
        cargo(&[&run[..], arguments].concat(), &[])?;
    }
    let mut arguments = vec!["test", "--workspace", "--all-features"];
    arguments.extend_from_slice(more);
    cargo(&arguments, &environment)
}

/// Formatting, lints, features and documentation. Writes nothing but build output.
pub(crate) fn verify() -> anyhow::Result<()> {
    cargo(&["fmt", "--all", "--check"], &[])?;
    let lints = ["--", "-D", "warnings"];
    let clippy = ["clippy", "--workspace", "--all-targets", "--all-features"];
    cargo(&[&clippy[..], &lints[..]].concat(), &[])?;
    // What a user gets who takes a crate as it is, kcore without the API, each feature alone.
    cargo(&[&["clippy", "--workspace"][..], &lints[..]].concat(), &[])?;
    let bare = ["clippy", "--package", "kcore", "--no-default-features"];
    cargo(&[&bare[..], &lints[..]].concat(), &[])?;
    features::check()?;
    let strict = [("RUSTDOCFLAGS", "-D warnings")];
    cargo(&["doc", "--workspace", "--all-features", "--no-deps"], &strict)
}

/// Mends what can be mended without thought.
pub(crate) fn fix() -> anyhow::Result<()> {
    let clippy = ["clippy", "--fix", "--allow-dirty", "--workspace", "--all-targets"];
    cargo(&[&clippy[..], &["--all-features"][..]].concat(), &[])?;
    cargo(&["fmt", "--all"], &[])
}
