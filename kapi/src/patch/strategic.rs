//! Kubernetes' strategic merge patch: lists merge by key, and directives say the rest.
//!
//! Pure functions over JSON values; a kind's schema says which lists merge, and by what.
//! Depth is bounded by the parser, work by `O(n log n)` in the size of object and patch.
//! <https://kubernetes.io/docs/tasks/manage-kubernetes-objects/update-api-object-kubectl-patch/#notes-on-the-strategic-merge-patch>

use kcore::collections::{HashMap, HashSet};
use serde_json::{Map, Value};

use super::PatchError;
use super::lists::{self, key_of, no_merge_key};
use crate::schema::{Facts, Node, NodeId, Tree};

pub(super) const DIRECTIVE: &str = "$patch";
const RETAIN_KEYS: &str = "$retainKeys";
const DELETE_FROM: &str = "$deleteFromPrimitiveList/";
const ELEMENT_ORDER: &str = "$setElementOrder/";

pub(super) type Result<T> = std::result::Result<T, PatchError>;
type Members = Map<String, Value>;

/// What a patch says about a whole map.
enum Directive {
    Merge,
    Replace,
    Delete,
}

fn directive(patch: &mut Members) -> Result<Directive> {
    match patch.remove(DIRECTIVE) {
        None => Ok(Directive::Merge),
        Some(value) => match value.as_str() {
            Some("merge") => Ok(Directive::Merge),
            Some("replace") => Ok(Directive::Replace),
            Some("delete") => Ok(Directive::Delete),
            _ => Err(PatchError::Malformed(format!("unknown patch type found: {value}"))),
        },
    }
}

/// A member of an object, as its schema sees it.
struct Place {
    node: NodeId,
    facts: Option<&'static Facts>,
}

impl Place {
    fn of(tree: &Tree, parent: NodeId, name: &str) -> Self {
        match tree.node(parent) {
            Node::Object(object) => match object.field(name) {
                Some(field) => Self { node: field.node, facts: field.facts },
                None => Self::unknown(),
            },
            Node::Map(inner) => Self { node: *inner, facts: None },
            Node::ObjectOr(inner) => Self::of(tree, *inner, name),
            _ => Self::unknown(),
        }
    }

    fn unknown() -> Self {
        Self { node: crate::schema::FREE, facts: None }
    }

    fn merges(&self) -> bool {
        self.facts.is_some_and(|facts| facts.has_strategy("merge"))
    }

    fn replaces(&self) -> bool {
        self.facts.is_some_and(|facts| facts.has_strategy("replace"))
    }

    fn merge_key(&self) -> &'static str {
        self.facts.and_then(|facts| facts.patch_merge_key.as_deref()).unwrap_or_default()
    }

    /// The node of a list's elements.
    fn element(&self, tree: &Tree) -> NodeId {
        match tree.node(self.node) {
            Node::List(inner) => *inner,
            _ => crate::schema::FREE,
        }
    }
}

/// Merges a patch into a map.
pub(super) fn merge_map(
    tree: &Tree,
    node: NodeId,
    original: Members,
    mut patch: Members,
) -> Result<Members> {
    match directive(&mut patch)? {
        Directive::Merge => {}
        Directive::Replace => return Ok(without_directives(patch)),
        Directive::Delete => return Ok(Members::new()),
    }
    let mut merged = original;
    retain_keys(&mut merged, &mut patch)?;
    order_elements(tree, node, &mut merged, &mut patch)?;
    for (name, value) in patch {
        if let Some(list) = name.strip_prefix(DELETE_FROM) {
            delete_from(&mut merged, list, value)?;
            continue;
        }
        if value.is_null() {
            merged.remove(&name);
            continue;
        }
        let place = Place::of(tree, node, &name);
        let value = match (merged.remove(&name), value) {
            (Some(Value::Object(old)), Value::Object(new)) if !place.replaces() => {
                Value::Object(merge_map(tree, place.node, old, new)?)
            }
            (Some(Value::Array(old)), Value::Array(new)) if place.merges() => {
                Value::Array(merge_list(tree, &place, old, new)?)
            }
            (_, new) => clean(new),
        };
        merged.insert(name, value);
    }
    Ok(merged)
}

/// `$retainKeys`: what the list does not name goes.
fn retain_keys(original: &mut Members, patch: &mut Members) -> Result<()> {
    let Some(list) = patch.remove(RETAIN_KEYS) else { return Ok(()) };
    let bad = || PatchError::Malformed("invalid patch format of retainKeys".to_owned());
    let keys = list.as_array().ok_or_else(bad)?;
    let keys: HashSet<&str> =
        keys.iter().map(Value::as_str).collect::<Option<_>>().ok_or_else(bad)?;
    let stray = patch.iter().any(|(name, value)| {
        !value.is_null() && !name.starts_with('$') && !keys.contains(name.as_str())
    });
    if stray {
        return Err(bad());
    }
    original.retain(|name, _| keys.contains(name.as_str()));
    Ok(())
}

/// `$setElementOrder/…`: merges the lists that the patch orders, and orders them.
fn order_elements(
    tree: &Tree,
    node: NodeId,
    original: &mut Members,
    patch: &mut Members,
) -> Result<()> {
    let ordered: Vec<String> =
        patch.keys().filter(|name| name.starts_with(ELEMENT_ORDER)).cloned().collect();
    for name in ordered {
        let Some(Value::Array(order)) = patch.remove(&name) else {
            return Err(PatchError::Malformed(
                "invalid patch format of setElementOrder list".to_owned(),
            ));
        };
        let field = &name[ELEMENT_ORDER.len()..];
        let place = Place::of(tree, node, field);
        let key = place.merge_key();
        let patched = match patch.get(field) {
            None => None,
            Some(Value::Array(_)) => patch.remove(field),
            // A null, or a value of another type: nothing to order.
            Some(_) => continue,
        };
        let before = match original.get(field) {
            Some(Value::Array(list)) => Some(list.clone()),
            _ => None,
        };
        if let Some(Value::Array(list)) = &patched {
            lists::check_order(list, &order, key)?;
        }
        let merged = match (before.clone(), patched) {
            (Some(old), Some(Value::Array(new))) if place.merges() => {
                merge_list(tree, &place, old, new)?
            }
            (_, Some(Value::Array(new))) => match clean(Value::Array(new)) {
                Value::Array(new) => new,
                _ => Vec::new(),
            },
            (Some(old), _) => old,
            (None, _) => continue,
        };
        let merged = lists::arrange(merged, &order, &before.unwrap_or_default(), key)?;
        original.insert(field.to_owned(), Value::Array(merged));
    }
    Ok(())
}

/// `$deleteFromPrimitiveList/…`.
fn delete_from(original: &mut Members, field: &str, values: Value) -> Result<()> {
    let Value::Array(values) = values else {
        return Err(PatchError::Malformed("invalid patch format of primitive list".to_owned()));
    };
    if let Some(Value::Array(list)) = original.get_mut(field) {
        let gone: HashSet<String> = values.iter().map(ToString::to_string).collect();
        list.retain(|value| !gone.contains(&value.to_string()));
    }
    Ok(())
}

/// Merges a patch into a list that has the merge strategy.
fn merge_list(
    tree: &Tree,
    place: &Place,
    original: Vec<Value>,
    patch: Vec<Value>,
) -> Result<Vec<Value>> {
    let objects = lists::of_objects(original.iter().chain(&patch))?;
    let key = place.merge_key();
    let merged = if !objects {
        lists::union(&original, &patch)
    } else if key.is_empty() {
        return Err(PatchError::Malformed("cannot merge lists without merge key".to_owned()));
    } else {
        merge_objects(tree, place.element(tree), key, original.clone(), patch.clone())?
    };
    lists::arrange(merged, &patch, &original, key)
}

/// Merges lists of objects by what `key` tells of them.
fn merge_objects(
    tree: &Tree,
    element: NodeId,
    key: &str,
    original: Vec<Value>,
    patch: Vec<Value>,
) -> Result<Vec<Value>> {
    let mut replace = false;
    let mut deleted = HashSet::default();
    let mut changes = Vec::new();
    for item in patch {
        let Value::Object(mut item) = item else { continue };
        let Some(directive) = item.remove(DIRECTIVE) else {
            changes.push(item);
            continue;
        };
        match directive.as_str() {
            Some("delete") => {
                deleted.insert(key_of(&item, key).ok_or_else(|| no_merge_key(&item, key))?);
            }
            Some("replace") => replace = true,
            Some("merge") => {
                return Err(PatchError::Malformed(
                    "merging lists cannot yet be specified in the patch".to_owned(),
                ));
            }
            _ => {
                return Err(PatchError::Malformed(format!(
                    "unknown patch type found: {directive}"
                )));
            }
        }
    }
    if replace {
        return Ok(changes.into_iter().map(|item| clean(Value::Object(item))).collect());
    }
    let mut merged: Vec<Members> = original
        .into_iter()
        .filter_map(|item| match item {
            Value::Object(item) => Some(item),
            _ => None,
        })
        .filter(|item| key_of(item, key).is_none_or(|value| !deleted.contains(&value)))
        .collect();
    let mut places: HashMap<String, usize> = HashMap::default();
    for (at, item) in merged.iter().enumerate() {
        if let Some(value) = key_of(item, key) {
            places.entry(value).or_insert(at);
        }
    }
    for item in changes {
        let value = key_of(&item, key).ok_or_else(|| no_merge_key(&item, key))?;
        match places.get(&value) {
            Some(at) => {
                let old = std::mem::take(&mut merged[*at]);
                merged[*at] = merge_map(tree, element, old, item)?;
            }
            None => {
                places.insert(value, merged.len());
                merged.push(without_directives(item));
            }
        }
    }
    Ok(merged.into_iter().map(Value::Object).collect())
}

/// A value that is taken over whole: without directives, and without the nulls that would delete.
fn clean(value: Value) -> Value {
    match value {
        Value::Object(map) => Value::Object(without_directives(map)),
        Value::Array(list) => {
            let kept = list.into_iter().filter(|item| item.get(DIRECTIVE).is_none());
            Value::Array(kept.map(clean).collect())
        }
        other => other,
    }
}

fn without_directives(map: Members) -> Members {
    map.into_iter()
        .filter(|(name, value)| {
            let directive = name == DIRECTIVE
                || name == RETAIN_KEYS
                || name.starts_with(DELETE_FROM)
                || name.starts_with(ELEMENT_ORDER);
            !directive && !value.is_null()
        })
        .map(|(name, value)| (name, clean(value)))
        .collect()
}
