//! The schemas of the built-in kinds, as k8s-openapi's types carry them.

mod check;
mod facts;
mod lenient;
mod name;
mod tree;
mod weight;

#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, OnceLock};

use kcore::status::Status;
use parking_lot::Mutex;
use schemars::{Schema, SchemaGenerator};
use serde_json::Value;

pub(crate) use check::{Problem, check, duplicates};
pub(crate) use facts::{Facts, of_type};
pub(crate) use lenient::repair;
pub(crate) use name::Name;
pub(crate) use tree::{FREE, Field, Node, NodeId, Object, Tree};
pub(crate) use weight::{Budget, TooHeavy, weigh, weigh_anything, weigh_as};

use crate::registry::Row;

/// Where a kind's schema comes from; it is built when somebody first asks.
pub(crate) struct SchemaSource {
    origin: Origin,
    tree: OnceLock<Arc<Tree>>,
}

enum Origin {
    /// A Rust type.
    Type { add: fn(&mut SchemaGenerator) -> Schema, name: fn() -> String },
    /// A definition that came with a kind at run time.
    Published { name: String, schema: Value },
}

impl SchemaSource {
    pub(crate) const fn of<K: schemars::JsonSchema>() -> Self {
        let origin = Origin::Type {
            add: SchemaGenerator::subschema_for::<K>,
            name: || K::schema_name().into_owned(),
        };
        Self { origin, tree: OnceLock::new() }
    }

    /// The schema of a kind that is no Rust type.
    #[cfg_attr(not(test), expect(dead_code, reason = "custom resources are not served yet"))]
    pub(crate) fn published(name: String, schema: Value) -> Self {
        Self { origin: Origin::Published { name, schema }, tree: OnceLock::new() }
    }

    /// Adds the kind's schema, and all it refers to, to a generator.
    pub(crate) fn add(&self, generator: &mut SchemaGenerator) {
        match &self.origin {
            Origin::Type { add, .. } => {
                let _ = add(generator);
            }
            Origin::Published { name, schema } => {
                generator.definitions_mut().insert(name.clone(), schema.clone());
            }
        }
    }

    /// The schema's name: `io.k8s.api.core.v1.Pod`.
    pub(crate) fn name(&self) -> String {
        match &self.origin {
            Origin::Type { name, .. } => name(),
            Origin::Published { name, .. } => name.clone(),
        }
    }

    /// The resolved schema.
    pub(crate) fn tree(&self) -> &Tree {
        /// The trees of this process, by name: facts of the types, whoever serves them.
        static BUILT: Mutex<BTreeMap<String, Arc<Tree>>> = Mutex::new(BTreeMap::new());
        self.tree.get_or_init(|| {
            let Origin::Type { name, .. } = &self.origin else {
                return Arc::new(Tree::build(self));
            };
            let name = name();
            if let Some(tree) = BUILT.lock().get(&name) {
                return Arc::clone(tree);
            }
            let tree = Arc::new(Tree::build(self));
            Arc::clone(BUILT.lock().entry(name).or_insert(tree))
        })
    }
}

impl fmt::Debug for SchemaSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.name())
    }
}

/// What is done about fields that the schema does not know, or that occur twice.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum FieldValidation {
    /// The request is refused.
    Strict,
    /// The client is warned.
    Warn,
    /// Nothing.
    Ignore,
}

impl std::str::FromStr for FieldValidation {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "Strict" => Ok(Self::Strict),
            // What a server does that is not told.
            "Warn" | "" => Ok(Self::Warn),
            "Ignore" => Ok(Self::Ignore),
            other => Err(format!(
                "fieldValidation: Unsupported value: {other:?}: supported values: \"Ignore\", \
                 \"Strict\", \"Warn\""
            )),
        }
    }
}

/// Holds a body against its kind's schema; returns what to warn of.
pub(crate) fn validate_fields(
    row: &Row,
    json: &[u8],
    directive: FieldValidation,
) -> crate::server::Result<Vec<String>> {
    if directive == FieldValidation::Ignore {
        return Ok(Vec::new());
    }
    let problems = check(row.schema.tree(), json);
    if let Some(fatal) = problems.iter().find(|problem| !problem.is_strictness()) {
        return Err(unreadable(row, fatal).into());
    }
    if problems.is_empty() || directive == FieldValidation::Warn {
        return Ok(problems.iter().map(ToString::to_string).collect());
    }
    Err(unreadable(row, &strict_error(&problems)).into())
}

/// The words for fields that strictness refuses.
pub(crate) fn strict_error(problems: &[Problem]) -> String {
    let list: Vec<String> = problems.iter().map(ToString::to_string).collect();
    format!("strict decoding error: {}", list.join(", "))
}

/// 400 for a body that is no object of its kind.
pub(crate) fn unreadable(row: &Row, why: &dyn fmt::Display) -> Status {
    let (kind, version) = (&row.resource.kind, &row.resource.version);
    Status::bad_request(format!(
        "{kind} in version {version:?} cannot be handled as a {kind}: {why}"
    ))
}
