//! Objects as rows for people: what `kubectl get` prints.
//! <https://kubernetes.io/docs/reference/using-api/api-concepts/#receiving-resources-as-tables>

use jiff::Timestamp;
use kcore::kind::Typed;
use serde_json::{Value, json};

use crate::registry::Row;

/// A column of a table.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Column {
    /// The heading.
    pub(crate) name: &'static str,
    /// `string`, `integer`, `boolean` or `date`.
    pub(crate) kind: &'static str,
    /// `name` for the column that identifies the row; empty otherwise.
    pub(crate) format: &'static str,
    /// What it shows.
    pub(crate) description: &'static str,
    /// Zero is always shown, one with `-o wide`.
    pub(crate) priority: i32,
}

const NAME: Column = Column {
    name: "Name",
    kind: "string",
    format: "name",
    description: "The name, unique within the namespace.",
    priority: 0,
};
const CREATED: Column = Column {
    name: "Created At",
    kind: "date",
    format: "",
    description: "When the object was created.",
    priority: 0,
};

/// The columns of a kind.
pub(crate) fn columns(_row: &Row) -> &'static [Column] {
    &[NAME, CREATED]
}

/// The cells of an object, one per column.
pub(crate) fn cells(_row: &Row, object: &dyn Typed, _now: Timestamp) -> Vec<Value> {
    let meta = object.meta();
    vec![json!(meta.name), json!(meta.creation_timestamp)]
}
