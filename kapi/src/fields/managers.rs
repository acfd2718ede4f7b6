//! Who manages which fields of an object.
//! <https://kubernetes.io/docs/reference/using-api/server-side-apply/#field-management>

use std::sync::OnceLock;

use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{FieldsV1, ManagedFieldsEntry, Time};
use serde::Serialize;
use serde_json::value::RawValue;
use serde_json::{Value, json};

use super::blank::blank;
use super::compare::{Comparison, compare};
use super::content::{field_set, with_named_members, without};
use super::merge::merge;
use super::set::Set;
use crate::schema::Tree;

/// Managers by update that are kept apart; the oldest of more become one.
const MAX_UPDATERS: usize = 10;
/// The name of what they become.
const ANCIENT: &str = "ancient-changes";
/// Who manages what was there before somebody applied for the first time.
const BEFORE_APPLY: &str = "before-first-apply";
const APPLY: &str = "Apply";
const UPDATE: &str = "Update";
/// The form in which fields are kept; there is no other.
const FIELDS_TYPE: &str = "FieldsV1";

/// Who writes, and how.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Manager<'a> {
    pub(crate) name: &'a str,
    pub(crate) api_version: &'a str,
    pub(crate) subresource: &'a str,
    pub(crate) now: Timestamp,
}

impl Manager<'_> {
    /// The managers of an object that this one creates, as [`Managers::encode`] has them and as
    /// JSON, of fields that are JSON already.
    pub(crate) fn encode_creator(&self, fields: &RawValue) -> serde_json::Result<Vec<u8>> {
        #[derive(Serialize)]
        #[serde(rename_all = "camelCase")]
        struct Written<'a> {
            api_version: &'a str,
            fields_type: &'a str,
            fields_v1: &'a RawValue,
            manager: &'a str,
            operation: &'a str,
            time: Time,
        }

        let mut json = Vec::with_capacity(fields.get().len() + 192);
        let (manager, time) = (self.name, Time(self.now));
        let only = Written {
            api_version: self.api_version,
            fields_type: FIELDS_TYPE,
            fields_v1: fields,
            manager,
            operation: UPDATE,
            time,
        };
        serde_json::to_writer(&mut json, &[only])?;
        Ok(json)
    }
}

/// Fields that another manager has, and that an apply would change.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Conflict {
    /// The manager, in words.
    pub(crate) manager: String,
    pub(crate) fields: Set,
}

/// What nobody manages: what the server sets, or what names the object.
fn unmanaged() -> &'static Set {
    static SET: OnceLock<Set> = OnceLock::new();
    SET.get_or_init(compute_unmanaged)
}

fn compute_unmanaged() -> Set {
    let names = [
        "name",
        "namespace",
        "creationTimestamp",
        "selfLink",
        "uid",
        "clusterName",
        "generation",
        "managedFields",
        "resourceVersion",
    ];
    let mut set = Set::default();
    set.insert(&["f:apiVersion"]);
    set.insert(&["f:kind"]);
    set.insert(&["f:metadata"]);
    for name in names {
        set.insert(&["f:metadata".to_owned(), format!("f:{name}")]);
    }
    set
}

/// What there is to manage in what a write brought.
pub(crate) fn managed(changed: Comparison) -> Set {
    let (mut taken, _) = changed.into_parts();
    taken.subtract(unmanaged());
    taken
}

/// What of an object is its scale.
fn replicas() -> &'static Set {
    static SET: OnceLock<Set> = OnceLock::new();
    SET.get_or_init(|| {
        let mut set = Set::default();
        set.insert(&["f:spec", "f:replicas"]);
        set
    })
}

/// The managers of one object.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Managers(Vec<Entry>);

#[derive(Debug, Clone, PartialEq, Eq)]
struct Entry {
    name: String,
    applied: bool,
    api_version: String,
    subresource: String,
    time: Option<Timestamp>,
    fields: Set,
}

impl Entry {
    fn of(who: &Manager<'_>, applied: bool, fields: Set) -> Self {
        Self {
            name: who.name.to_owned(),
            applied,
            api_version: who.api_version.to_owned(),
            subresource: who.subresource.to_owned(),
            time: Some(who.now),
            fields,
        }
    }

    /// Whether it is the entry of a manager. One who applies has one entry whatever the version.
    fn is(&self, who: &Manager<'_>, applied: bool) -> bool {
        self.name == who.name
            && self.applied == applied
            && self.subresource == who.subresource
            && (applied || self.api_version == who.api_version)
    }

    fn in_words(&self) -> String {
        let mut words = format!("{:?}", self.name);
        if !self.subresource.is_empty() {
            words.push_str(&format!(" with subresource {:?}", self.subresource));
        }
        if !self.applied {
            words.push_str(&format!(" using {}", self.api_version));
        }
        words
    }
}

impl Managers {
    /// Reads the managers off an object that a client sent. Entries that cannot be read are none.
    pub(crate) fn decode(entries: Option<Vec<ManagedFieldsEntry>>) -> Self {
        Self::read(entries, |fields| Set::decode(&fields))
    }

    /// Takes the managers off an object that is stored: they are spelled as they should be.
    pub(crate) fn known(entries: Option<Vec<ManagedFieldsEntry>>) -> Self {
        Self::read(entries, |fields| match fields {
            Value::Object(tree) => Set::from_tree(tree),
            _ => Set::default(),
        })
    }

    fn read(entries: Option<Vec<ManagedFieldsEntry>>, set: impl Fn(Value) -> Set) -> Self {
        let read = |entry: ManagedFieldsEntry| {
            let applied = match entry.operation.as_deref() {
                Some(APPLY) => true,
                Some(UPDATE) => false,
                _ => return None,
            };
            let FieldsV1(fields) = entry.fields_v1?;
            Some(Entry {
                name: entry.manager.unwrap_or_default(),
                applied,
                api_version: entry.api_version.unwrap_or_default(),
                subresource: entry.subresource.unwrap_or_default(),
                time: entry.time.map(|Time(time)| time),
                fields: set(fields),
            })
        };
        Self(entries.into_iter().flatten().filter_map(read).collect())
    }

    /// The managers as an object carries them: those who applied first, then by time and name.
    pub(crate) fn encode(mut self) -> Option<Vec<ManagedFieldsEntry>> {
        let seconds = |entry: &Entry| entry.time.map_or(0, Timestamp::as_second);
        self.0.sort_by(|a, b| {
            (!a.applied, seconds(a), &a.name, &a.api_version, &a.subresource).cmp(&(
                !b.applied,
                seconds(b),
                &b.name,
                &b.api_version,
                &b.subresource,
            ))
        });
        let write = |entry: Entry| ManagedFieldsEntry {
            api_version: Some(entry.api_version),
            fields_type: Some(FIELDS_TYPE.to_owned()),
            fields_v1: Some(FieldsV1(Value::Object(entry.fields.into_tree()))),
            manager: Some(entry.name),
            operation: Some(if entry.applied { APPLY } else { UPDATE }.to_owned()),
            subresource: Some(entry.subresource).filter(|name| !name.is_empty()),
            time: entry.time.map(Time),
        };
        (!self.0.is_empty()).then(|| self.0.into_iter().map(write).collect())
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// What the managers of an object have of its scale.
    pub(crate) fn of_scale(&self) -> Self {
        let kept = self
            .0
            .iter()
            .map(|entry| Entry { fields: entry.fields.intersection(replicas()), ..entry.clone() });
        Self(kept.filter(|entry| !entry.fields.is_empty()).collect())
    }

    /// The managers of an object with those of its scale, as they have become.
    pub(crate) fn with_scale(mut self, scale: Self) -> Self {
        for entry in &mut self.0 {
            entry.fields.subtract(replicas());
        }
        for mut entry in scale.of_scale().0 {
            let is = |known: &&mut Entry| {
                (&known.name, known.applied, &known.api_version, &known.subresource)
                    == (&entry.name, entry.applied, &entry.api_version, &entry.subresource)
            };
            match self.0.iter_mut().find(is) {
                Some(known) => {
                    known.fields.unite(&entry.fields);
                    known.time = entry.time.take();
                }
                None => self.0.push(entry),
            }
        }
        self.0.retain(|entry| !entry.fields.is_empty());
        self
    }

    /// Takes an update in: whoever changes a field has it from then on.
    pub(crate) fn update(&mut self, changed: Comparison, who: &Manager<'_>) {
        let (mut taken, removed) = changed.into_parts();
        for entry in &mut self.0 {
            entry.fields.subtract(&taken);
            entry.fields.subtract(&removed);
        }
        taken.subtract(unmanaged());
        if !taken.is_empty() {
            match self.0.iter_mut().find(|entry| entry.is(who, false)) {
                Some(entry) => {
                    entry.fields.unite(&taken);
                    entry.time = Some(who.now);
                }
                None => self.0.push(Entry::of(who, false, taken)),
            }
        }
        self.0.retain(|entry| !entry.fields.is_empty());
        self.cap();
    }

    /// Makes the oldest updaters one where there are too many.
    fn cap(&mut self) {
        let count = |this: &Self| this.0.iter().filter(|entry| !entry.applied).count();
        if count(self) <= MAX_UPDATERS {
            return;
        }
        let second = |entry: &Entry| entry.time.map_or(0, Timestamp::as_second);
        let mut oldest: Vec<Entry> = self.0.iter().filter(|e| !e.applied).cloned().collect();
        oldest.sort_by(|a, b| (second(a), &a.name).cmp(&(second(b), &b.name)));
        let mut first_of: Vec<Entry> = Vec::new();
        for entry in oldest {
            if count(self) <= MAX_UPDATERS {
                return;
            }
            let version = &entry.api_version;
            let Some(first) = first_of.iter().find(|first| first.api_version == *version) else {
                first_of.push(entry);
                continue;
            };
            let is_bucket = |e: &Entry| {
                !e.applied
                    && e.name == ANCIENT
                    && e.api_version == *version
                    && e.subresource.is_empty()
            };
            if !self.0.iter().any(is_bucket) {
                // The oldest of its version becomes what the others go into.
                let Some(at) = self.0.iter().position(|known| known == first) else { continue };
                ANCIENT.clone_into(&mut self.0[at].name);
                self.0[at].subresource.clear();
            }
            self.0.retain(|known| *known != entry || is_bucket(known));
            if let Some(bucket) = self.0.iter_mut().find(|known| is_bucket(known)) {
                bucket.fields.unite(&entry.fields);
                // The one that went in is the younger one.
                bucket.time = entry.time;
            }
        }
    }

    /// Applies a part of an object: returns the object with it, or who stands against it.
    ///
    /// # Errors
    /// The conflicts, unless the apply is by force.
    pub(crate) fn apply(
        &mut self,
        tree: &Tree,
        live: &Value,
        applied: &Value,
        who: &Manager<'_>,
        force: bool,
    ) -> Result<Value, Vec<Conflict>> {
        let before = self.clone();
        let mut fields = field_set(tree, applied);
        fields.subtract(unmanaged());
        let last = self.take(who);
        let entry = Entry::of(who, true, fields);
        self.0.push(entry);
        let merged = merge(tree, live, applied);
        let merged = match &last {
            Some(last) => self.prune(tree, merged, &last.fields),
            None => merged,
        };
        let changed = difference(tree, live, &merged);
        let unchanged = changed.is_empty();
        let (taken, removed) = changed.into_parts();
        let others = self.0.iter().filter(|entry| !entry.is(who, true));
        let conflicts: Vec<Conflict> = others
            .filter_map(|entry| {
                let fields = entry.fields.intersection(&taken);
                let manager = entry.in_words();
                (!fields.is_empty()).then_some(Conflict { manager, fields })
            })
            .collect();
        if !force && !conflicts.is_empty() {
            *self = before;
            return Err(conflicts);
        }
        for entry in self.0.iter_mut().filter(|entry| !entry.is(who, true)) {
            entry.fields.subtract(&taken);
            entry.fields.subtract(&removed);
        }
        self.0.retain(|entry| !entry.fields.is_empty());
        // An apply that changes nothing has not happened: its time is the last one's (A4).
        if unchanged
            && let Some(last) = last
            && let Some(entry) = self.0.iter_mut().find(|entry| entry.is(who, true))
            && entry.fields == last.fields
        {
            entry.time = last.time;
        }
        Ok(merged)
    }

    /// Takes the entry of one who applied before out.
    fn take(&mut self, who: &Manager<'_>) -> Option<Entry> {
        let at = self.0.iter().position(|entry| entry.is(who, true))?;
        Some(self.0.remove(at))
    }

    /// Takes out what the manager applied last time and not this time, and nobody else has.
    fn prune(&self, tree: &Tree, merged: Value, last: &Set) -> Value {
        if last.is_empty() {
            return merged;
        }
        let named = |set: &Set| with_named_members(tree, set);
        let last = named(last);
        let all = named(&field_set(tree, &merged));
        let pruned = without(tree, &merged, &last);
        // What somebody still has comes back.
        let mut kept = named(&field_set(tree, &pruned));
        for entry in &self.0 {
            kept.unite(&named(&entry.fields));
        }
        let mut gone = all.clone();
        gone.subtract(&kept);
        let pruned = without(tree, &merged, &gone);
        // So does what went only because something around it did.
        let mut gone = all;
        gone.subtract(&named(&field_set(tree, &pruned)));
        without(tree, &merged, &gone.intersection(&last))
    }

    /// Says who has what was there before anybody applied, for an object nobody tracked.
    pub(crate) fn begin(&mut self, tree: &Tree, live: &Value, who: &Manager<'_>) {
        if self.is_empty() {
            let who = Manager { name: BEFORE_APPLY, ..*who };
            self.update(difference(tree, &blank(tree), live), &who);
        }
    }
}

/// The difference between two states that are read already.
fn difference(tree: &Tree, old: &Value, new: &Value) -> Comparison {
    // Values have a text, and the texts of values can be read.
    let text = |value: &Value| value.to_string().into_bytes();
    compare(tree, &text(old), &text(new)).unwrap_or_default()
}

/// Whether a client wants nobody to manage anything any longer: one entry that is empty.
pub(crate) fn is_reset(entries: Option<&[ManagedFieldsEntry]>) -> bool {
    matches!(entries, Some([only]) if *only == ManagedFieldsEntry::default())
}

/// What client-side apply may be overruled in: what it wrote last and is still as it wrote it.
pub(crate) fn last_applied(tree: &Tree, live: &Value) -> Option<Set> {
    let text = live["metadata"]["annotations"][LAST_APPLIED].as_str()?;
    let written: Value = serde_json::from_str(text).ok()?;
    let mut fields = field_set(tree, &written);
    let changed = difference(tree, &written, live);
    for set in [&changed.modified, &changed.added, &changed.removed] {
        fields.subtract(set);
    }
    Some(fields)
}

/// The annotation in which client-side apply keeps what it wrote.
pub(crate) const LAST_APPLIED: &str = "kubectl.kubernetes.io/last-applied-configuration";

/// Whether all of the conflicts are about fields of a set; otherwise those that are not.
pub(crate) fn beyond(conflicts: Vec<Conflict>, allowed: &Set) -> Vec<Conflict> {
    conflicts
        .into_iter()
        .filter_map(|mut conflict| {
            conflict.fields.subtract(allowed);
            (!conflict.fields.is_empty()).then_some(conflict)
        })
        .collect()
}

/// What client-side apply would have written: the applied part, with the annotation empty.
pub(crate) fn as_last_applied(applied: &Value) -> String {
    let mut written = applied.clone();
    if let Some(metadata) = written["metadata"].as_object_mut() {
        let annotations = metadata.entry("annotations").or_insert_with(|| json!({}));
        if let Some(annotations) = annotations.as_object_mut() {
            annotations.remove(LAST_APPLIED);
        }
    }
    format!("{written}\n")
}
