//! Bodies of fuzz targets (X10).
//!
//! Not part of the API: feature `fuzz` is for this workspace's own tests and `fuzz/`.

use bytes::Bytes;
use k8s_openapi::api::core::v1::Pod;
pub use kcore::fuzz::{Target, hammer};

pub use crate::http::fuzz::{path, query, yaml};
use crate::schema::{SchemaSource, check, duplicates};
use crate::{patch, protobuf};

/// What patches are put on.
const POD: &str = r#"{"apiVersion":"v1","kind":"Pod","metadata":{"name":"a","labels":{"x":"y"},
"finalizers":["f"]},"spec":{"containers":[{"name":"c","image":"i","ports":[{"containerPort":80}],
"env":[{"name":"E","value":"1"}]},{"name":"d"}],"volumes":[{"name":"v","emptyDir":{}}]}}"#;

/// The parsers of this crate that meet a stranger's bytes.
pub const TARGETS: &[Target] = &[
    Target {
        name: "kapi_path",
        body: path,
        seeds: &[
            "/api/v1/namespaces/default/pods/a/log",
            "/apis/apps/v1/watch/namespaces/x/deployments",
            "/api/v1/namespaces/n/services/a:80/proxy/b/c%2Fd",
        ],
    },
    Target {
        name: "kapi_query",
        body: query,
        seeds: &[
            "labelSelector=a%3Db&fieldSelector=metadata.name%3Dx&limit=5&continue=abc",
            "watch=1&resourceVersion=7&sendInitialEvents=true&allowWatchBookmarks=true",
            "dryRun=All&fieldManager=m&force=true&fieldValidation=Strict",
            "gracePeriodSeconds=-1&propagationPolicy=Foreground&timeoutSeconds=9",
        ],
    },
    Target {
        name: "kapi_strategic_patch",
        body: strategic_patch,
        seeds: &[
            r#"{"spec":{"containers":[{"name":"c","image":"j"},{"$patch":"delete","name":"d"}]}}"#,
            r#"{"spec":{"$setElementOrder/containers":[{"name":"d"},{"name":"c"}]}}"#,
            r#"{"metadata":{"$deleteFromPrimitiveList/finalizers":["f"],"labels":{"x":null}}}"#,
            r#"{"spec":{"volumes":[{"name":"v","$retainKeys":["name"]}],"$patch":"replace"}}"#,
        ],
    },
    Target {
        name: "kapi_json_patch",
        body: json_patch,
        seeds: &[
            r#"[{"op":"add","path":"/metadata/labels/a~1b","value":1},{"op":"remove","path":""}]"#,
            r#"[{"op":"move","from":"/spec","path":"/spec/a/-"},{"op":"test","path":"/"}]"#,
            r#"[{"op":"copy","from":"/spec/containers/0","path":"/spec/containers/9"}]"#,
            r#"[{"op":"replace","path":"/spec/containers/00/name","value":null}]"#,
        ],
    },
    Target {
        name: "kapi_merge_patch",
        body: merge_patch,
        seeds: &[r#"{"metadata":{"labels":null},"spec":{"containers":[]}}"#, "null", "[1]", "7"],
    },
    Target {
        name: "kapi_protobuf",
        body: protobuf_envelope,
        seeds: &[
            "k8s\0\n2\n\x17authorization.k8s.io/v1\x12\x17SelfSubjectAccessReview\x12\x02\x12\0",
            "k8s\0\n\x0c\n\x02v1\x12\x06Secret\x12\x04\n\x02\n\0",
            "k8s\0",
        ],
    },
    Target {
        name: "kapi_yaml",
        body: yaml,
        seeds: &[
            "kind: Pod\nmetadata: {name: a, labels: {x: \"y\"}}\nspec:\n  a: [1, ~]\n",
            "a: &a [1]\nb: [*a, *a]\n",
            "? |\n  long\n: >-\n  folded\n---\nb: !!str 1\n",
        ],
    },
    Target {
        name: "kapi_token",
        body: token,
        seeds: &[
            // {"alg":"ES256","kid":"k"} {"iss":"i","kubernetes.io":{}}
            "eyJhbGciOiJFUzI1NiIsImtpZCI6ImsifQ.eyJpc3MiOiJpIiwia3ViZXJuZXRlcy5pbyI6e319.AAAA",
            "eyJhbGciOiJub25lIiwia2lkIjoiIn0.e30.",
            "a.b.c",
        ],
    },
    Target {
        name: "kapi_fields",
        body: fields,
        seeds: &[
            POD,
            r#"{"spec":{"replicas":3e400,"containers":[{"name":1,"name":"a","x":{}}]}}"#,
            r#"{"metadata":{"managedFields":[{"fieldsV1":{"f:a":{}}}]},"status":{"startTime":""}}"#,
        ],
    },
];

/// The schema that bodies are held against.
static PODS: SchemaSource = SchemaSource::of::<Pod>();

/// What comes of a patch is JSON.
fn judge(result: Result<Vec<u8>, patch::PatchError>) {
    if let Ok(json) = result {
        serde_json::from_slice::<serde_json::Value>(&json).expect("a patched object is JSON");
    }
}

/// Runs the target of that name.
pub fn run(name: &str, data: &[u8]) {
    kcore::fuzz::run_of(TARGETS, name, data);
}

/// A strategic merge patch of a Pod.
pub fn strategic_patch(data: &[u8]) {
    judge(patch::strategic(POD.as_bytes(), data, PODS.tree()));
}

/// A JSON patch of a Pod.
pub fn json_patch(data: &[u8]) {
    judge(patch::json(POD.as_bytes(), data));
}

/// A merge patch of a Pod.
pub fn merge_patch(data: &[u8]) {
    judge(patch::merge(POD.as_bytes(), data));
}

/// The envelope that protobuf bodies come in, and the object inside.
pub fn protobuf_envelope(data: &[u8]) {
    if let Ok(Some(json)) = protobuf::to_json(data) {
        let json: Bytes = json;
        serde_json::from_slice::<serde_json::Value>(&json).expect("an object is JSON");
    }
}

/// The token of a ServiceAccount, whoever signed it.
pub fn token(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    crate::auth::service_account::read_unverified(text);
}

/// Field checks of a body, and what lenient clients send.
pub fn fields(data: &[u8]) {
    let tree = PODS.tree();
    for problem in check(tree, data).iter().chain(&duplicates(data)) {
        let _ = problem.to_string();
    }
    if serde_json::from_slice::<serde_json::Value>(data).is_ok()
        && let Some(repaired) = crate::schema::repair(tree, data)
    {
        serde_json::from_slice::<serde_json::Value>(&repaired).expect("what is mended is JSON");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The fuzzer starts from what is understood, or it would never get behind the door.
    #[test]
    fn seeds_are_understood() {
        let seeds = |name: &str| TARGETS.iter().find(|target| target.name == name).unwrap().seeds;
        let bytes = |name: &str| seeds(name)[0].as_bytes();
        assert!(protobuf::to_json(bytes("kapi_protobuf")).unwrap().is_some());
        assert!(patch::json(POD.as_bytes(), bytes("kapi_json_patch")).is_err(), "no such label");
        assert!(check(PODS.tree(), bytes("kapi_fields")).is_empty());
        for seed in seeds("kapi_strategic_patch") {
            assert!(
                patch::strategic(POD.as_bytes(), seed.as_bytes(), PODS.tree()).is_ok(),
                "{seed}"
            );
        }
    }
}
