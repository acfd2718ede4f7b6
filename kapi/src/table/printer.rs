//! What prints one kind.

use jiff::Timestamp;
use kcore::kind::Typed;
use serde_json::Value;

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

/// Columns, and the cells below them.
pub(super) struct Printer {
    pub(super) columns: &'static [Column],
    pub(super) cells: fn(&dyn Typed, Timestamp) -> Vec<Value>,
}

/// The printer of a Rust type.
macro_rules! printer {
    ($kind:ty, $cells:expr, [$($column:expr),* $(,)?]) => {
        $crate::table::printer::Printer {
            columns: &[$($column),*],
            cells: |object, now| {
                let cells: fn(&$kind, jiff::Timestamp) -> Vec<serde_json::Value> = $cells;
                cells($crate::registry::cast::<$kind>(object), now)
            },
        }
    };
}

/// The cells of a row.
macro_rules! cells {
    ($($cell:expr),* $(,)?) => { vec![$(serde_json::Value::from($cell)),*] };
}

pub(super) use {cells, printer};

pub(super) const fn column(
    name: &'static str,
    kind: &'static str,
    priority: i32,
    description: &'static str,
) -> Column {
    Column { name, kind, format: "", description, priority }
}

/// A text that is always shown.
pub(super) const fn text(name: &'static str, description: &'static str) -> Column {
    column(name, "string", 0, description)
}

/// A text of `-o wide`.
pub(super) const fn wide(name: &'static str, description: &'static str) -> Column {
    column(name, "string", 1, description)
}

/// A number that is always shown.
pub(super) const fn number(name: &'static str, description: &'static str) -> Column {
    column(name, "integer", 0, description)
}

/// What a row is called.
pub(super) const fn name() -> Column {
    Column {
        name: "Name",
        kind: "string",
        format: "name",
        description: "The name, unique within the namespace.",
        priority: 0,
    }
}

/// How old an object is.
pub(super) const fn age() -> Column {
    text("Age", "How long ago the object was created.")
}

/// The containers of a template, their images, and what selects its pods.
pub(super) const CONTAINERS: Column = wide("Containers", "The names of the containers.");
pub(super) const IMAGES: Column = wide("Images", "The images of the containers.");
pub(super) const SELECTOR: Column = wide("Selector", "The labels that select the pods.");
