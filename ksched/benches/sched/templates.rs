//! The nodes and pods of the public scheduler benchmark.

use k8s_openapi::api::core::v1::{Node, Pod};
use serde_json::{Value, json};

pub(crate) const HOSTNAME: &str = "kubernetes.io/hostname";
pub(crate) const ZONE: &str = "topology.kubernetes.io/zone";

/// A resource that Kubernetes itself does not know.
pub(crate) const DEVICE: &str = "example.com/device";

/// A node with four CPUs and room for so many pods.
pub(crate) fn node(name: &str, pods: u32, zone: Option<&str>) -> Node {
    let capacity = json!({"cpu": "4", "memory": "32Gi", "pods": pods.to_string()});
    let mut node = json!({"metadata": {"name": name, "labels": {HOSTNAME: name}},
        "status": {"allocatable": capacity, "capacity": capacity,
            "conditions": [{"type": "Ready", "status": "True"}]}});
    if let Some(zone) = zone {
        node["metadata"]["labels"][ZONE] = zone.into();
    }
    serde_json::from_value(node).unwrap()
}

/// A pod that asks for so much, with what `more` puts into it.
pub(crate) fn pod(cpu: &str, memory: &str, more: &Value) -> Pod {
    let requests = json!({"cpu": cpu, "memory": memory});
    let mut pod = json!({"metadata": {}, "spec": {"containers": [{
        "name": "pause", "image": "registry.k8s.io/pause:3.10", "ports": [{"containerPort": 80}],
        "resources": {"requests": requests, "limits": requests}}]}});
    merge(&mut pod, more);
    serde_json::from_value(pod).unwrap()
}

fn merge(into: &mut Value, more: &Value) {
    match (into, more) {
        (Value::Object(into), Value::Object(more)) => {
            for (key, value) in more {
                merge(into.entry(key.clone()).or_insert(Value::Null), value);
            }
        }
        (into, more) => *into = more.clone(),
    }
}

/// Whether a term has to be met.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Form {
    Required,
    Preferred,
}

/// One color, with a term of affinity to it in both namespaces.
pub(crate) fn colored(color: &str, kind: &str, form: Form, topology_key: &str) -> Value {
    let namespaces = json!(["sched-1", "sched-0"]);
    affine(color, kind, form, topology_key, "namespaces", &namespaces)
}

/// The same for namespaces by their labels.
pub(crate) fn selected(color: &str, kind: &str, form: Form, topology_key: &str) -> Value {
    let selector = json!({"matchLabels": {"team": "devops"}});
    affine(color, kind, form, topology_key, "namespaceSelector", &selector)
}

fn affine(
    color: &str,
    kind: &str,
    form: Form,
    topology_key: &str,
    field: &str,
    namespaces: &Value,
) -> Value {
    let term = json!({"labelSelector": {"matchLabels": {"color": color}},
        "topologyKey": topology_key, field: namespaces});
    let terms = match form {
        Form::Preferred => json!({"preferredDuringSchedulingIgnoredDuringExecution":
            [{"weight": 1, "podAffinityTerm": term}]}),
        Form::Required => json!({"requiredDuringSchedulingIgnoredDuringExecution": [term]}),
    };
    json!({"metadata": {"labels": {"color": color}}, "spec": {"affinity": {kind: terms}}})
}

/// A color that is spread over zones.
pub(crate) fn spread(when_unsatisfiable: &str, policies: &Value) -> Value {
    let mut constraint = json!({"maxSkew": 5, "topologyKey": ZONE,
        "whenUnsatisfiable": when_unsatisfiable,
        "labelSelector": {"matchLabels": {"color": "blue"}}});
    merge(&mut constraint, policies);
    json!({"metadata": {"labels": {"color": "blue"}},
        "spec": {"topologySpreadConstraints": [constraint]}})
}

/// Nodes in one of these zones.
pub(crate) fn in_zones() -> Value {
    node_affinity(json!({"matchExpressions":
        [{"key": ZONE, "operator": "In", "values": ["zone1", "zone2"]}]}))
}

/// One node by its name.
pub(crate) fn on_node(name: &str) -> Value {
    let mut pod = node_affinity(json!({"matchFields":
        [{"key": "metadata.name", "operator": "In", "values": [name]}]}));
    pod["spec"]["containers"] = json!([{"name": "pause", "image": "registry.k8s.io/pause:3.10"}]);
    pod
}

fn node_affinity(term: Value) -> Value {
    json!({"spec": {"affinity": {"nodeAffinity":
        {"requiredDuringSchedulingIgnoredDuringExecution": {"nodeSelectorTerms": [term]}}}}})
}
