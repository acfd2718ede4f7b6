//! Questions and answers in the form of `k8s.io/kube-scheduler/extender/v1`.
//!
//! The names of its fields are Go's. Answers may spell them in any case, as Go reads them.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use k8s_openapi::api::core::v1::{Container, Pod};
use serde_json::{Value, json};

use crate::framework::{Filtered, NodeVictims};
use crate::snapshot::{NodeInfo, PodInfo};

/// How an extender is told of nodes and victims.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Form {
    /// As whole objects.
    Whole,
    /// By name and by uid: it knows the objects itself (`nodeCacheCapable`).
    Named,
}

/// `ExtenderArgs`: a pod and nodes.
pub(super) fn about_nodes(pod: &PodInfo, nodes: &[Arc<NodeInfo>], form: Form) -> Vec<u8> {
    let names = || nodes.iter().map(|node| Value::from(node.name())).collect::<Value>();
    let items = || nodes.iter().map(|node| json!(**node.node())).collect::<Value>();
    let question = match form {
        Form::Named => json!({"Pod": **pod.pod(), "Nodes": null, "NodeNames": names()}),
        Form::Whole => {
            let list = json!({"metadata": {}, "items": items()});
            json!({"Pod": **pod.pod(), "Nodes": list, "NodeNames": null})
        }
    };
    question.to_string().into_bytes()
}

/// `ExtenderPreemptionArgs`: who would have to leave which node.
pub(super) fn about_victims(
    pod: &PodInfo,
    victims: &BTreeMap<String, NodeVictims>,
    form: Form,
) -> Vec<u8> {
    let one = |victim: &Arc<PodInfo>| match form {
        Form::Named => json!({"UID": victim.uid()}),
        Form::Whole => json!(**victim.pod()),
    };
    let victims: serde_json::Map<String, Value> = victims
        .iter()
        .map(|(node, victims)| {
            let pods: Value = victims.pods.iter().map(one).collect();
            let victims = json!({"Pods": pods, "NumPDBViolations": victims.violations});
            (node.clone(), victims)
        })
        .collect();
    let (whole, meta) = match form {
        Form::Named => (Value::Null, victims.into()),
        Form::Whole => (victims.into(), Value::Null),
    };
    let question = json!({"Pod": **pod.pod(), "NodeNameToVictims": whole,
        "NodeNameToMetaVictims": meta});
    question.to_string().into_bytes()
}

/// `ExtenderBindingArgs`.
pub(super) fn about_binding(pod: &PodInfo, node: &str) -> Vec<u8> {
    let question = json!({"PodName": pod.name(), "PodNamespace": pod.namespace(),
        "PodUID": pod.uid(), "Node": node});
    question.to_string().into_bytes()
}

/// A field of an object, in any case; null is none.
fn field<'a>(object: &'a Value, name: &str) -> Option<&'a Value> {
    let fields = object.as_object()?;
    let found = fields.iter().find(|(key, _)| key.eq_ignore_ascii_case(name));
    found.map(|(_, value)| value).filter(|value| !value.is_null())
}

/// What an answer says went wrong.
pub(super) fn error(answer: &Value) -> Option<String> {
    let text = field(answer, "error")?.as_str()?;
    (!text.is_empty()).then(|| text.to_owned())
}

fn reasons(answer: &Value, name: &str) -> Result<BTreeMap<String, String>, String> {
    let Some(map) = field(answer, name) else { return Ok(BTreeMap::new()) };
    let map = map.as_object().ok_or_else(|| format!("{name} is no map"))?;
    map.iter()
        .map(|(node, why)| {
            let why = why.as_str().ok_or_else(|| format!("{name}[{node}] is no text"))?;
            Ok((node.clone(), why.to_owned()))
        })
        .collect()
}

/// Reads an `ExtenderFilterResult`.
pub(super) fn filtered(answer: &Value, form: Form) -> Result<Filtered, String> {
    if !answer.is_object() {
        return Err("no ExtenderFilterResult: an object is expected".to_owned());
    }
    if let Some(error) = error(answer) {
        return Err(error);
    }
    let text = |value: &Value, what: &str| {
        value.as_str().map(str::to_owned).ok_or_else(|| format!("{what} is no text"))
    };
    let list = |value: &'_ Value, what: &str| {
        value.as_array().cloned().ok_or_else(|| format!("{what} is no list"))
    };
    let names = field(answer, "nodeNames").filter(|_| form == Form::Named);
    let passed = match (names, field(answer, "nodes")) {
        (Some(names), _) => {
            list(names, "NodeNames")?.iter().map(|name| text(name, "a name of NodeNames")).collect()
        }
        (None, Some(nodes)) => {
            let items = field(nodes, "items").map(|items| list(items, "Nodes.items"));
            let name = |node: &Value| {
                let name = field(node, "metadata").and_then(|meta| field(meta, "name"));
                name.map_or_else(
                    || Err("a node of Nodes has no name".to_owned()),
                    |name| text(name, "a node's name"),
                )
            };
            items.transpose()?.unwrap_or_default().iter().map(name).collect()
        }
        (None, None) => Ok(Vec::new()),
    };
    Ok(Filtered {
        passed: passed?,
        failed: reasons(answer, "failedNodes")?,
        unresolvable: reasons(answer, "failedAndUnresolvableNodes")?,
    })
}

/// Reads a `HostPriorityList`.
pub(super) fn priorities(answer: &Value) -> Result<Vec<(String, i64)>, String> {
    let hosts = answer.as_array().ok_or("no HostPriorityList: a list is expected")?;
    let read = |host: &Value| {
        let name = field(host, "host").and_then(Value::as_str).ok_or("an entry has no Host")?;
        let score = match field(host, "score") {
            None => 0,
            Some(score) => {
                score.as_i64().ok_or_else(|| format!("the score of {name:?} is no whole number"))?
            }
        };
        Ok((name.to_owned(), score))
    };
    hosts.iter().map(read).collect()
}

/// Reads an `ExtenderPreemptionResult`.
pub(super) fn victims(answer: &Value) -> Result<BTreeMap<String, (Vec<String>, usize)>, String> {
    if !answer.is_object() {
        return Err("no ExtenderPreemptionResult: an object is expected".to_owned());
    }
    let Some(map) = field(answer, "nodeNameToMetaVictims") else { return Ok(BTreeMap::new()) };
    let map = map.as_object().ok_or("NodeNameToMetaVictims is no map")?;
    let read = |(node, victims): (&String, &Value)| {
        let pods = field(victims, "pods").and_then(Value::as_array);
        let uid = |pod: &Value| {
            let uid = field(pod, "uid").and_then(Value::as_str).map(str::to_owned);
            uid.ok_or_else(|| format!("a victim on node {node:?} has no UID"))
        };
        let pods: Result<Vec<String>, String> = pods.into_iter().flatten().map(uid).collect();
        let violations = field(victims, "numPDBViolations").and_then(Value::as_u64);
        let violations = usize::try_from(violations.unwrap_or_default()).unwrap_or(usize::MAX);
        Ok((node.clone(), (pods?, violations)))
    };
    map.iter().map(read).collect()
}

/// Whether a pod asks for one of these resources, in any container.
pub(super) fn mentions(pod: &Pod, resources: &BTreeSet<String>) -> bool {
    let asks = |container: &Container| {
        let all = container.resources.iter();
        let mut all = all.flat_map(|all| all.requests.iter().chain(&all.limits));
        all.any(|map| map.keys().any(|name| resources.contains(name)))
    };
    let spec = pod.spec.as_ref();
    spec.is_some_and(|spec| {
        let mut all = spec.containers.iter().chain(spec.init_containers.iter().flatten());
        all.any(asks)
    })
}
