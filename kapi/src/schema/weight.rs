//! What a body takes once it is decoded, found out before it is (O1).
//!
//! `{}` is two bytes, and a container with nothing set is two kilobytes: a body of three
//! mebibytes could take gigabytes. The numbers are those of the Rust types, as far as a schema
//! tells them, with what vectors and maps take beyond their members.

use std::fmt;

use kcore::status::{Reason, Status};
use serde::de::{
    DeserializeSeed, Deserializer, Error as _, IgnoredAny, MapAccess, SeqAccess, Visitor,
};

use super::SchemaSource;
use super::check::push;
use super::name::Name;
use super::tree::{FREE, Node, NodeId, Object, Tree};

/// Bytes that one decoded body may take: twenty times the largest body. An object that people
/// write takes some ten times its JSON.
pub(crate) const MAX_DECODED: usize = 64 << 20;
/// Bodies up to this size, in bytes, are not weighed: they cannot take more, whatever they hold.
const ALWAYS_LIGHT: usize = 16 << 10;
/// A vector grows by doubling.
const GROWTH: usize = 2;
/// Members that a node of a B-tree has room for; the first one takes it all.
const TREE_NODE: usize = 11;
/// What a text takes beside its bytes: its handle, or the allocator's rounding.
const TEXT: usize = 24;
/// A value that may be anything.
const ANYTHING: usize = size_of::<serde_json::Value>();

/// The bytes that are left to a body.
#[derive(Debug)]
pub(crate) struct Budget(usize);

impl Budget {
    pub(crate) fn new() -> Self {
        Self(MAX_DECODED)
    }

    fn take(&mut self, bytes: usize) -> bool {
        let left = self.0.checked_sub(bytes);
        self.0 = left.unwrap_or(0);
        left.is_some()
    }

    /// Takes what an element of a list takes; whether it was left.
    #[must_use]
    pub(crate) fn element(&mut self, size: usize) -> bool {
        self.take(GROWTH * size)
    }

    /// Takes what a member of a map takes that has some before it; whether it was left.
    #[must_use]
    pub(crate) fn member(&mut self, before: usize, size: usize) -> bool {
        let room = if before == 0 { TREE_NODE } else { GROWTH };
        self.take(room * (TEXT + size))
    }

    /// Takes what a text takes; whether it was left.
    #[must_use]
    pub(crate) fn text(&mut self, text: &str) -> bool {
        self.take(TEXT + text.len())
    }

    /// Takes what JSON takes as a [`serde_json::Value`].
    pub(crate) fn weigh(&mut self, json: &[u8]) -> Result<(), TooHeavy> {
        walk(&Tree::of_anything(), FREE, json, self)
    }

    /// Takes what an element of a list of anything takes.
    #[must_use]
    pub(crate) fn any_element(&mut self) -> bool {
        self.element(ANYTHING)
    }

    /// Takes what a member of an object of anything takes.
    #[must_use]
    pub(crate) fn any_member(&mut self, before: usize) -> bool {
        self.member(before, ANYTHING)
    }
}

/// A body that takes too much, with the field at which it did.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct TooHeavy(pub(crate) String);

impl fmt::Display for TooHeavy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "Request entity too large: {}: with it the decoded body takes more than \
             {MAX_DECODED} bytes, the most that one may",
            self.0
        )
    }
}

impl From<TooHeavy> for Status {
    fn from(heavy: TooHeavy) -> Self {
        Self::failure(413, Reason::RequestEntityTooLarge, heavy.to_string())
    }
}

/// Weighs JSON that is to become the type of a schema, which is built only if it is needed.
pub(crate) fn weigh(source: &SchemaSource, json: &[u8]) -> Result<(), TooHeavy> {
    if json.len() <= ALWAYS_LIGHT {
        return Ok(());
    }
    let tree = source.tree();
    walk(tree, tree.root(), json, &mut Budget::new())
}

/// Weighs JSON that is to become a type that no row has.
pub(crate) fn weigh_as<K: schemars::JsonSchema>(json: &[u8]) -> Result<(), TooHeavy> {
    weigh(&SchemaSource::of::<K>(), json)
}

/// Weighs JSON that is to become a [`serde_json::Value`].
pub(crate) fn weigh_anything(json: &[u8]) -> Result<(), TooHeavy> {
    if json.len() <= ALWAYS_LIGHT {
        return Ok(());
    }
    Budget::new().weigh(json)
}

fn walk(tree: &Tree, node: NodeId, json: &[u8], budget: &mut Budget) -> Result<(), TooHeavy> {
    let mut scale = Scale { tree, budget, path: String::new(), over: false };
    let mut deserializer = serde_json::Deserializer::from_slice(json);
    // What is no JSON is told where it is decoded.
    let _ = Seed { scale: &mut scale, node }.deserialize(&mut deserializer);
    if scale.over { Err(TooHeavy(scale.path)) } else { Ok(()) }
}

struct Scale<'a> {
    tree: &'a Tree,
    budget: &'a mut Budget,
    /// Where the walk is: `spec.containers`.
    path: String,
    over: bool,
}

struct Seed<'w, 'a> {
    scale: &'w mut Scale<'a>,
    node: NodeId,
}

impl<'a> Seed<'_, 'a> {
    /// Goes on if there was something left; the path stays where it was otherwise.
    fn hold<E: serde::de::Error>(&mut self, left: bool) -> Result<(), E> {
        self.scale.over |= !left;
        if left { Ok(()) } else { Err(E::custom("too heavy")) }
    }

    fn inner(&mut self, node: NodeId) -> Seed<'_, 'a> {
        Seed { scale: &mut *self.scale, node }
    }

    fn value<'de, M: MapAccess<'de>>(
        &mut self,
        map: &mut M,
        name: &str,
        node: NodeId,
    ) -> Result<(), M::Error> {
        let length = self.scale.path.len();
        push(&mut self.scale.path, name);
        map.next_value_seed(self.inner(node))?;
        self.scale.path.truncate(length);
        Ok(())
    }

    /// An object of a type lies where its list or map has room for it.
    fn object<'de, M: MapAccess<'de>>(
        mut self,
        object: &'a Object,
        mut map: M,
    ) -> Result<(), M::Error> {
        while let Some(Name(name)) = map.next_key()? {
            let Some(field) = object.field(&name) else {
                map.next_value::<IgnoredAny>()?;
                continue;
            };
            if self.scale.tree.is_boxed(field.node) {
                let size = self.scale.tree.size(field.node);
                let left = self.scale.budget.take(size);
                self.hold(left)?;
            }
            self.value(&mut map, &field.name, field.node)?;
        }
        Ok(())
    }

    fn map<'de, M: MapAccess<'de>>(mut self, node: NodeId, mut map: M) -> Result<(), M::Error> {
        let size = self.scale.tree.size(node);
        let mut before = 0;
        while let Some(Name(name)) = map.next_key()? {
            let budget = &mut self.scale.budget;
            let left = budget.member(before, size) && budget.text(&name);
            self.hold(left)?;
            self.value(&mut map, &name, node)?;
            before += 1;
        }
        Ok(())
    }

    fn text<E: serde::de::Error>(mut self, text: &str) -> Result<(), E> {
        let left = self.scale.budget.text(text);
        self.hold(left)
    }
}

impl<'de> DeserializeSeed<'de> for Seed<'_, '_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Seed<'_, '_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JSON")
    }

    fn visit_unit<E>(self) -> Result<(), E> {
        Ok(())
    }

    fn visit_bool<E>(self, _: bool) -> Result<(), E> {
        Ok(())
    }

    fn visit_i64<E>(self, _: i64) -> Result<(), E> {
        Ok(())
    }

    fn visit_u64<E>(self, _: u64) -> Result<(), E> {
        Ok(())
    }

    fn visit_f64<E>(self, _: f64) -> Result<(), E> {
        Ok(())
    }

    fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<(), E> {
        self.text(text)
    }

    fn visit_seq<S: SeqAccess<'de>>(mut self, mut seq: S) -> Result<(), S::Error> {
        let inner = match self.scale.tree.node(self.node) {
            Node::List(inner) => *inner,
            Node::Free | Node::ObjectOr(_) => FREE,
            // Where no list belongs, decoding ends.
            _ => return Err(S::Error::custom("no list belongs here")),
        };
        let size = self.scale.tree.size(inner);
        while seq.next_element_seed(self.inner(inner))?.is_some() {
            let left = self.scale.budget.element(size);
            self.hold(left)?;
        }
        Ok(())
    }

    fn visit_map<M: MapAccess<'de>>(self, map: M) -> Result<(), M::Error> {
        let mut wanted = self.scale.tree.node(self.node);
        if let Node::ObjectOr(inner) = wanted {
            wanted = self.scale.tree.node(*inner);
        }
        match wanted {
            Node::Object(object) => self.object(object, map),
            Node::Map(inner) => self.map(*inner, map),
            Node::Free => self.map(FREE, map),
            _ => Err(M::Error::custom("no object belongs here")),
        }
    }
}

#[cfg(test)]
mod tests {
    use k8s_openapi::api::core::v1::{Container, Pod, PodTemplateSpec, Volume};
    use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::{
        CustomResourceDefinition, JSONSchemaProps,
    };

    use super::*;

    /// The estimate for the type of a place, beside what it takes.
    fn sizes<K: schemars::JsonSchema>(type_name: &str, real: usize) {
        let source = SchemaSource::of::<K>();
        let tree = source.tree();
        let is_it =
            |id: &NodeId| matches!(tree.node(*id), Node::Object(o) if o.type_name == type_name);
        let id = (0..tree.len()).find(is_it).unwrap_or_else(|| panic!("no {type_name}"));
        let guess = tree.size(id);
        assert!(guess >= real && guess <= real * 3 / 2, "{type_name}: {guess} for {real}");
    }

    #[test]
    fn estimates_are_no_less_than_what_types_take_and_hardly_more() {
        sizes::<Pod>("io.k8s.api.core.v1.Container", size_of::<Container>());
        sizes::<Pod>("io.k8s.api.core.v1.Volume", size_of::<Volume>());
        let template = size_of::<PodTemplateSpec>();
        sizes::<k8s_openapi::api::batch::v1::Job>("io.k8s.api.core.v1.PodTemplateSpec", template);
        sizes::<CustomResourceDefinition>(
            "io.k8s.apiextensions-apiserver.pkg.apis.apiextensions.v1.JSONSchemaProps",
            size_of::<JSONSchemaProps>(),
        );
    }

    #[test]
    fn what_takes_too_much_is_told_with_its_field_o1() {
        let check = |body: &str, field: Option<&str>| {
            let source = SchemaSource::of::<Pod>();
            let found = weigh(&source, body.as_bytes()).err();
            assert_eq!(found.map(|heavy| heavy.0).as_deref(), field, "{} bytes", body.len());
        };
        let many = |element: &str, count: usize| vec![element; count].join(",");
        let containers = |count| format!(r#"{{"spec":{{"containers":[{}]}}}}"#, many("{}", count));
        check(&containers(5_000), None);
        check(&containers(50_000), Some("spec.containers"));
        let labels: Vec<String> = (0..100_000).map(|at| format!("\"{at}\":\"\"")).collect();
        check(&format!(r#"{{"metadata":{{"labels":{{{}}}}}}}"#, labels.join(",")), None);
        // A long text is what it is.
        check(&format!(r#"{{"metadata":{{"name":"{}"}}}}"#, "x".repeat(3 << 20)), None);
        let nested = format!(
            r#"{{"spec":{{"volumes":[{{"projected":{{"sources":[{}]}}}}]}}}}"#,
            many("{}", 900_000)
        );
        check(&nested, Some("spec.volumes.projected.sources"));
        // What is no JSON, or is none of the type, is told by whoever decodes it.
        check(&format!("[{}", many("{}", 100_000)), None);
    }

    #[test]
    fn anything_is_weighed_as_a_value_o1() {
        let many = |element: &str, count: usize| {
            format!(r#"{{"items":[{}]}}"#, vec![element; count].join(","))
        };
        assert_eq!(weigh_anything(many("{}", 500_000).as_bytes()), Ok(()));
        let heavy = weigh_anything(many(r#"{"a":1}"#, 300_000).as_bytes()).unwrap_err();
        assert!(heavy.0.starts_with("items"), "{heavy}");
    }
}
