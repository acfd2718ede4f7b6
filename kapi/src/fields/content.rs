//! The set of what an object holds, and objects without a set.

use serde_json::{Map, Value};

use super::relation::{Place, Relation, element_of};
use super::set::Set;
use crate::schema::Tree;

/// What an object, or a part of one that was applied, holds.
pub(crate) fn field_set(tree: &Tree, value: &Value) -> Set {
    let mut set = Set::default();
    collect(Place::root(tree), value, &mut Vec::new(), &mut set);
    set
}

fn collect(place: Place<'_>, value: &Value, path: &mut Vec<String>, set: &mut Set) {
    match (place.relation(), value) {
        (relation @ (Relation::Struct(_) | Relation::Map(_)), Value::Object(members)) => {
            for (name, value) in members {
                let Some(inner) = place.member(name) else { continue };
                path.push(format!("f:{name}"));
                collect(inner, value, path, set);
                let known = match relation {
                    Relation::Struct(object) => object.field(name).is_some(),
                    _ => false,
                };
                let empty = value.is_null() || value.as_object().is_some_and(Map::is_empty);
                if empty || !known {
                    set.insert(path);
                }
                path.pop();
            }
        }
        (relation @ (Relation::Keyed(..) | Relation::Set), Value::Array(list)) => {
            let inner = match relation {
                Relation::Keyed(inner, _) => place.inner(inner),
                _ => place.inner(crate::schema::FREE),
            };
            for value in list {
                path.push(element_of(relation, value));
                collect(inner, value, path, set);
                set.insert(path);
                path.pop();
            }
        }
        (Relation::Whole, _) => set.insert(path),
        // A null where parts would be.
        _ => {}
    }
}

/// Makes every named member of a set, whose parts are in it, one that is in it itself: what of an
/// object goes with a set.
pub(crate) fn with_named_members(tree: &Tree, set: &Set) -> Set {
    name_members(Place::root(tree), set)
}

fn name_members(place: Place<'_>, set: &Set) -> Set {
    let mut out = set.clone();
    let relation = place.relation();
    for element in set.elements() {
        let inner = match (relation, element.strip_prefix("f:")) {
            (Relation::Struct(object), Some(name)) => {
                if object.field(name).is_some() {
                    out.add(element);
                }
                place.member(name)
            }
            (Relation::Map(inner), Some(_)) => Some(place.inner(inner)),
            (Relation::Keyed(inner, _), None) => Some(place.inner(inner)),
            _ => None,
        };
        if let (Some(inner), Some(below)) = (inner, set.below(element)) {
            out.replace_below(element, name_members(inner, &below));
        }
    }
    out
}

/// An object without the places of a set. What is left empty by that goes too.
pub(crate) fn without(tree: &Tree, value: &Value, set: &Set) -> Value {
    take_out(Place::root(tree), value, set).unwrap_or_else(|| Value::Object(Map::new()))
}

fn take_out(place: Place<'_>, value: &Value, set: &Set) -> Option<Value> {
    let relation = place.relation();
    match (relation, value) {
        (Relation::Struct(_) | Relation::Map(_), Value::Object(members)) if !members.is_empty() => {
            let mut left = Map::new();
            for (name, value) in members {
                let element = format!("f:{name}");
                if set.has(&element) {
                    continue;
                }
                let kept = match (set.below(&element), place.member(name)) {
                    (Some(below), Some(inner)) => take_out(inner, value, &below),
                    _ => Some(value.clone()),
                };
                if let Some(kept) = kept {
                    left.insert(name.clone(), kept);
                }
            }
            (!left.is_empty()).then_some(Value::Object(left))
        }
        (Relation::Keyed(..) | Relation::Set, Value::Array(list)) if !list.is_empty() => {
            let inner = match relation {
                Relation::Keyed(inner, _) => place.inner(inner),
                _ => place.inner(crate::schema::FREE),
            };
            let left: Vec<Value> = list
                .iter()
                .filter_map(|value| {
                    let element = element_of(relation, value);
                    if set.has(&element) {
                        return None;
                    }
                    match set.below(&element) {
                        Some(below) => take_out(inner, value, &below),
                        None => Some(value.clone()),
                    }
                })
                .collect();
            (!left.is_empty()).then_some(Value::Array(left))
        }
        _ => Some(value.clone()),
    }
}
