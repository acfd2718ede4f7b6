//! A kind's schema, resolved into nodes that refer to each other by number.

use std::sync::OnceLock;

use kcore::collections::HashMap;
use schemars::generate::SchemaSettings;
use serde_json::{Map, Value};

use super::SchemaSource;
use super::facts::{self, Facts};

/// The number of a node within its tree.
pub(crate) type NodeId = usize;

/// The node that takes anything.
pub(crate) const FREE: NodeId = 0;
/// Where definitions are within a document.
const DEFINITIONS: &str = "#/$defs/";

/// What a place in an object may hold.
#[derive(Debug)]
pub(crate) enum Node {
    /// Anything: embedded objects, field sets, JSON.
    Free,
    /// An object with named members.
    Object(Box<Object>),
    /// An object with members of any name.
    Map(NodeId),
    /// A list.
    List(NodeId),
    /// An object of that node, or something that is no object.
    ObjectOr(NodeId),
    /// A text.
    String,
    /// Base64 in a text.
    Bytes,
    /// A point in time, RFC 3339.
    Time,
    Boolean,
    Int32,
    Int64,
    Double,
    IntOrString,
    Quantity,
}

/// An object with named members.
#[derive(Debug)]
pub(crate) struct Object {
    /// The name of its type: `io.k8s.api.core.v1.Pod`; empty if it has none.
    pub(crate) type_name: String,
    /// Whether its members belong to one owner.
    atomic: bool,
    fields: HashMap<String, Field>,
}

/// A member of an object.
#[derive(Debug)]
pub(crate) struct Field {
    pub(crate) name: String,
    /// Its number within the object, from zero.
    pub(crate) index: usize,
    pub(crate) node: NodeId,
    pub(crate) facts: Option<&'static Facts>,
    /// Whether the API server always writes it.
    pub(crate) required: bool,
}

impl Object {
    pub(crate) fn field(&self, name: &str) -> Option<&Field> {
        self.fields.get(name)
    }

    pub(crate) fn fields(&self) -> impl Iterator<Item = &Field> {
        self.fields.values()
    }

    pub(crate) fn is_atomic(&self) -> bool {
        self.atomic
    }

    pub(crate) fn len(&self) -> usize {
        self.fields.len()
    }

    /// The name of the Go type, without its package.
    pub(crate) fn short_name(&self) -> &str {
        self.type_name.rsplit('.').next().unwrap_or_default()
    }
}

/// The schema of one kind.
#[derive(Debug)]
pub(crate) struct Tree {
    nodes: Vec<Node>,
    root: NodeId,
    sizes: OnceLock<Sizes>,
    /// What a new object is compared with, as `fields` computes it once.
    pub(crate) blank: OnceLock<Vec<u8>>,
}

impl Tree {
    /// Resolves a kind's schema.
    pub(crate) fn build(source: &SchemaSource) -> Self {
        let mut generator = SchemaSettings::draft2020_12().into_generator();
        source.add(&mut generator);
        let definitions = generator.take_definitions(false);
        let mut builder = Builder {
            definitions: &definitions,
            nodes: vec![Node::Free],
            named: HashMap::default(),
        };
        let root = builder.named(&source.name());
        Self { nodes: builder.nodes, root, sizes: OnceLock::new(), blank: OnceLock::new() }
    }

    /// The schema that anything fits.
    pub(crate) fn of_anything() -> Self {
        Self { nodes: vec![Node::Free], root: FREE, sizes: OnceLock::new(), blank: OnceLock::new() }
    }

    pub(crate) fn root(&self) -> NodeId {
        self.root
    }

    pub(crate) fn node(&self, id: NodeId) -> &Node {
        &self.nodes[id]
    }

    #[cfg(test)]
    pub(crate) fn len(&self) -> usize {
        self.nodes.len()
    }

    /// The bytes that a value of a node takes where it lies, about: what it points to apart.
    pub(crate) fn size(&self, id: NodeId) -> usize {
        self.sizes().of[id].unwrap_or(0)
    }

    /// Whether a node's type contains itself, so that a field of it lies elsewhere.
    pub(crate) fn is_boxed(&self, id: NodeId) -> bool {
        self.sizes().boxed[id]
    }

    fn sizes(&self) -> &Sizes {
        self.sizes.get_or_init(|| Sizes::of(&self.nodes))
    }

    /// What Go calls the type of a node.
    pub(crate) fn go_type(&self, id: NodeId) -> String {
        match self.node(id) {
            Node::Free => "map[string]interface {}".to_owned(),
            Node::Object(object) => {
                let mut parts = object.type_name.rsplitn(3, '.');
                let (name, package) = (parts.next(), parts.next());
                format!("{}.{}", package.unwrap_or_default(), name.unwrap_or_default())
            }
            Node::Map(inner) => format!("map[string]{}", self.go_type(*inner)),
            Node::List(inner) => format!("[]{}", self.go_type(*inner)),
            Node::ObjectOr(inner) => self.go_type(*inner),
            Node::String => "string".to_owned(),
            Node::Bytes => "[]uint8".to_owned(),
            Node::Time => "v1.Time".to_owned(),
            Node::Boolean => "bool".to_owned(),
            Node::Int32 => "int32".to_owned(),
            Node::Int64 => "int64".to_owned(),
            Node::Double => "float64".to_owned(),
            Node::IntOrString => "intstr.IntOrString".to_owned(),
            Node::Quantity => "resource.Quantity".to_owned(),
        }
    }
}

/// How large the values of nodes are.
#[derive(Debug)]
struct Sizes {
    of: Vec<Option<usize>>,
    boxed: Vec<bool>,
}

impl Sizes {
    fn of(nodes: &[Node]) -> Self {
        let mut this = Self { of: vec![None; nodes.len()], boxed: vec![false; nodes.len()] };
        let mut open = vec![false; nodes.len()];
        for id in 0..nodes.len() {
            this.find(nodes, id, &mut open);
        }
        this
    }

    /// Fields that may be missing take what their type takes, but for numbers and times.
    fn find(&mut self, nodes: &[Node], id: NodeId, open: &mut [bool]) -> usize {
        const POINTER: usize = size_of::<usize>();
        if let Some(size) = self.of[id] {
            return size;
        }
        if std::mem::replace(&mut open[id], true) {
            self.boxed[id] = true;
            return POINTER;
        }
        let size = match &nodes[id] {
            Node::Free | Node::ObjectOr(_) => size_of::<Value>(),
            Node::Object(object) => {
                let fields = object.fields().map(|field| self.find(nodes, field.node, open));
                // One word more for what is padded, or tells that nothing is there.
                fields.sum::<usize>().next_multiple_of(POINTER) + POINTER
            }
            Node::Map(_) | Node::List(_) | Node::String | Node::Bytes => size_of::<String>(),
            Node::Time | Node::IntOrString | Node::Quantity => size_of::<String>(),
            Node::Boolean => 1,
            Node::Int32 => size_of::<Option<i32>>(),
            Node::Int64 | Node::Double => size_of::<Option<i64>>(),
        };
        open[id] = false;
        self.of[id] = Some(size);
        size
    }
}

struct Builder<'a> {
    definitions: &'a Map<String, Value>,
    nodes: Vec<Node>,
    /// Definitions that have a node, so that types may contain themselves.
    named: HashMap<String, NodeId>,
}

impl Builder<'_> {
    fn push(&mut self, node: Node) -> NodeId {
        self.nodes.push(node);
        self.nodes.len() - 1
    }

    fn named(&mut self, name: &str) -> NodeId {
        if let Some(id) = self.named.get(name) {
            return *id;
        }
        let Some(schema) = self.definitions.get(name) else { return FREE };
        let id = self.push(Node::Free);
        self.named.insert(name.to_owned(), id);
        self.nodes[id] = self.node(name, schema);
        id
    }

    fn place(&mut self, schema: &Value) -> NodeId {
        if let Some(name) = reference(schema) {
            return self.named(name);
        }
        match self.node("", schema) {
            Node::Free => FREE,
            node => self.push(node),
        }
    }

    fn node(&mut self, name: &str, schema: &Value) -> Node {
        if schema["x-kubernetes-int-or-string"] == true {
            return match name.ends_with(".Quantity") {
                true => Node::Quantity,
                false => Node::IntOrString,
            };
        }
        if let Some(object) = schema["oneOf"].as_array().and_then(|all| all.first()) {
            return Node::ObjectOr(self.place(object));
        }
        match (schema["type"].as_str().unwrap_or_default(), schema["format"].as_str()) {
            ("object", _) => self.object(name, schema),
            ("array", _) => Node::List(self.place(&schema["items"])),
            ("string", Some("byte")) => Node::Bytes,
            ("string", Some("date-time")) => Node::Time,
            ("string", _) => Node::String,
            ("boolean", _) => Node::Boolean,
            ("integer", Some("int32")) => Node::Int32,
            ("integer", _) => Node::Int64,
            ("number", _) => Node::Double,
            _ => Node::Free,
        }
    }

    fn object(&mut self, name: &str, schema: &Value) -> Node {
        let Some(properties) = schema["properties"].as_object() else {
            let values = &schema["additionalProperties"];
            return if values.is_object() { Node::Map(self.place(values)) } else { Node::Free };
        };
        let published = facts::of_type(name);
        let own = published.and_then(|facts| facts.get(""));
        let atomic = own.is_some_and(|facts| facts.map_type.as_deref() == Some("atomic"));
        let required = schema["required"].as_array().map_or(&[] as &[Value], Vec::as_slice);
        let mut fields = HashMap::default();
        for (index, (field, schema)) in properties.iter().enumerate() {
            let node = self.place(schema);
            let facts = published.and_then(|facts| facts.get(field));
            let required = required.iter().any(|name| name == field);
            let name = field.clone();
            fields.insert(field.clone(), Field { name, index, node, facts, required });
        }
        Node::Object(Box::new(Object { type_name: name.to_owned(), atomic, fields }))
    }
}

/// The definition that a schema refers to.
fn reference(schema: &Value) -> Option<&str> {
    schema["$ref"].as_str()?.strip_prefix(DEFINITIONS)
}
