//! Holds JSON against a schema, in one pass over the bytes.
//!
//! The words are those of the API server's decoder, on which clients match.
//! <https://kubernetes.io/docs/reference/using-api/api-concepts/#validation-for-unrecognized-or-duplicate-fields>

use std::borrow::Cow;
use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use kcore::collections::HashSet;
use kcore::quantity::Quantity;
use serde::de::{
    DeserializeSeed, Deserializer, Error as _, IgnoredAny, MapAccess, SeqAccess, Visitor,
};

use super::name::Name;
use super::tree::{FREE, Node, NodeId, Object, Tree};

/// Problems that are reported of one body; further ones add nothing.
pub(crate) const MAX_PROBLEMS: usize = 100;

/// Bytes of a path or message that are reported: a field's name may be as long as the body.
const MAX_WORDS: usize = 1024;

/// What is wrong with a body.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Problem {
    /// A field that the schema does not know.
    Unknown(String),
    /// A field that occurs twice.
    Duplicate(String),
    /// A value that cannot be decoded; the whole message.
    Value(String),
    /// No JSON at all, or JSON nested too deeply.
    Syntax(String),
}

impl Problem {
    /// Cuts off what nobody would read.
    fn shorten(&mut self) {
        let (Self::Unknown(text) | Self::Duplicate(text) | Self::Value(text) | Self::Syntax(text)) =
            self;
        if text.len() > MAX_WORDS {
            text.truncate(text.floor_char_boundary(MAX_WORDS));
            text.push_str("...");
            text.shrink_to_fit();
        }
    }

    /// Whether the body can still be decoded.
    pub(crate) fn is_strictness(&self) -> bool {
        matches!(self, Self::Unknown(_) | Self::Duplicate(_))
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unknown(path) => write!(f, "unknown field {path:?}"),
            Self::Duplicate(path) => write!(f, "duplicate field {path:?}"),
            Self::Value(message) | Self::Syntax(message) => f.write_str(message),
        }
    }
}

/// Holds JSON against a schema.
pub(crate) fn check(tree: &Tree, json: &[u8]) -> Vec<Problem> {
    walk(tree, tree.root(), json)
}

/// The fields that occur twice, in JSON of no particular schema.
pub(crate) fn duplicates(json: &[u8]) -> Vec<Problem> {
    walk(&Tree::of_anything(), FREE, json)
}

fn walk(tree: &Tree, node: NodeId, json: &[u8]) -> Vec<Problem> {
    let mut walk = Walk { tree, problems: Vec::new(), path: String::new(), fields: String::new() };
    let mut deserializer = serde_json::Deserializer::from_slice(json);
    let seed = Seed { walk: &mut walk, node, owner: "" };
    if let Err(error) = seed.deserialize(&mut deserializer).and_then(|()| deserializer.end()) {
        // A full list of problems ends the walk early.
        if walk.problems.len() < MAX_PROBLEMS {
            walk.problems.push(Problem::Syntax(error.to_string()));
        }
    }
    walk.problems
}

struct Walk<'a> {
    tree: &'a Tree,
    problems: Vec<Problem>,
    /// Where the walk is: `spec.containers[0].name`.
    path: String,
    /// The same without what is no field: `spec.containers.name`.
    fields: String,
}

impl Walk<'_> {
    fn report(&mut self, mut problem: Problem) {
        if self.problems.len() < MAX_PROBLEMS {
            problem.shorten();
            self.problems.push(problem);
        }
    }

    /// The path of a member of where the walk is.
    fn member(&self, name: &str) -> String {
        match self.path.as_str() {
            "" => name.to_owned(),
            path => format!("{path}.{name}"),
        }
    }
}

/// One value: where it is, and what it should be.
struct Seed<'w, 'a> {
    walk: &'w mut Walk<'a>,
    node: NodeId,
    /// The name of the object type around it.
    owner: &'a str,
}

impl<'a> Seed<'_, 'a> {
    fn wanted(&self) -> &'a Node {
        self.walk.tree.node(self.node)
    }

    fn mismatch(&mut self, found: impl fmt::Display) {
        let wanted = self.walk.tree.go_type(self.node);
        let message = match self.owner {
            "" => format!("json: cannot unmarshal {found} into Go value of type {wanted}"),
            owner => format!(
                "json: cannot unmarshal {found} into Go struct field {owner}.{} of type {wanted}",
                self.walk.fields
            ),
        };
        self.walk.report(Problem::Value(message));
    }

    fn number(&mut self, text: &str, integer: Option<i128>) {
        let fits = match self.wanted() {
            Node::Free | Node::ObjectOr(_) | Node::Double | Node::Quantity => true,
            Node::Int32 | Node::IntOrString => {
                integer.is_some_and(|number| i32::try_from(number).is_ok())
            }
            Node::Int64 => integer.is_some_and(|number| i64::try_from(number).is_ok()),
            _ => return self.mismatch("number"),
        };
        if !fits {
            self.mismatch(format_args!("number {text}"));
        }
    }

    fn text(&mut self, text: &str) {
        let problem = match self.wanted() {
            Node::Free | Node::ObjectOr(_) | Node::String | Node::IntOrString => return,
            Node::Bytes => STANDARD.decode(text).err().map(|_| {
                "illegal base64 data: the value must be encoded in standard base64".to_owned()
            }),
            Node::Time => text.parse::<jiff::Timestamp>().err().map(|_| {
                format!(
                    "parsing time {text:?} as \"2006-01-02T15:04:05Z07:00\": cannot parse \
                     {text:?} as \"2006\""
                )
            }),
            Node::Quantity => text.parse::<Quantity>().err().map(|_| {
                "quantities must match the regular expression \
                 '^([+-]?[0-9.]+)([eEinumkKMGTP]*[-+]?[0-9]*)$'"
                    .to_owned()
            }),
            _ => return self.mismatch("string"),
        };
        if let Some(problem) = problem {
            self.walk.report(Problem::Value(problem));
        }
    }

    /// Walks one member's value.
    fn value<'de, M: MapAccess<'de>>(
        &mut self,
        map: &mut M,
        (name, node, owner): (&str, NodeId, Option<&'a str>),
    ) -> Result<(), M::Error> {
        if self.walk.problems.len() >= MAX_PROBLEMS {
            return Err(M::Error::custom("too many problems"));
        }
        let (path, fields) = (self.walk.path.len(), self.walk.fields.len());
        push(&mut self.walk.path, name);
        if owner.is_some() {
            push(&mut self.walk.fields, name);
        }
        let owner = owner.unwrap_or(self.owner);
        map.next_value_seed(Seed { walk: &mut *self.walk, node, owner })?;
        self.walk.path.truncate(path);
        self.walk.fields.truncate(fields);
        Ok(())
    }

    fn object<'de, M: MapAccess<'de>>(
        mut self,
        object: &'a Object,
        mut map: M,
    ) -> Result<(), M::Error> {
        let mut seen = vec![false; object.len()];
        while let Some(Name(name)) = map.next_key()? {
            let Some(field) = object.field(&name) else {
                let path = self.walk.member(&name);
                self.walk.report(Problem::Unknown(path));
                map.next_value::<IgnoredAny>()?;
                continue;
            };
            if std::mem::replace(&mut seen[field.index], true) {
                let path = self.walk.member(&name);
                self.walk.report(Problem::Duplicate(path));
            }
            self.value(&mut map, (&field.name, field.node, Some(object.short_name())))?;
        }
        Ok(())
    }

    fn map<'de, M: MapAccess<'de>>(mut self, node: NodeId, mut map: M) -> Result<(), M::Error> {
        let mut seen: HashSet<Cow<'de, str>> = HashSet::default();
        while let Some(Name(name)) = map.next_key()? {
            if seen.contains(&name) {
                let path = self.walk.member(&name);
                self.walk.report(Problem::Duplicate(path));
            }
            self.value(&mut map, (&name, node, None))?;
            seen.insert(name);
        }
        Ok(())
    }
}

pub(super) fn push(path: &mut String, name: &str) {
    if !path.is_empty() {
        path.push('.');
    }
    path.push_str(name);
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

    fn visit_bool<E>(mut self, _: bool) -> Result<(), E> {
        if !matches!(self.wanted(), Node::Free | Node::ObjectOr(_) | Node::Boolean) {
            self.mismatch("bool");
        }
        Ok(())
    }

    fn visit_i64<E>(mut self, number: i64) -> Result<(), E> {
        self.number(&number.to_string(), Some(number.into()));
        Ok(())
    }

    fn visit_u64<E>(mut self, number: u64) -> Result<(), E> {
        self.number(&number.to_string(), Some(number.into()));
        Ok(())
    }

    fn visit_f64<E>(mut self, number: f64) -> Result<(), E> {
        self.number(&number.to_string(), None);
        Ok(())
    }

    fn visit_str<E>(mut self, text: &str) -> Result<(), E> {
        self.text(text);
        Ok(())
    }

    fn visit_seq<S: SeqAccess<'de>>(mut self, mut seq: S) -> Result<(), S::Error> {
        let inner = match self.wanted() {
            Node::List(inner) => *inner,
            Node::Free | Node::ObjectOr(_) => FREE,
            _ => {
                self.mismatch("array");
                while seq.next_element::<IgnoredAny>()?.is_some() {}
                return Ok(());
            }
        };
        let length = self.walk.path.len();
        for index in 0.. {
            use std::fmt::Write as _;
            // Writing to a string does not fail.
            let _ = write!(self.walk.path, "[{index}]");
            let seed = Seed { walk: &mut *self.walk, node: inner, owner: self.owner };
            let more = seq.next_element_seed(seed)?.is_some();
            self.walk.path.truncate(length);
            if !more {
                break;
            }
        }
        Ok(())
    }

    fn visit_map<M: MapAccess<'de>>(mut self, mut map: M) -> Result<(), M::Error> {
        let mut wanted = self.wanted();
        if let Node::ObjectOr(inner) = wanted {
            wanted = self.walk.tree.node(*inner);
        }
        match wanted {
            Node::Object(object) => self.object(object, map),
            Node::Map(inner) => self.map(*inner, map),
            Node::Free => self.map(FREE, map),
            _ => {
                self.mismatch("object");
                while map.next_entry::<IgnoredAny, IgnoredAny>()?.is_some() {}
                Ok(())
            }
        }
    }
}
