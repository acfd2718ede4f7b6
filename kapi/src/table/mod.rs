//! Objects as rows for people: what `kubectl get` prints.
//! <https://kubernetes.io/docs/reference/using-api/api-concepts/#receiving-resources-as-tables>

mod access;
mod cell;
mod cluster;
mod extension;
mod network;
mod pod;
mod printer;
mod storage;
mod workload;

#[cfg(test)]
mod tests;

use jiff::Timestamp;
use kcore::kind::Typed;
use serde_json::{Value, json};

pub(crate) use printer::Column;
use printer::{Printer, column, name};

use crate::registry::Row;

/// What kinds get that have no columns of their own.
static PLAIN: Printer = Printer {
    columns: &[name(), column("Created At", "date", 0, "When the object was created.")],
    cells: |object, _| {
        let meta = object.meta();
        vec![json!(meta.name), json!(meta.creation_timestamp)]
    },
};

/// The printer of a kind.
fn printer(row: &Row) -> &'static Printer {
    let group = row.stored_as.as_ref().map_or(&*row.resource.group, |stored| &stored.group);
    let kind: &str = &row.resource.kind;
    workload::printer(group, kind)
        .or_else(|| cluster::printer(group, kind))
        .or_else(|| network::printer(group, kind))
        .or_else(|| storage::printer(group, kind))
        .or_else(|| access::printer(group, kind))
        .or_else(|| extension::printer(group, kind))
        .unwrap_or(&PLAIN)
}

/// The columns of a kind.
pub(crate) fn columns(row: &Row) -> &'static [Column] {
    printer(row).columns
}

/// The cells of an object, one per column; ages are counted until `now`.
pub(crate) fn cells(row: &Row, object: &dyn Typed, now: Timestamp) -> Vec<Value> {
    let print = printer(row).cells;
    match row.print_as {
        None => print(object, now),
        // A kind of several versions prints as the one that is stored.
        Some(convert) => print(&*convert(object.boxed_clone()), now),
    }
}
