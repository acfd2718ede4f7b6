//! Health and version: what anonymous callers may see.
//! <https://kubernetes.io/docs/reference/using-api/health-checks/>

use std::fmt::Write as _;

use serde_json::{Value, json};

use super::path::Query;
use crate::server::Server;

/// The Kubernetes version whose API is served.
pub(crate) const MAJOR: &str = "1";
k8s_openapi::k8s_if_1_33! { pub(crate) const MINOR: &str = "33"; }
k8s_openapi::k8s_if_1_34! { pub(crate) const MINOR: &str = "34"; }
k8s_openapi::k8s_if_1_35! { pub(crate) const MINOR: &str = "35"; }
k8s_openapi::k8s_if_1_36! { pub(crate) const MINOR: &str = "36"; }
k8s_openapi::k8s_if_1_37! { pub(crate) const MINOR: &str = "37"; }

/// `/version`.
pub(super) fn version() -> Value {
    json!({
        "major": MAJOR,
        "minor": MINOR,
        "gitVersion": format!("v{MAJOR}.{MINOR}.0+kubrick-{}", env!("CARGO_PKG_VERSION")),
        "gitCommit": "",
        "gitTreeState": "clean",
        "buildDate": "1970-01-01T00:00:00Z",
        "goVersion": "",
        "compiler": "rustc",
        "platform": format!("{}/{}", std::env::consts::OS, architecture()),
    })
}

/// The machine's architecture by Go's name, which clients compare with node labels.
fn architecture() -> &'static str {
    match std::env::consts::ARCH {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        other => other,
    }
}

/// One check of a health path, and what is wrong.
type Check = (&'static str, Result<(), String>);

/// The answer of `/healthz`, `/livez` or `/readyz`: whether all is well, and the text.
pub(super) async fn check(server: &Server, path: &str, query: &Query) -> (bool, String) {
    let started = server.ready().await;
    let mut checks: Vec<Check> = vec![("ping", Ok(()))];
    let store = server.store.status().await.map(|_| ()).map_err(|error| error.to_string());
    checks.push(("etcd", store));
    let cache = match started {
        Err(status) => Err(status.message),
        Ok(()) if server.cache.is_ready() => Ok(()),
        Ok(()) => Err("the watch cache is being filled".to_owned()),
    };
    if path != "/livez" {
        checks.push(("informer-sync", cache));
    }
    let excluded = query.get("exclude").unwrap_or_default();
    checks.retain(|(name, _)| *name != excluded);
    render(path, &checks, query.has("verbose"))
}

fn render(path: &str, checks: &[Check], verbose: bool) -> (bool, String) {
    let well = checks.iter().all(|(_, outcome)| outcome.is_ok());
    if well && !verbose {
        return (true, "ok".to_owned());
    }
    let mut text = String::new();
    for (name, outcome) in checks {
        // Writing to a string does not fail.
        let _ = match outcome {
            Ok(()) => writeln!(text, "[+]{name} ok"),
            Err(why) => writeln!(text, "[-]{name} failed: {why}"),
        };
    }
    let name = path.trim_start_matches('/');
    let verdict = if well { "passed" } else { "failed" };
    let _ = writeln!(text, "{name} check {verdict}");
    (well, text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failed_check_is_always_named() {
        let checks = [("ping", Ok(())), ("etcd", Err("gone".to_owned()))];
        let (well, text) = render("/readyz", &checks, false);
        assert!(!well);
        assert_eq!(text, "[+]ping ok\n[-]etcd failed: gone\nreadyz check failed\n");
        assert_eq!(render("/livez", &checks[..1], false), (true, "ok".to_owned()));
    }
}
