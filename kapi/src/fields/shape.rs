//! What of an object decides which fields it has, and a memory of what was found for it.
//!
//! The Pods of one ReplicaSet differ in what their fields hold, not in which they have.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::mem;
use std::sync::Arc;

use parking_lot::Mutex;

use super::relation::{Place, Relation};
use crate::schema::{FREE, Tree};

/// Shapes that are remembered at least; twice as many are at most.
const MAX_SHAPES: usize = 256;
/// The longest shape that is worth remembering, in bytes.
const MAX_SHAPE_BYTES: usize = 8 * 1024;

/// The shape of an object: two objects of one shape have the same fields.
///
/// It is a text, not a hash of one, so that nobody can make two shapes that pass for the same.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Shape(Vec<u8>);

impl Shape {
    /// Reads the shape off an object's JSON, as its encoder wrote it. `None` if that is no JSON,
    /// or more than is worth remembering.
    pub(crate) fn of(kind: &str, tree: &Tree, json: &[u8]) -> Option<Self> {
        let mut shape = Vec::with_capacity(1024);
        shape.extend_from_slice(kind.as_bytes());
        let mut walk = Walk { json, at: 0, shape };
        walk.value(Place::root(tree))?;
        Some(Self(walk.shape)).filter(|_| walk.at == json.len())
    }
}

/// A walk over JSON without spaces that puts down names, and of the values only what decides
/// which fields there are: what sort they are of, and what tells the elements of lists apart.
struct Walk<'a> {
    json: &'a [u8],
    at: usize,
    shape: Vec<u8>,
}

impl Walk<'_> {
    fn peek(&self) -> Option<u8> {
        self.json.get(self.at).copied()
    }

    fn put(&mut self, byte: u8) -> Option<()> {
        self.shape.push(byte);
        (self.shape.len() <= MAX_SHAPE_BYTES).then_some(())
    }

    /// Puts down what was walked over from `start` on, as it is.
    fn put_since(&mut self, start: usize) -> Option<()> {
        self.shape.extend_from_slice(self.json.get(start..self.at)?);
        (self.shape.len() <= MAX_SHAPE_BYTES).then_some(())
    }

    fn value(&mut self, place: Place<'_>) -> Option<()> {
        match (self.peek()?, place.relation()) {
            (b'{', Relation::Struct(_) | Relation::Map(_)) => self.members(place, &[]),
            (b'[', Relation::Keyed(inner, keys)) => self.elements(place.inner(inner), keys),
            (b'[', Relation::Set) => self.verbatim(),
            _ => self.sort(),
        }
    }

    /// The members of an object; the values of `keys` as they are.
    fn members(&mut self, place: Place<'_>, keys: &[String]) -> Option<()> {
        self.at += 1;
        self.put(b'{')?;
        while self.peek()? != b'}' {
            if self.peek()? == b',' {
                self.at += 1;
            }
            let start = self.at;
            self.skip_text()?;
            self.put_since(start)?;
            let name = name_of(self.json.get(start..self.at)?)?;
            self.at += 1;
            if keys.iter().any(|key| *key == name) {
                self.verbatim()?;
            } else {
                self.value(place.member(&name).unwrap_or_else(|| place.inner(FREE)))?;
            }
        }
        self.at += 1;
        self.put(b'}')
    }

    /// The elements of a list that are told apart by keys.
    fn elements(&mut self, inner: Place<'_>, keys: &[String]) -> Option<()> {
        self.at += 1;
        self.put(b'[')?;
        while self.peek()? != b']' {
            match self.peek()? {
                b',' => self.at += 1,
                b'{' => self.members(inner, keys)?,
                _ => self.verbatim()?,
            }
        }
        self.at += 1;
        self.put(b']')
    }

    /// A value as it is.
    fn verbatim(&mut self) -> Option<()> {
        let start = self.at;
        self.skip()?;
        self.put_since(start)
    }

    /// Which sort of value it is, and whether there is anything in it.
    fn sort(&mut self) -> Option<()> {
        let (first, second) = (self.peek()?, self.json.get(self.at + 1));
        self.skip()?;
        self.put(match (first, second) {
            (b'{', Some(b'}')) => b'O',
            (b'[', Some(b']')) => b'A',
            (b'{', _) => b'o',
            (b'[', _) => b'a',
            (b'n', _) => b'n',
            _ => b's',
        })
    }

    /// Walks over a value.
    fn skip(&mut self) -> Option<()> {
        let mut depth = 0_usize;
        loop {
            match self.peek()? {
                b'"' => self.skip_text()?,
                b'{' | b'[' => {
                    depth += 1;
                    self.at += 1;
                }
                b'}' | b']' => {
                    depth = depth.checked_sub(1)?;
                    self.at += 1;
                }
                b',' | b':' => self.at += 1,
                _ => {
                    let rest = self.json.get(self.at..)?;
                    let ends = |byte: &u8| matches!(byte, b',' | b'}' | b']');
                    self.at += rest.iter().position(ends).unwrap_or(rest.len());
                }
            }
            if depth == 0 {
                return Some(());
            }
        }
    }

    /// Walks over a text.
    fn skip_text(&mut self) -> Option<()> {
        if self.peek()? != b'"' {
            return None;
        }
        self.at += 1;
        loop {
            match self.peek()? {
                b'\\' => self.at += 2,
                b'"' => {
                    self.at += 1;
                    return Some(());
                }
                _ => self.at += 1,
            }
        }
    }
}

/// A member's name, of the text that holds it.
fn name_of(text: &[u8]) -> Option<Cow<'_, str>> {
    if text.contains(&b'\\') {
        return serde_json::from_slice::<String>(text).ok().map(Cow::Owned);
    }
    std::str::from_utf8(text.get(1..text.len() - 1)?).ok().map(Cow::Borrowed)
}

/// What was found for the shapes that were seen last.
#[derive(Debug)]
pub(crate) struct Shapes<T>(Mutex<Generations<T>>);

/// A shape that is asked for stays among the young; when there are too many, those who were not
/// asked for since the last time go.
#[derive(Debug)]
struct Generations<T> {
    young: BTreeMap<Shape, Arc<T>>,
    old: BTreeMap<Shape, Arc<T>>,
}

impl<T> Default for Shapes<T> {
    fn default() -> Self {
        Self(Mutex::new(Generations { young: BTreeMap::new(), old: BTreeMap::new() }))
    }
}

impl<T> Shapes<T> {
    /// What was found for a shape, or what is found now.
    ///
    /// # Errors
    /// Whatever `find` says; nothing is remembered then.
    pub(crate) fn get<E>(
        &self,
        shape: Option<Shape>,
        find: impl FnOnce() -> Result<T, E>,
    ) -> Result<Arc<T>, E> {
        let Some(shape) = shape else { return find().map(Arc::new) };
        if let Some(known) = self.0.lock().known(&shape) {
            return Ok(known);
        }
        let found = Arc::new(find()?);
        self.0.lock().remember(shape, Arc::clone(&found));
        Ok(found)
    }
}

impl<T> Generations<T> {
    fn known(&mut self, shape: &Shape) -> Option<Arc<T>> {
        if let Some(known) = self.young.get(shape) {
            return Some(Arc::clone(known));
        }
        let (shape, known) = self.old.remove_entry(shape)?;
        self.remember(shape, Arc::clone(&known));
        Some(known)
    }

    fn remember(&mut self, shape: Shape, found: Arc<T>) {
        if self.young.len() >= MAX_SHAPES {
            self.old = mem::take(&mut self.young);
        }
        self.young.insert(shape, found);
    }
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;

    use k8s_openapi::api::core::v1::Pod;
    use kcore::name::Resource;
    use serde_json::{Value, json};

    use super::super::{Set, blank_json, compare, managed};
    use super::*;
    use crate::registry::Registry;

    fn pod() -> Value {
        json!({"apiVersion": "v1", "kind": "Pod",
            "metadata": {"name": "a", "labels": {"app": "web", "a\"b": "c"}, "finalizers": ["f/1"],
                "ownerReferences": [{"apiVersion": "v1", "kind": "X", "name": "x", "uid": "u"}]},
            "spec": {"nodeName": "n", "securityContext": {}, "tolerations": [], "containers": [
                {"name": "c", "image": "i \\\"{[,", "args": ["x", "y"], "tty": true,
                    "env": [{"name": "A", "value": "1"}, {"name": "B"}],
                    "ports": [{"containerPort": 80, "protocol": "TCP"}],
                    "resources": {"requests": {"cpu": "1"}}}]}})
    }

    fn with_tree(run: impl FnOnce(&Tree)) {
        let registry = Registry::built_in();
        run(registry.of(&Resource::of::<Pod>()).unwrap().schema.tree());
    }

    fn shape(tree: &Tree, object: &Value) -> Shape {
        Shape::of("v1/Pod", tree, object.to_string().as_bytes()).unwrap()
    }

    fn fields(tree: &Tree, object: &Value) -> Set {
        managed(compare(tree, blank_json(tree), object.to_string().as_bytes()).unwrap())
    }

    fn set(object: &mut Value, at: &str, to: Value) {
        *object.pointer_mut(at).unwrap() = to;
    }

    #[test]
    fn objects_that_differ_in_values_alone_share_a_shape() {
        with_tree(|tree| {
            for (at, to) in [
                ("/metadata/name", json!("b")),
                ("/metadata/labels/app", json!("x\"}],")),
                ("/metadata/ownerReferences/0/name", json!("y")),
                ("/spec/nodeName", json!("m")),
                ("/spec/containers/0/image", json!("j\\")),
                ("/spec/containers/0/tty", json!(false)),
                // Nobody tells the elements of this list apart.
                ("/spec/containers/0/args", json!(["z"])),
                ("/spec/containers/0/env/0/value", json!("2")),
            ] {
                let mut other = pod();
                set(&mut other, at, to);
                assert_eq!(shape(tree, &pod()), shape(tree, &other), "{at}");
                assert_eq!(fields(tree, &pod()), fields(tree, &other), "{at}");
            }
        });
    }

    #[test]
    fn objects_that_differ_in_names_keys_or_emptiness_do_not() {
        with_tree(|tree| {
            for (at, to) in [
                ("/metadata/labels", json!({"app": "web"})),
                ("/metadata/labels", json!({})),
                ("/metadata/labels", json!({"app": "web", "a\"c": "c"})),
                ("/metadata/finalizers/0", json!("f/2")),
                ("/metadata/ownerReferences/0/uid", json!("v")),
                ("/spec/securityContext", json!({"runAsUser": 1})),
                ("/spec/containers/0/name", json!("d")),
                ("/spec/containers/0/args", json!(null)),
                ("/spec/containers/0/env/0/name", json!("C")),
                ("/spec/containers/0/env/1", json!({"name": "B", "value": ""})),
                ("/spec/containers/0/ports/0/containerPort", json!(81)),
                ("/spec/containers/0/ports/0/protocol", json!("UDP")),
                ("/spec/containers/0/ports/0", json!({"containerPort": 80})),
                ("/spec/containers/0/resources/requests", json!({})),
                ("/spec/containers/0/resources/requests", json!({"memory": "1"})),
            ] {
                let mut other = pod();
                set(&mut other, at, to);
                assert_ne!(shape(tree, &pod()), shape(tree, &other), "{at}");
            }
            let json = pod().to_string();
            let of = |kind| Shape::of(kind, tree, json.as_bytes());
            assert_ne!(of("v1/Pod"), of("v1/PodTemplate"));
        });
    }

    /// Puts every value of an object, one at a time, in place of every other.
    fn variants(object: &Value) -> Vec<Value> {
        fn places(value: &Value, at: &str, out: &mut Vec<String>) {
            out.push(at.to_owned());
            match value {
                Value::Object(members) => {
                    for (name, member) in members {
                        places(member, &format!("{at}/{name}"), out);
                    }
                }
                Value::Array(elements) => {
                    for (index, element) in elements.iter().enumerate() {
                        places(element, &format!("{at}/{index}"), out);
                    }
                }
                _ => {}
            }
        }
        let mut all = Vec::new();
        places(object, "", &mut all);
        let mut values: Vec<Value> =
            all.iter().filter_map(|at| object.pointer(at).cloned()).collect();
        values.extend([json!(null), json!({}), json!([]), json!(7)]);
        let mut out = Vec::new();
        for at in &all[1..] {
            for value in &values {
                let mut other = object.clone();
                set(&mut other, at, value.clone());
                out.push(other);
            }
        }
        out
    }

    #[test]
    fn objects_of_one_shape_have_the_same_fields_whatever_they_hold() {
        with_tree(|tree| {
            let mut known: BTreeMap<Shape, Set> = BTreeMap::new();
            let mut shared = 0;
            for object in variants(&pod()) {
                let fields = fields(tree, &object);
                let before = known.entry(shape(tree, &object)).or_insert_with(|| fields.clone());
                assert_eq!(*before, fields, "{object}");
                shared += 1;
            }
            assert!(shared > 2 * known.len(), "{shared} objects, {} shapes", known.len());
        });
    }

    #[test]
    fn what_is_no_json_or_too_long_has_no_shape() {
        with_tree(|tree| {
            for json in ["", "{", "{\"spec\"", "{\"spec\":{}", "{}}", "{\"metadata\":{\"name\":\"a"]
            {
                assert_eq!(Shape::of("v1/Pod", tree, json.as_bytes()), None, "{json}");
            }
            let mut long = pod();
            let labels = (0..MAX_SHAPE_BYTES / 4).map(|at| (at.to_string(), json!("")));
            set(&mut long, "/metadata/labels", Value::Object(labels.collect()));
            assert_eq!(Shape::of("v1/Pod", tree, long.to_string().as_bytes()), None);
        });
    }

    fn get(shapes: &Shapes<usize>, shape: usize, found: usize) -> usize {
        let shape = Some(Shape(shape.to_be_bytes().to_vec()));
        *shapes.get(shape, || Ok::<_, Infallible>(found)).unwrap()
    }

    #[test]
    fn what_is_remembered_is_bounded_and_what_is_used_stays() {
        let shapes = Shapes::default();
        for at in 0..10 * MAX_SHAPES {
            assert_eq!(get(&shapes, at, at), at);
            assert_eq!(get(&shapes, 0, 1), 0, "it is asked for all the time");
            let known = shapes.0.lock();
            assert!(known.young.len() + known.old.len() <= 2 * MAX_SHAPES);
        }
        assert_eq!(get(&shapes, 1, 7), 7, "it was forgotten");
        let failed = shapes.get(Some(Shape(vec![1])), || Err("no"));
        assert_eq!(failed, Err("no"));
        assert_eq!(*shapes.get(Some(Shape(vec![1])), || Ok::<_, &str>(3)).unwrap(), 3);
    }
}
