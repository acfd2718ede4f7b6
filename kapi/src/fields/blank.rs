//! The state before there is one: what a create is compared with.

use serde_json::{Map, Value};

use crate::schema::{Node, NodeId, Object, Tree};

/// Members that are part of their owner and there even if nobody set them. Nobody owns such a
/// member as such, only what is in it.
const EMBEDDED: [(&str, &str); 22] = [
    ("CronJobSpec", "jobTemplate"),
    ("CustomResourceDefinitionSpec", "names"),
    ("CustomResourceDefinitionStatus", "acceptedNames"),
    ("DaemonSetSpec", "template"),
    ("DaemonSetSpec", "updateStrategy"),
    ("DeploymentSpec", "strategy"),
    ("DeploymentSpec", "template"),
    ("HorizontalPodAutoscalerSpec", "scaleTargetRef"),
    ("IngressStatus", "loadBalancer"),
    ("JobSpec", "template"),
    ("JobTemplateSpec", "metadata"),
    ("JobTemplateSpec", "spec"),
    ("NetworkPolicySpec", "podSelector"),
    ("PodTemplate", "template"),
    ("PodTemplateSpec", "metadata"),
    ("PodTemplateSpec", "spec"),
    ("ReplicaSetSpec", "template"),
    ("ResourceClaimSpec", "devices"),
    ("ResourceClaimTemplateSpec", "spec"),
    ("ServiceStatus", "loadBalancer"),
    ("StatefulSetSpec", "template"),
    ("StatefulSetSpec", "updateStrategy"),
];
/// The same of every kind.
const EMBEDDED_EVERYWHERE: [&str; 3] = ["metadata", "spec", "status"];

/// An object of a kind in which nothing is set, as JSON.
pub(crate) fn blank_json(tree: &Tree) -> &[u8] {
    tree.blank.get_or_init(|| blank(tree).to_string().into_bytes())
}

/// An object of a kind in which nothing is set.
pub(super) fn blank(tree: &Tree) -> Value {
    match tree.node(tree.root()) {
        Node::Object(root) => Value::Object(members(tree, root, tree.root())),
        _ => Value::Object(Map::new()),
    }
}

fn members(tree: &Tree, object: &Object, node: NodeId) -> Map<String, Value> {
    let mut out = Map::new();
    for field in object.fields() {
        let name = field.name.as_str();
        let embedded = (node == tree.root() && EMBEDDED_EVERYWHERE.contains(&name))
            || EMBEDDED.contains(&(object.short_name(), name));
        match tree.node(field.node) {
            Node::Object(inner) if embedded => {
                let inner = members(tree, inner, field.node);
                out.insert(name.to_owned(), Value::Object(inner));
            }
            // A list that must be there is there, with nothing in it.
            Node::List(_) | Node::Map(_) if field.required => {
                out.insert(name.to_owned(), Value::Null);
            }
            _ => {}
        }
    }
    out
}
