//! The part of an object that indexes and selectors look at.

use std::collections::BTreeMap;

use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use serde::{Deserialize, de};

use crate::name::{GroupVersionKind, NamespacedName};
use crate::{Error, Result};

/// The projection of an object's metadata.
#[derive(Debug, Clone, Default)]
pub struct Meta {
    /// The `apiVersion`.
    pub api_version: String,
    /// The kind.
    pub kind: String,
    /// The namespace; empty for cluster-scoped objects.
    pub namespace: String,
    /// The name; empty for kinds that are never stored.
    pub name: String,
    /// The uid; empty for kinds that are never stored.
    pub uid: String,
    /// The generation of the desired state; zero for kinds without one.
    pub generation: i64,
    /// The labels.
    pub labels: BTreeMap<String, String>,
    /// The owners.
    pub owners: Vec<Owner>,
    /// The finalizers that hold a deletion up.
    pub finalizers: Vec<String>,
    /// When deletion was asked for, if it was.
    pub deletion: Option<Timestamp>,
    /// The kind's selectable fields that are not empty, as (path, value), in the kind's order.
    pub fields: Vec<(&'static str, String)>,
}

/// An owner reference, as the garbage collector sees it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Owner {
    /// The owner's `apiVersion`.
    pub api_version: String,
    /// The owner's kind.
    pub kind: String,
    /// The owner's name.
    pub name: String,
    /// The owner's uid.
    pub uid: String,
    /// Whether it manages the object.
    pub controller: bool,
    /// Whether its foreground deletion waits for the object.
    pub block_deletion: bool,
}

impl Meta {
    /// The object's key within its resource.
    #[must_use]
    pub fn key(&self) -> NamespacedName {
        NamespacedName::new(self.namespace.as_str(), self.name.as_str())
    }

    /// The object's kind with group and version.
    #[must_use]
    pub fn gvk(&self) -> GroupVersionKind {
        GroupVersionKind::from_api_version(&self.api_version, &self.kind)
    }

    /// The owner that manages the object, if it has one.
    #[must_use]
    pub fn controller(&self) -> Option<&Owner> {
        self.owners.iter().find(|owner| owner.controller)
    }

    /// A selectable field's value: a metadata field, or one of the kind's own. An unset field is
    /// the empty string, as in Kubernetes.
    #[must_use]
    pub fn field(&self, path: &str) -> &str {
        match path {
            "metadata.name" => &self.name,
            "metadata.namespace" => &self.namespace,
            _ => self
                .fields
                .iter()
                .find(|(known, _)| *known == path)
                .map_or("", |(_, value)| value.as_str()),
        }
    }

    pub(super) fn of_typed(api_version: &str, kind: &str, meta: &ObjectMeta) -> Self {
        let owners = meta.owner_references.iter().flatten();
        Self {
            api_version: api_version.to_owned(),
            kind: kind.to_owned(),
            namespace: meta.namespace.clone().unwrap_or_default(),
            name: meta.name.clone().unwrap_or_default(),
            uid: meta.uid.clone().unwrap_or_default(),
            generation: meta.generation.unwrap_or_default(),
            labels: meta.labels.clone().unwrap_or_default(),
            owners: owners
                .map(|owner| Owner {
                    api_version: owner.api_version.clone(),
                    kind: owner.kind.clone(),
                    name: owner.name.clone(),
                    uid: owner.uid.clone(),
                    controller: owner.controller == Some(true),
                    block_deletion: owner.block_owner_deletion == Some(true),
                })
                .collect(),
            finalizers: meta.finalizers.clone().unwrap_or_default(),
            deletion: meta.deletion_timestamp.as_ref().map(|time| time.0),
            fields: Vec::new(),
        }
    }

    pub(super) fn counted_bytes(&self) -> usize {
        let text = |text: &String| text.capacity();
        let pair = size_of::<String>() * 2;
        size_of::<Self>()
            + [&self.api_version, &self.kind, &self.namespace, &self.name, &self.uid]
                .into_iter()
                .map(text)
                .sum::<usize>()
            + self.labels.iter().map(|(k, v)| pair + text(k) + text(v)).sum::<usize>()
            + self
                .owners
                .iter()
                .map(|owner| {
                    size_of::<Owner>()
                        + text(&owner.api_version)
                        + text(&owner.kind)
                        + text(&owner.name)
                        + text(&owner.uid)
                })
                .sum::<usize>()
            + self.finalizers.iter().map(|f| size_of::<String>() + text(f)).sum::<usize>()
            + self.fields.iter().map(|(_, value)| pair + text(value)).sum::<usize>()
    }
}

/// The resource version a typed object carries; zero if it carries none.
pub(super) fn parse_version(meta: &ObjectMeta) -> Result<u64> {
    let Some(text) = meta.resource_version.as_deref().filter(|text| !text.is_empty()) else {
        return Ok(0);
    };
    text.parse().map_err(|_| Error::Decode {
        what: format!("resource version {text:?}"),
        source: de::Error::custom("it is not a decimal number"),
    })
}

/// What is read of an object's JSON without knowing its kind.
#[derive(Default, Deserialize)]
pub(super) struct Scan {
    #[serde(rename = "apiVersion", default)]
    pub(super) api_version: String,
    #[serde(default)]
    pub(super) kind: String,
    #[serde(default)]
    pub(super) metadata: ObjectMeta,
}
