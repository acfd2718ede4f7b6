//! Brings JSON that the API takes, and the Rust types do not, into the form that they take.

use serde_json::Value;

use super::tree::{Node, NodeId, Tree};

/// Quantities given as numbers become texts; nulls become what is not there, as Go decodes them.
/// `None` if the bytes are no JSON.
pub(crate) fn repair(tree: &Tree, json: &[u8]) -> Option<Vec<u8>> {
    let mut value: Value = serde_json::from_slice(json).ok()?;
    visit(tree, tree.root(), &mut value);
    serde_json::to_vec(&value).ok()
}

fn visit(tree: &Tree, node: NodeId, value: &mut Value) {
    match (tree.node(node), value) {
        (Node::Object(object), Value::Object(map)) => {
            map.retain(|_, value| !value.is_null());
            for (name, value) in map {
                if let Some(field) = object.field(name) {
                    visit(tree, field.node, value);
                }
            }
        }
        (Node::Map(inner), Value::Object(map)) => {
            map.values_mut().for_each(|value| element(tree, *inner, value));
        }
        (Node::List(inner), Value::Array(list)) => {
            list.iter_mut().for_each(|value| element(tree, *inner, value));
        }
        (Node::ObjectOr(inner), value @ Value::Object(_)) => visit(tree, *inner, value),
        (Node::Quantity, value @ Value::Number(_)) => *value = Value::String(value.to_string()),
        _ => {}
    }
}

/// A null among a list's or a map's values stands for the empty value.
fn element(tree: &Tree, node: NodeId, value: &mut Value) {
    if !value.is_null() {
        return visit(tree, node, value);
    }
    *value = match tree.node(node) {
        Node::Object(_) | Node::Map(_) => Value::Object(serde_json::Map::new()),
        Node::List(_) => Value::Array(Vec::new()),
        Node::String | Node::Bytes => Value::String(String::new()),
        Node::Quantity => Value::String("0".to_owned()),
        Node::Boolean => Value::Bool(false),
        Node::Int32 | Node::Int64 | Node::Double | Node::IntOrString => Value::from(0),
        Node::Free | Node::ObjectOr(_) | Node::Time => return,
    };
}
