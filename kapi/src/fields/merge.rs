//! An applied part of an object, merged into the object.
//! <https://kubernetes.io/docs/reference/using-api/server-side-apply/#merge-strategy>

use serde_json::{Map, Value};

use super::relation::{Place, Relation, element_of};
use crate::schema::{FREE, Tree};

/// The live object with what was applied put over it.
pub(crate) fn merge(tree: &Tree, live: &Value, applied: &Value) -> Value {
    put(Place::root(tree), live, applied)
}

fn put(place: Place<'_>, live: &Value, applied: &Value) -> Value {
    match (place.relation(), live, applied) {
        (Relation::Struct(_) | Relation::Map(_), Value::Object(live), Value::Object(applied)) => {
            Value::Object(members(place, live, applied))
        }
        (relation @ Relation::Keyed(..), Value::Array(live), Value::Array(applied))
        | (relation @ Relation::Set, Value::Array(live), Value::Array(applied)) => {
            Value::Array(elements(place, relation, live, applied))
        }
        _ => applied.clone(),
    }
}

fn members(
    place: Place<'_>,
    live: &Map<String, Value>,
    applied: &Map<String, Value>,
) -> Map<String, Value> {
    let mut merged = live.clone();
    for (name, applied) in applied {
        let value = match (live.get(name), place.member(name)) {
            (Some(live), Some(inner)) => put(inner, live, applied),
            _ => applied.clone(),
        };
        merged.insert(name.clone(), value);
    }
    merged
}

/// Merges lists whose elements have owners of their own. Elements that were applied come in the
/// order in which they were applied; the others stay behind what they stood behind.
fn elements(
    place: Place<'_>,
    relation: Relation<'_>,
    live: &[Value],
    applied: &[Value],
) -> Vec<Value> {
    let inner = match relation {
        Relation::Keyed(inner, _) => place.inner(inner),
        _ => place.inner(FREE),
    };
    let named = |list: &[Value]| -> Vec<String> {
        list.iter().map(|value| element_of(relation, value)).collect()
    };
    let (live_names, applied_names) = (named(live), named(applied));
    let find = |names: &[String], name: &str| names.iter().position(|known| known == name);
    let merged_with = |at: usize| match find(&live_names, &applied_names[at]) {
        Some(live_at) => put(inner, &live[live_at], &applied[at]),
        None => applied[at].clone(),
    };
    let mut out: Vec<Value> = Vec::with_capacity(live.len() + applied.len());
    let mut done = vec![false; applied.len()];
    // The next applied element, and the live ones walked so far.
    let mut next = 0;
    for (at, name) in live_names.iter().enumerate() {
        let Some(found) = find(&applied_names, name) else {
            out.push(live[at].clone());
            continue;
        };
        if done[found] {
            continue;
        }
        // It takes its place here if it is the first that was applied of those that are left and
        // known; new ones that were applied before it come before it.
        let first_known = (next..applied.len())
            .find(|at| !done[*at] && find(&live_names, &applied_names[*at]).is_some());
        if first_known != Some(found) {
            continue;
        }
        for (at, done) in done.iter_mut().enumerate().take(found + 1).skip(next) {
            if !std::mem::replace(done, true) {
                out.push(merged_with(at));
            }
        }
        next = found + 1;
    }
    for (at, done) in done.iter().enumerate() {
        if !done {
            out.push(merged_with(at));
        }
    }
    out
}
