//! How the parts of a place belong together: what a field set tells apart, and what it does not.
//! <https://kubernetes.io/docs/reference/using-api/server-side-apply/#merge-strategy>

use serde_json::{Map, Value};

use crate::schema::{FREE, Facts, Field, Node, NodeId, Tree};

/// What the API server fills in for keys of list elements that are left out.
const KEY_DEFAULTS: [(&str, &str); 1] = [("protocol", "TCP")];

/// A place in an object, as the schema knows it.
#[derive(Debug, Clone, Copy)]
pub(super) struct Place<'a> {
    pub(super) tree: &'a Tree,
    pub(super) node: NodeId,
    pub(super) facts: Option<&'a Facts>,
}

/// How the parts of a place belong together.
#[derive(Debug, Clone, Copy)]
pub(super) enum Relation<'a> {
    /// It has no parts, or they belong to one owner.
    Whole,
    /// Members of known names, each with an owner of its own.
    Struct(&'a crate::schema::Object),
    /// Members of any name, each with an owner of its own.
    Map(NodeId),
    /// Elements that are told apart by their values.
    Set,
    /// Elements that are told apart by some of their members.
    Keyed(NodeId, &'a [String]),
}

impl<'a> Place<'a> {
    pub(super) fn root(tree: &'a Tree) -> Self {
        Self { tree, node: tree.root(), facts: None }
    }

    pub(super) fn relation(self) -> Relation<'a> {
        let whole_map = self.facts.is_some_and(|f| f.map_type.as_deref() == Some("atomic"));
        match self.tree.node(self.node) {
            Node::Object(object) if object.is_atomic() || whole_map => Relation::Whole,
            Node::Object(object) => Relation::Struct(object),
            Node::Map(_) if whole_map => Relation::Whole,
            Node::Map(inner) => Relation::Map(*inner),
            Node::List(inner) => {
                match self.facts.and_then(|f| Some((f.list_type.as_deref()?, f))) {
                    Some(("set", _)) => Relation::Set,
                    Some(("map", facts)) => Relation::Keyed(*inner, &facts.list_map_keys),
                    _ => Relation::Whole,
                }
            }
            _ => Relation::Whole,
        }
    }

    /// The place of a member.
    pub(super) fn field(self, field: &'a Field) -> Self {
        Self { tree: self.tree, node: field.node, facts: field.facts }
    }

    /// The place of a part that has no name in the schema.
    pub(super) fn inner(self, node: NodeId) -> Self {
        Self { tree: self.tree, node, facts: None }
    }

    /// The place of any member, known or not; `None` if nothing below this place is told apart.
    pub(super) fn member(self, name: &str) -> Option<Self> {
        match self.relation() {
            Relation::Struct(object) => {
                Some(object.field(name).map_or_else(|| self.inner(FREE), |f| self.field(f)))
            }
            Relation::Map(inner) => Some(self.inner(inner)),
            _ => None,
        }
    }
}

/// The element of a path for a list's element that is told apart by keys.
pub(super) fn keyed(element: &Map<String, Value>, keys: &[String]) -> String {
    let mut found = Map::new();
    for key in keys {
        let default = || KEY_DEFAULTS.iter().find(|(name, _)| name == key);
        let value = match element.get(key) {
            Some(value) => Some(value.clone()),
            None => default().map(|(_, value)| Value::from(*value)),
        };
        if let Some(value) = value {
            found.insert(key.clone(), value);
        }
    }
    format!("k:{}", Value::Object(found))
}

/// The element of a path for a list's element that is told apart by its value.
pub(super) fn valued(element: &Value) -> String {
    format!("v:{element}")
}

/// The element of a path for a list's element.
pub(super) fn element_of(relation: Relation<'_>, element: &Value) -> String {
    match (relation, element) {
        (Relation::Keyed(_, keys), Value::Object(element)) => keyed(element, keys),
        _ => valued(element),
    }
}
