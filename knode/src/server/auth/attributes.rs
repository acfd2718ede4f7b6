//! Which permission a request needs: a plain function of method and path.

/// What the API server is asked about a request: may somebody `verb` one of these subresources
/// of this `nodes` object.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Attributes {
    /// The API's verb; empty for a method that is none.
    pub verb: &'static str,
    /// The subresources, the narrowest first; any of them is enough.
    pub subresources: Vec<&'static str>,
}

/// The permission for `method` on `path`.
///
/// `/stats`, `/metrics`, `/logs`, `/checkpoint` have a subresource of their own. `/pods`,
/// `/runningpods`, `/healthz` and `/configz` have one too, and `nodes/proxy` is enough as well,
/// as it was before. All else is `nodes/proxy`.
/// <https://kubernetes.io/docs/reference/access-authn-authz/kubelet-authn-authz/#fine-grained-authorization>
#[must_use]
pub fn compute_attributes(method: &str, path: &str) -> Attributes {
    let verb = match method {
        "POST" => "create",
        "GET" => "get",
        "PUT" => "update",
        "PATCH" => "patch",
        "DELETE" => "delete",
        _ => "",
    };
    let is = |root: &str| is_subpath(path, root);
    let subresources = if is("/stats") {
        vec!["stats"]
    } else if is("/metrics") {
        vec!["metrics"]
    } else if is("/logs") {
        vec!["log"]
    } else if is("/checkpoint") {
        vec!["checkpoint"]
    } else if is("/pods") || is("/runningpods") {
        vec!["pods", "proxy"]
    } else if is("/healthz") {
        vec!["healthz", "proxy"]
    } else if is("/configz") {
        vec!["configz", "proxy"]
    } else {
        vec!["proxy"]
    };
    Attributes { verb, subresources }
}

fn is_subpath(path: &str, root: &str) -> bool {
    path.strip_prefix(root).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_need_the_permissions_that_upstream_asks_for() {
        let check = |method: &str, path: &str, expect: &str| {
            let found = compute_attributes(method, path);
            let shown = format!("{} {}", found.verb, found.subresources.join(","));
            assert_eq!(shown, expect, "{method} {path}");
        };
        check("GET", "/stats/summary", "get stats");
        check("GET", "/metrics", "get metrics");
        check("GET", "/metrics/probes", "get metrics");
        check("GET", "/metricsx", "get proxy");
        check("GET", "/logs/", "get log");
        check("GET", "/pods", "get pods,proxy");
        check("GET", "/pods/", "get pods,proxy");
        check("GET", "/podsx", "get proxy");
        check("GET", "/runningpods/", "get pods,proxy");
        check("GET", "/healthz", "get healthz,proxy");
        check("GET", "/healthz/ping", "get healthz,proxy");
        check("GET", "/configz", "get configz,proxy");
        check("GET", "/containerLogs/ns/p/c", "get proxy");
        check("POST", "/exec/ns/p/c", "create proxy");
        check("POST", "/checkpoint/ns/p/c", "create checkpoint");
        check("PUT", "/x", "update proxy");
        check("PATCH", "/x", "patch proxy");
        check("DELETE", "/x", "delete proxy");
        check("OPTIONS", "/x", " proxy");
        check("GET", "/", "get proxy");
    }
}
