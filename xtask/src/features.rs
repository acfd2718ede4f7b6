//! Each feature of each crate compiles by itself: what a user may choose, works.

use std::process::Command;

use anyhow::{Context as _, ensure};
use serde_json::Value;

use crate::run::cargo;

/// A crate of this workspace with its features.
struct Package {
    name: String,
    features: Vec<String>,
}

/// Checks every published crate without features, and with each of them alone.
pub(crate) fn check() -> anyhow::Result<()> {
    for Package { name, features } in packages()? {
        let bare = ["check", "--quiet", "--package", &name, "--no-default-features"];
        println!("checking {name} without features");
        cargo(&bare, &[])?;
        for feature in &features {
            println!("checking {name} with {feature} alone");
            cargo(&[&bare[..], &["--features", feature]].concat(), &[])?;
        }
    }
    Ok(())
}

/// The published crates of this workspace.
fn packages() -> anyhow::Result<Vec<Package>> {
    let cargo = std::env::var("CARGO").unwrap_or_else(|_| "cargo".to_owned());
    let output = Command::new(cargo)
        .args(["metadata", "--format-version", "1", "--no-deps"])
        .output()
        .context("cargo cannot be started")?;
    ensure!(output.status.success(), "cargo metadata failed");
    let metadata: Value = serde_json::from_slice(&output.stdout)?;
    let packages = metadata["packages"].as_array().context("metadata has no packages")?;
    // `publish = false` is an empty list of registries.
    let published = packages.iter().filter(|package| package["publish"].is_null());
    let packages = published.map(|package| {
        let features = package["features"].as_object().context("a package has features")?;
        Ok(Package {
            name: package["name"].as_str().context("a package has a name")?.to_owned(),
            features: features.keys().cloned().collect(),
        })
    });
    let packages: Vec<Package> = packages.collect::<anyhow::Result<_>>()?;
    ensure!(packages.len() >= 7, "only {} crates were found", packages.len());
    Ok(packages)
}
