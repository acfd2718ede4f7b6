//! Measuring: each area is a benchmark of a crate that prints its own table.

use anyhow::bail;

use crate::debian;
use crate::run::cargo;

/// Areas, as (name, package, benchmark, features); an area may have several benchmarks.
const AREAS: [(&str, &str, &str, &str); 7] = [
    ("store", "kstore", "store", ""),
    ("store", "kstore", "etcd", "etcd,etcd-server"),
    ("api", "kapi", "api", "serve"),
    ("sched", "ksched", "sched", ""),
    ("sched", "kubrick-examples", "sched_https", ""),
    ("runtime", "knode", "runtime", ""),
    ("cluster", "kubrick-examples", "cluster", ""),
];

/// Runs the benchmarks of some areas, or of all.
pub(crate) fn bench(areas: &[&str]) -> anyhow::Result<()> {
    for area in areas {
        if !AREAS.iter().any(|(name, ..)| name == area) {
            let known: Vec<&str> = AREAS.iter().map(|(name, ..)| *name).collect();
            bail!("{area} is no area to measure; there are: {}", known.join(", "));
        }
    }
    for (name, package, benchmark, features) in AREAS {
        if areas.is_empty() || areas.contains(&name) {
            let drives = package == "kubrick-examples";
            if drives {
                // What it measures are programs of their own.
                let programs = ["--example", "standalone", "--example", "simulated_nodes"];
                let build = ["build", "--release", "--package", package];
                cargo(&[&build[..], &programs[..]].concat(), &[])?;
            }
            let mut arguments = vec!["bench", "--package", package, "--bench", benchmark];
            if drives {
                // It drives those programs, and need not be optimized more than they are.
                arguments.extend(["--profile", "release"]);
            }
            if !features.is_empty() {
                arguments.extend(["--features", features]);
            }
            let programs = if benchmark == "etcd" { debian::programs()? } else { Vec::new() };
            let environment: Vec<(&str, &str)> =
                programs.iter().map(|(variable, path)| (*variable, &path[..])).collect();
            cargo(&arguments, &environment)?;
        }
    }
    Ok(())
}
