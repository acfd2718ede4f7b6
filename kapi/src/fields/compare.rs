//! What differs between two states of an object, place by place.
//!
//! The walk goes over the bytes of both and looks only into what differs, so that an update of a
//! status does not read the rest.

use std::borrow::Cow;
use std::cell::LazyCell;
use std::fmt;

use kcore::collections::HashMap;
use serde::de::{Deserializer, IgnoredAny, MapAccess, Visitor};
use serde_json::value::RawValue;
use serde_json::{Map, Value};

use super::places::{FEW, Places};
use super::relation::{Place, Relation, keyed};
use super::set::Set;
use crate::schema::{Name, Tree};

/// The difference between two states.
#[derive(Debug, Default)]
pub(crate) struct Comparison {
    /// What the new state has and the old one has not.
    pub(crate) added: Set,
    /// What both have, with other values.
    pub(crate) modified: Set,
    /// What the old state has and the new one has not.
    pub(crate) removed: Set,
}

impl Comparison {
    pub(crate) fn is_empty(&self) -> bool {
        self.added.is_empty() && self.modified.is_empty() && self.removed.is_empty()
    }

    /// Whatever the new state brought, added and modified places, and what it took away.
    pub(crate) fn into_parts(self) -> (Set, Set) {
        let mut taken = self.added;
        taken.unite(&self.modified);
        (taken, self.removed)
    }
}

/// Compares two states of an object, both as JSON. `managedFields` is no field of anybody.
///
/// # Errors
/// If one of them is no JSON.
pub(crate) fn compare(tree: &Tree, old: &[u8], new: &[u8]) -> serde_json::Result<Comparison> {
    let mut walk = Walk { found: Comparison::default(), path: Vec::new() };
    let (old, new) = (serde_json::from_slice(old)?, serde_json::from_slice(new)?);
    walk.both(Place::root(tree), Some(old), Some(new))?;
    Ok(walk.found)
}

type Raw<'a> = &'a RawValue;
type Members<'a> = Vec<(Cow<'a, str>, Raw<'a>)>;

struct Walk {
    found: Comparison,
    path: Vec<String>,
}

/// What the JSON of a place that has parts begins with.
fn open_of(relation: Relation<'_>) -> Option<u8> {
    match relation {
        Relation::Struct(_) | Relation::Map(_) => Some(b'{'),
        Relation::Keyed(..) | Relation::Set => Some(b'['),
        Relation::Whole => None,
    }
}

/// Whether JSON begins so; a null is nothing in particular.
fn is_kind(raw: Raw<'_>, open: u8) -> bool {
    // A value is at least one byte long.
    let first = raw.get().as_bytes()[0];
    first == open || first == b'n'
}

fn is_empty(raw: Raw<'_>) -> bool {
    matches!(raw.get(), "null" | "{}" | "[]")
}

/// The place of the elements of a list.
fn inner_of<'a>(place: Place<'a>, relation: Relation<'_>) -> Place<'a> {
    match relation {
        Relation::Keyed(inner, _) => place.inner(inner),
        _ => place.inner(crate::schema::FREE),
    }
}

/// Everything at a place that one side alone has: the place itself and all below it.
fn everything(place: Place<'_>, raw: Raw<'_>) -> serde_json::Result<Map<String, Value>> {
    let relation = place.relation();
    let parted = open_of(relation).is_some_and(|open| is_kind(raw, open));
    let mut all = Map::new();
    if !parted || is_empty(raw) {
        return Ok(all);
    }
    if let Relation::Struct(_) | Relation::Map(_) = relation {
        for (name, value) in members(raw)? {
            if let Some(inner) = place.member(&name) {
                let below = everything(inner, value)?;
                all.insert(format!("f:{name}"), Value::Object(below));
            }
        }
    } else {
        let inner = inner_of(place, relation);
        for (element, values) in elements(relation, raw)? {
            let below = match values.as_slice() {
                [only] => everything(inner, only)?,
                // More than one only by mistake; then they belong together.
                _ => Map::new(),
            };
            all.insert(element, Value::Object(below));
        }
    }
    all.insert(".".to_owned(), Value::Object(Map::new()));
    Ok(all)
}

impl Walk {
    /// Compares what is at one place; at least one side has something there.
    fn both(
        &mut self,
        place: Place<'_>,
        old: Option<Raw<'_>>,
        new: Option<Raw<'_>>,
    ) -> serde_json::Result<()> {
        if let (Some(old), Some(new)) = (old, new)
            && old.get() == new.get()
        {
            return Ok(());
        }
        match (old, new) {
            (Some(old), Some(new)) => self.pair(place, old, new)?,
            (None, Some(new)) => {
                let all = everything(place, new)?;
                self.found.added.insert_tree(&self.path, all);
            }
            (Some(old), None) => {
                let all = everything(place, old)?;
                self.found.removed.insert_tree(&self.path, all);
            }
            (None, None) => {}
        }
        Ok(())
    }

    /// Compares what both sides have.
    fn pair(&mut self, place: Place<'_>, old: Raw<'_>, new: Raw<'_>) -> serde_json::Result<()> {
        let relation = place.relation();
        let parted = open_of(relation).is_some_and(|open| is_kind(old, open) && is_kind(new, open));
        // Empty on both sides: how it is empty is all there is to tell.
        if !parted || (is_empty(old) && is_empty(new)) {
            return self.leaf(old, new);
        }
        match relation {
            Relation::Struct(_) | Relation::Map(_) => self.members(place, old, new),
            _ => self.elements(place, relation, old, new),
        }
    }

    fn leaf(&mut self, old: Raw<'_>, new: Raw<'_>) -> serde_json::Result<()> {
        // The same value may be spelled in two ways.
        let (old, new): (Value, Value) =
            (serde_json::from_str(old.get())?, serde_json::from_str(new.get())?);
        if old != new {
            self.found.modified.insert(&self.path);
        }
        Ok(())
    }

    fn members(&mut self, place: Place<'_>, old: Raw<'_>, new: Raw<'_>) -> serde_json::Result<()> {
        let (old, new) = (members(old)?, members(new)?);
        let places = LazyCell::new(|| Places::of(old.len(), old.iter().map(|(name, _)| &**name)));
        let within_metadata = self.path.len() == 1 && self.path[0] == "f:metadata";
        let mut seen = vec![false; old.len()];
        let mut next = 0;
        for (name, new) in &new {
            // Both sides come from one encoder, so a member is mostly where the last one ended.
            let at = match old.get(next) {
                Some((there, _)) if there == name => Some(next),
                _ => places
                    .find(name, || (next..old.len()).chain(0..next).find(|at| old[*at].0 == *name)),
            };
            if let Some(at) = at {
                seen[at] = true;
                next = at + 1;
            }
            if within_metadata && name == "managedFields" {
                continue;
            }
            self.member(place, name, at.map(|at| old[at].1), Some(new))?;
        }
        for ((name, old), _) in old.iter().zip(seen).filter(|(_, seen)| !seen) {
            if !(within_metadata && name == "managedFields") {
                self.member(place, name, Some(old), None)?;
            }
        }
        Ok(())
    }

    fn member(
        &mut self,
        place: Place<'_>,
        name: &str,
        old: Option<Raw<'_>>,
        new: Option<Raw<'_>>,
    ) -> serde_json::Result<()> {
        let Some(inner) = place.member(name) else { return Ok(()) };
        if let (Some(old), Some(new)) = (old, new)
            && old.get() == new.get()
        {
            return Ok(());
        }
        self.path.push(format!("f:{name}"));
        let outcome = self.both(inner, old, new);
        self.path.pop();
        outcome
    }

    fn elements(
        &mut self,
        place: Place<'_>,
        relation: Relation<'_>,
        old: Raw<'_>,
        new: Raw<'_>,
    ) -> serde_json::Result<()> {
        let (old, new) = (elements(relation, old)?, elements(relation, new)?);
        let inner = inner_of(place, relation);
        let find = |places: &Places<'_>, all: &[Element<'_>], element: &str| {
            places.find(element, || all.iter().position(|(known, _)| known == element))
        };
        let places = Places::of(old.len(), old.iter().map(|(name, _)| name.as_str()));
        for (element, new) in &new {
            let old = find(&places, &old, element).map(|at| &old[at].1);
            self.path.push(element.clone());
            let outcome = self.element(inner, old.map_or(&[], Vec::as_slice), new);
            self.path.pop();
            outcome?;
        }
        let places = Places::of(new.len(), new.iter().map(|(name, _)| name.as_str()));
        for (element, old) in &old {
            if find(&places, &new, element).is_some() {
                continue;
            }
            self.path.push(element.clone());
            let outcome = self.element(inner, old, &[]);
            self.path.pop();
            outcome?;
        }
        Ok(())
    }

    /// Compares the elements of one name; there is more than one only by mistake, and then they
    /// belong together.
    fn element(
        &mut self,
        place: Place<'_>,
        old: &[Raw<'_>],
        new: &[Raw<'_>],
    ) -> serde_json::Result<()> {
        match (old, new) {
            ([] | [_], [] | [_]) => self.both(place, old.first().copied(), new.first().copied()),
            _ => {
                let set = match (old, new) {
                    ([], _) => &mut self.found.added,
                    (_, []) => &mut self.found.removed,
                    _ if old.iter().map(|raw| raw.get()).eq(new.iter().map(|raw| raw.get())) => {
                        return Ok(());
                    }
                    _ => &mut self.found.modified,
                };
                set.insert(&self.path);
                Ok(())
            }
        }
    }
}

/// The members of an object, in their order.
fn members(raw: Raw<'_>) -> serde_json::Result<Members<'_>> {
    struct All;

    impl<'de> Visitor<'de> for All {
        type Value = Members<'de>;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("an object")
        }

        fn visit_map<M: MapAccess<'de>>(self, mut map: M) -> Result<Self::Value, M::Error> {
            let mut all = Vec::with_capacity(16);
            while let Some((Name(name), value)) = map.next_entry()? {
                all.push((name, value));
            }
            Ok(all)
        }
    }

    if raw.get() == "null" {
        return Ok(Vec::new());
    }
    serde_json::Deserializer::from_str(raw.get()).deserialize_map(All)
}

/// What tells an element of a list apart, and all that are told so.
type Element<'a> = (String, Vec<Raw<'a>>);

/// The elements of a list by what tells them apart, in their order.
fn elements<'a>(relation: Relation<'_>, raw: Raw<'a>) -> serde_json::Result<Vec<Element<'a>>> {
    if raw.get() == "null" {
        return Ok(Vec::new());
    }
    let list: Vec<Raw<'a>> = serde_json::from_str(raw.get())?;
    let mut all: Vec<Element<'a>> = Vec::with_capacity(list.len());
    let is_long = list.len() > FEW;
    let mut places: HashMap<String, usize> = HashMap::default();
    for raw in list {
        let element = match relation {
            Relation::Keyed(_, keys) if raw.get().starts_with('{') => keys_of(raw, keys)?,
            _ => format!("v:{}", serde_json::from_str::<Value>(raw.get())?),
        };
        let known = match is_long {
            true => places.get(&element).copied(),
            false => all.iter().position(|(known, _)| *known == element),
        };
        match known {
            Some(at) => all[at].1.push(raw),
            None => {
                if is_long {
                    places.insert(element.clone(), all.len());
                }
                all.push((element, vec![raw]));
            }
        }
    }
    Ok(all)
}

/// What tells an element of a list apart, read without the rest of it.
fn keys_of(raw: Raw<'_>, keys: &[String]) -> serde_json::Result<String> {
    struct Keys<'k>(&'k [String]);

    impl<'de> Visitor<'de> for Keys<'_> {
        type Value = Map<String, Value>;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("an object")
        }

        fn visit_map<M: MapAccess<'de>>(self, mut map: M) -> Result<Self::Value, M::Error> {
            let mut found = Map::new();
            while let Some(Name(name)) = map.next_key()? {
                if self.0.iter().any(|key| *key == name) {
                    found.insert(name.into_owned(), map.next_value()?);
                } else {
                    map.next_value::<IgnoredAny>()?;
                }
            }
            Ok(found)
        }
    }

    let found = serde_json::Deserializer::from_str(raw.get()).deserialize_map(Keys(keys))?;
    Ok(keyed(&found, keys))
}
