//! Sets of fields, in the form in which objects carry them.
//! <https://kubernetes.io/docs/reference/using-api/server-side-apply/#field-management>

use serde_json::{Map, Value};

/// The member that says a place belongs to the set itself, besides what is below it.
const SELF: &str = ".";

type Node = Map<String, Value>;

/// A set of places in an object: the tree that `fieldsV1` holds.
///
/// Elements of a path are `f:NAME` for a member, `k:{…}` for a list's element by its keys and
/// `v:…` for a list's element by its value. A place without anything below it is in the set; one
/// with something below it is if it has a `.`.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Set(Node);

fn is_member(node: &Node) -> bool {
    node.is_empty() || node.contains_key(SELF)
}

fn node(value: &Value) -> Option<&Node> {
    value.as_object()
}

/// What is below a place, the place itself apart.
fn below(node: &Node) -> impl Iterator<Item = (&String, &Node)> {
    node.iter()
        .filter(|(element, _)| *element != SELF)
        .filter_map(|(element, value)| Some((element, value.as_object()?)))
}

/// A place of what is below it and of whether it is in the set; nothing if neither is.
fn place(mut children: Node, member: bool) -> Option<Value> {
    if children.is_empty() {
        return member.then_some(Value::Object(children));
    }
    if member {
        children.insert(SELF.to_owned(), Value::Object(Node::new()));
    }
    Some(Value::Object(children))
}

impl Set {
    /// Reads what an object carries; elements are brought into one spelling.
    pub(crate) fn decode(value: &Value) -> Self {
        fn canonical(node: &Node) -> Node {
            node.iter()
                .filter_map(|(element, value)| {
                    let inner = canonical(value.as_object()?);
                    let spelled = match element.split_at_checked(2) {
                        Some((kind @ ("k:" | "v:"), text)) => {
                            let value: Value = serde_json::from_str(text).ok()?;
                            format!("{kind}{value}")
                        }
                        _ => element.clone(),
                    };
                    Some((spelled, Value::Object(inner)))
                })
                .collect()
        }
        Self(value.as_object().map(canonical).unwrap_or_default())
    }

    /// Takes a tree that is known to be one.
    pub(crate) fn from_tree(tree: Node) -> Self {
        Self(tree)
    }

    /// The tree.
    pub(crate) fn into_tree(self) -> Node {
        self.0
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Puts a place in.
    pub(crate) fn insert<E: AsRef<str>>(&mut self, path: &[E]) {
        self.insert_tree(path, Node::new());
    }

    /// Puts a place in, with what is below it: a tree that is in the set itself.
    pub(crate) fn insert_tree<E: AsRef<str>>(&mut self, path: &[E], tree: Node) {
        let Some((last, parents)) = path.split_last() else { return };
        let mut at = &mut self.0;
        for element in parents {
            let element = element.as_ref();
            if !at.contains_key(element) {
                at.insert(element.to_owned(), Value::Object(Node::new()));
            } else if let Some(Value::Object(inner)) = at.get_mut(element)
                && inner.is_empty()
            {
                // It was in the set; now that something comes below it, it must say so.
                inner.insert(SELF.to_owned(), Value::Object(Node::new()));
            }
            let Some(Value::Object(inner)) = at.get_mut(element) else { return };
            at = inner;
        }
        if let Some(Value::Object(inner)) = at.get_mut(last.as_ref()) {
            Self::unite_nodes(inner, &tree);
            if !is_member(inner) {
                inner.insert(SELF.to_owned(), Value::Object(Node::new()));
            }
        } else {
            at.insert(last.as_ref().to_owned(), Value::Object(tree));
        }
    }

    /// Whether a place is in the set.
    #[cfg(test)]
    pub(crate) fn contains(&self, path: &[&str]) -> bool {
        let mut at = &self.0;
        for element in path {
            let Some(inner) = at.get(*element).and_then(node) else { return false };
            at = inner;
        }
        is_member(at)
    }

    /// Adds what is in another set.
    pub(crate) fn unite(&mut self, other: &Self) {
        Self::unite_nodes(&mut self.0, &other.0);
    }

    /// Adds what is below one place to what is below another.
    fn unite_nodes(into: &mut Node, from: &Node) {
        for (element, other) in below(from) {
            let Some(Value::Object(own)) = into.get_mut(element) else {
                into.insert(element.clone(), Value::Object(other.clone()));
                continue;
            };
            let member = is_member(own) || is_member(other);
            Self::unite_nodes(own, other);
            own.remove(SELF);
            if member && !own.is_empty() {
                own.insert(SELF.to_owned(), Value::Object(Node::new()));
            }
        }
    }

    /// Takes the places out that are in another set. What is below them stays.
    pub(crate) fn subtract(&mut self, other: &Self) {
        Self::filter(&mut self.0, &other.0, false);
    }

    /// Takes the places out that are in another set, with all that is below them.
    pub(crate) fn subtract_below(&mut self, other: &Self) {
        Self::filter(&mut self.0, &other.0, true);
    }

    fn filter(from: &mut Node, other: &Node, deep: bool) {
        for (element, other) in below(other) {
            let Some(Value::Object(own)) = from.get_mut(element) else { continue };
            if deep && is_member(other) {
                from.remove(element);
                continue;
            }
            let member = is_member(own) && !is_member(other);
            Self::filter(own, other, deep);
            own.remove(SELF);
            if own.is_empty() {
                if !member {
                    from.remove(element);
                }
            } else if member {
                own.insert(SELF.to_owned(), Value::Object(Node::new()));
            }
        }
    }

    /// What is in both sets.
    pub(crate) fn intersection(&self, other: &Self) -> Self {
        fn both(one: &Node, other: &Node) -> Node {
            below(one)
                .filter_map(|(element, one)| {
                    let other = other.get(element).and_then(node)?;
                    let member = is_member(one) && is_member(other);
                    place(both(one, other), member).map(|value| (element.clone(), value))
                })
                .collect()
        }
        Self(both(&self.0, &other.0))
    }

    /// What of the set is below one element.
    pub(crate) fn below(&self, element: &str) -> Option<Self> {
        let mut inner = self.0.get(element).and_then(node)?.clone();
        inner.remove(SELF);
        (!inner.is_empty()).then_some(Self(inner))
    }

    /// Whether an element is in the set.
    pub(crate) fn has(&self, element: &str) -> bool {
        self.0.get(element).and_then(node).is_some_and(is_member)
    }

    /// The elements at the top, with whether each is in the set.
    pub(crate) fn elements(&self) -> impl Iterator<Item = &String> {
        below(&self.0).map(|(element, _)| element)
    }

    /// Every place in the set, in words: `.spec.containers[name="a"].image`.
    pub(crate) fn paths(&self) -> Vec<String> {
        fn walk(at: &Node, path: &str, out: &mut Vec<String>) {
            for (element, inner) in below(at) {
                let path = format!("{path}{}", in_words(element));
                if is_member(inner) {
                    out.push(path.clone());
                }
                walk(inner, &path, out);
            }
        }
        let mut out = Vec::new();
        walk(&self.0, "", &mut out);
        out
    }

    /// The same set with something changed in what is below `element`.
    pub(crate) fn replace_below(&mut self, element: &str, inner: Self) {
        let member = self.has(element);
        self.0.remove(element);
        if let Some(value) = place(inner.0, member) {
            self.0.insert(element.to_owned(), value);
        }
    }

    /// Puts one element in.
    pub(crate) fn add(&mut self, element: &str) {
        self.insert(&[element]);
    }
}

/// An element as messages show it.
fn in_words(element: &str) -> String {
    let (kind, text) = element.split_at_checked(2).unwrap_or((element, ""));
    match kind {
        "f:" => format!(".{text}"),
        "k:" => {
            let keys: Node = serde_json::from_str(text).unwrap_or_default();
            let keys: Vec<String> =
                keys.iter().map(|(name, value)| format!("{name}={value}")).collect();
            format!("[{}]", keys.join(","))
        }
        "v:" => format!("[={text}]"),
        "i:" => format!("[{text}]"),
        _ => element.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn set(value: Value) -> Set {
        Set::decode(&value)
    }

    #[test]
    fn places_keep_apart_what_is_below_them() {
        let mut found = Set::default();
        found.insert(&["f:a", "f:b"]);
        assert_eq!(found, set(json!({"f:a": {"f:b": {}}})));
        assert!(!found.contains(&["f:a"]) && found.contains(&["f:a", "f:b"]));
        found.insert(&["f:a"]);
        assert_eq!(found, set(json!({"f:a": {".": {}, "f:b": {}}})));
        found.insert(&["f:c"]);
        found.insert(&["f:c", "f:d"]);
        assert_eq!(found.0["f:c"], json!({".": {}, "f:d": {}}));
    }

    #[test]
    fn sets_are_united_subtracted_and_intersected() {
        let one = || set(json!({"f:a": {".": {}, "f:b": {}, "f:c": {}}, "f:d": {}}));
        for (other, united, left, deep, both) in [
            (
                json!({"f:a": {"f:b": {}}}),
                json!({"f:a": {".": {}, "f:b": {}, "f:c": {}}, "f:d": {}}),
                json!({"f:a": {".": {}, "f:c": {}}, "f:d": {}}),
                json!({"f:a": {".": {}, "f:c": {}}, "f:d": {}}),
                json!({"f:a": {"f:b": {}}}),
            ),
            (
                json!({"f:a": {}, "f:d": {}, "f:x": {}}),
                json!({"f:a": {".": {}, "f:b": {}, "f:c": {}}, "f:d": {}, "f:x": {}}),
                json!({"f:a": {"f:b": {}, "f:c": {}}}),
                json!({}),
                json!({"f:a": {}, "f:d": {}}),
            ),
            (
                json!({"f:a": {"f:b": {}, "f:c": {}}}),
                json!({"f:a": {".": {}, "f:b": {}, "f:c": {}}, "f:d": {}}),
                json!({"f:a": {}, "f:d": {}}),
                json!({"f:a": {}, "f:d": {}}),
                json!({"f:a": {"f:b": {}, "f:c": {}}}),
            ),
            (
                json!({"f:d": {"f:e": {}}}),
                json!({"f:a": {".": {}, "f:b": {}, "f:c": {}}, "f:d": {".": {}, "f:e": {}}}),
                json!({"f:a": {".": {}, "f:b": {}, "f:c": {}}, "f:d": {}}),
                json!({"f:a": {".": {}, "f:b": {}, "f:c": {}}, "f:d": {}}),
                json!({}),
            ),
        ] {
            let other = set(other);
            let mut found = one();
            found.unite(&other);
            assert_eq!(found, set(united), "{other:?}");
            let mut found = one();
            found.subtract(&other);
            assert_eq!(found, set(left), "{other:?}");
            let mut found = one();
            found.subtract_below(&other);
            assert_eq!(found, set(deep), "{other:?}");
            assert_eq!(one().intersection(&other), set(both), "{other:?}");
        }
    }

    #[test]
    fn places_are_named_as_clients_read_them() {
        let found =
            set(json!({"f:spec": {"f:containers": {"k:{\"name\": \"a\"}": {"f:image": {}}},
            "f:ports": {"k:{\"protocol\":\"TCP\",\"containerPort\":80}": {}},
            "f:args": {"v:\"x\"": {}}}}));
        assert_eq!(
            found.paths(),
            [
                ".spec.args[=\"x\"]",
                ".spec.containers[name=\"a\"].image",
                ".spec.ports[containerPort=80,protocol=\"TCP\"]",
            ]
        );
        assert!(found.contains(&["f:spec", "f:containers", "k:{\"name\":\"a\"}", "f:image"]));
    }
}
