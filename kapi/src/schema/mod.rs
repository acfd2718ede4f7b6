//! The schemas of the built-in kinds, as k8s-openapi's types carry them.

use std::fmt;

/// Where a kind's schema comes from; it is built when somebody first asks.
#[derive(Clone, Copy)]
pub(crate) struct SchemaSource {
    /// Adds the kind's schema, and all it refers to, to a generator.
    pub(crate) add: fn(&mut schemars::SchemaGenerator) -> schemars::Schema,
    /// The schema's name: `io.k8s.api.core.v1.Pod`.
    pub(crate) name: fn() -> String,
}

impl SchemaSource {
    pub(crate) const fn of<K: schemars::JsonSchema>() -> Self {
        Self {
            add: schemars::SchemaGenerator::subschema_for::<K>,
            name: || K::schema_name().into_owned(),
        }
    }
}

impl fmt::Debug for SchemaSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&(self.name)())
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
            "Warn" => Ok(Self::Warn),
            "Ignore" => Ok(Self::Ignore),
            other => Err(format!(
                "fieldValidation: Unsupported value: {other:?}: supported values: \"Ignore\", \
                 \"Strict\", \"Warn\""
            )),
        }
    }
}

/// Holds a body against a schema; returns what to warn of.
pub(crate) fn validate_fields(
    _source: &SchemaSource,
    _json: &[u8],
    _directive: FieldValidation,
) -> Result<Vec<String>, kcore::status::Status> {
    Ok(Vec::new())
}
