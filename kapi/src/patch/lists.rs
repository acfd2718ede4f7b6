//! The order of merged lists, and what tells their elements apart.

use kcore::collections::{HashMap, HashSet};
use serde_json::{Map, Value};

use super::PatchError;
use super::strategic::{DIRECTIVE, Result};

/// What tells an object apart from the others of its list.
pub(super) fn key_of(item: &Map<String, Value>, key: &str) -> Option<String> {
    item.get(key).map(ToString::to_string)
}

/// A patch's element does not say which one it means.
pub(super) fn no_merge_key(item: &Map<String, Value>, key: &str) -> PatchError {
    let item = Value::Object(item.clone());
    PatchError::Malformed(format!("map: {item} does not contain declared merge key: {key}"))
}

/// What tells an element apart: its merge key, or the whole of a scalar.
fn identity(item: &Value, key: &str) -> Result<String> {
    match item {
        Value::Object(map) => key_of(map, key).ok_or_else(|| no_merge_key(map, key)),
        scalar => Ok(scalar.to_string()),
    }
}

/// Whether a list's elements are objects. They are all of one type, and no lists.
pub(super) fn of_objects<'a>(items: impl Iterator<Item = &'a Value>) -> Result<bool> {
    let mut objects = None;
    for item in items {
        if item.is_array() {
            return Err(PatchError::Malformed("lists of lists are not supported".to_owned()));
        }
        if *objects.get_or_insert(item.is_object()) != item.is_object() {
            return Err(PatchError::Malformed("list element types are not identical".to_owned()));
        }
    }
    Ok(objects.unwrap_or(false))
}

/// The scalars of both lists, each once.
pub(super) fn union(original: &[Value], patch: &[Value]) -> Vec<Value> {
    let mut seen = HashSet::default();
    let all = original.iter().chain(patch);
    all.filter(|value| seen.insert(value.to_string())).cloned().collect()
}

fn positions(order: &[Value], key: &str) -> HashMap<String, usize> {
    let mut positions = HashMap::default();
    for (at, item) in order.iter().enumerate() {
        // An element without a key has no place; whoever merges it complains.
        if let Ok(identity) = identity(item, key) {
            positions.entry(identity).or_insert(at);
        }
    }
    positions
}

/// Puts the elements that `order` names into its order, and the others, in the order they had
/// `before`, between them where they were.
pub(super) fn arrange(
    merged: Vec<Value>,
    order: &[Value],
    before: &[Value],
    key: &str,
) -> Result<Vec<Value>> {
    let wanted = positions(order, key);
    let before = positions(before, key);
    let mut named = Vec::new();
    let mut others = Vec::new();
    for item in merged {
        let identity = identity(&item, key)?;
        let had = before.get(&identity).copied();
        match wanted.get(&identity) {
            Some(at) => named.push((*at, had, item)),
            None => others.push((had, item)),
        }
    }
    named.sort_by_key(|(at, ..)| *at);
    others.sort_by_key(|(had, _)| had.unwrap_or(usize::MAX));
    let mut named = named.into_iter().peekable();
    let mut others = others.into_iter().peekable();
    let mut all = Vec::new();
    loop {
        let other_first = match (others.peek(), named.peek()) {
            (None, None) => return Ok(all),
            (Some(_), None) => true,
            (None, Some(_)) => false,
            (Some((Some(other), _)), Some((_, Some(named), _))) => other < named,
            // What was not there before goes first.
            (Some(_), Some(_)) => false,
        };
        let next = match other_first {
            true => others.next().map(|(_, item)| item),
            false => named.next().map(|(.., item)| item),
        };
        all.extend(next);
    }
}

/// A patch's elements must stand in the order that it sets.
pub(super) fn check_order(patch: &[Value], order: &[Value], key: &str) -> Result<()> {
    let positions = positions(order, key);
    let mut last = None;
    for item in patch.iter().filter(|item| item.get(DIRECTIVE).is_none()) {
        let at = positions.get(&identity(item, key)?).copied();
        if at.is_none() || at < last {
            let list = |items: &[Value]| Value::Array(items.to_vec()).to_string();
            return Err(PatchError::Malformed(format!(
                "the order in patch list {} doesn't match $setElementOrder list {}",
                list(patch),
                list(order)
            )));
        }
        last = at;
    }
    Ok(())
}
