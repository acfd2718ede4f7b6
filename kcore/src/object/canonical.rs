//! Objects as they come over the wire, rewritten as they are kept.

use std::borrow::Cow;
use std::fmt;

use bytes::Bytes;
use serde::de::{MapAccess, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer};
use serde_json::value::RawValue;

use super::encoded::{find_metadata, put_managers};
use super::meta::Scan;
use crate::{Error, Result};

/// What an object's JSON says, as the splices expect it.
pub(super) struct Canonical {
    pub(super) bytes: Bytes,
    /// What is read without knowing the kind; the managers are left out.
    pub(super) scan: Scan,
}

/// The members of a JSON object, each as it is written. Of two by one name the last counts.
struct Members<'a>(Vec<(Cow<'a, str>, &'a RawValue)>);

impl<'a> Members<'a> {
    fn take(&mut self, name: &str) -> Option<&'a RawValue> {
        let at = self.0.iter().position(|(known, _)| known == name)?;
        Some(self.0.remove(at).1)
    }
}

impl<'de> Deserialize<'de> for Members<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> std::result::Result<Self, D::Error> {
        struct InOrder;
        impl<'de> Visitor<'de> for InOrder {
            type Value = Members<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(
                self,
                mut map: A,
            ) -> std::result::Result<Self::Value, A::Error> {
                let mut members: Vec<(Cow<'de, str>, &'de RawValue)> = Vec::new();
                while let Some(Name(name)) = map.next_key()? {
                    let value = map.next_value()?;
                    match members.iter_mut().find(|(known, _)| *known == name) {
                        Some((_, known)) => *known = value,
                        None => members.push((name, value)),
                    }
                }
                Ok(Members(members))
            }
        }
        deserializer.deserialize_map(InOrder)
    }
}

/// Any value, read as closely as if it were kept: what is copied unread would else bring what
/// nobody can read later, such as half a surrogate, a number out of range, or a hundred levels.
struct Checked;

impl<'de> Deserialize<'de> for Checked {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> std::result::Result<Self, D::Error> {
        deserializer.deserialize_any(Self)
    }
}

impl<'de> Visitor<'de> for Checked {
    type Value = Self;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("any JSON value")
    }

    fn visit_unit<E>(self) -> std::result::Result<Self, E> {
        Ok(self)
    }

    fn visit_bool<E>(self, _: bool) -> std::result::Result<Self, E> {
        Ok(self)
    }

    fn visit_i64<E>(self, _: i64) -> std::result::Result<Self, E> {
        Ok(self)
    }

    fn visit_u64<E>(self, _: u64) -> std::result::Result<Self, E> {
        Ok(self)
    }

    fn visit_f64<E>(self, _: f64) -> std::result::Result<Self, E> {
        Ok(self)
    }

    fn visit_str<E>(self, _: &str) -> std::result::Result<Self, E> {
        Ok(self)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> std::result::Result<Self, A::Error> {
        while seq.next_element::<Self>()?.is_some() {}
        Ok(self)
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> std::result::Result<Self, A::Error> {
        while map.next_entry::<Self, Self>()?.is_some() {}
        Ok(self)
    }
}

/// A name that is borrowed unless it has escapes.
#[derive(Deserialize)]
struct Name<'a>(#[serde(borrow)] Cow<'a, str>);

fn push_member(out: &mut Vec<u8>, name: &str, value: &str) -> serde_json::Result<()> {
    if out.last() != Some(&b'{') {
        out.push(b',');
    }
    serde_json::to_writer(&mut *out, name)?;
    out.push(b':');
    out.extend_from_slice(value.as_bytes());
    Ok(())
}

/// Writes the members that name the object first, and its managers apart; leaves the resource
/// version out, which the scan has. Every value but `metadata` is copied as it is written.
pub(super) fn canonical(json: &[u8]) -> Result<Canonical> {
    rewrite(json).map_err(|source| Error::Decode { what: "object".into(), source })
}

fn rewrite(json: &[u8]) -> serde_json::Result<Canonical> {
    let _: Checked = serde_json::from_slice(json)?;
    let mut members: Members<'_> = serde_json::from_slice(json)?;
    let mut out = Vec::with_capacity(json.len());
    let mut scan = Scan::default();
    out.push(b'{');
    for (name, to) in [("apiVersion", &mut scan.api_version), ("kind", &mut scan.kind)] {
        if let Some(value) = members.take(name) {
            *to = serde_json::from_str(value.get())?;
            push_member(&mut out, name, value.get())?;
        }
    }
    let mut managers = None;
    if let Some(metadata) = members.take("metadata") {
        match serde_json::from_str::<Option<Members<'_>>>(metadata.get())? {
            None => push_member(&mut out, "metadata", "null")?,
            Some(mut metadata) => {
                let version = metadata.take("resourceVersion");
                managers = metadata.take("managedFields").map(RawValue::get);
                let mut own = vec![b'{'];
                for (name, value) in &metadata.0 {
                    push_member(&mut own, name, value.get())?;
                }
                own.push(b'}');
                scan.metadata = serde_json::from_slice(&own)?;
                let version = version.map(|version| serde_json::from_str(version.get()));
                scan.metadata.resource_version = version.transpose()?.flatten();
                // What was JSON is text.
                push_member(&mut out, "metadata", std::str::from_utf8(&own).unwrap_or("{}"))?;
            }
        }
    }
    for (name, value) in &members.0 {
        push_member(&mut out, name, value.get())?;
    }
    out.push(b'}');
    let splice = find_metadata(&out);
    let managers = managers.filter(|all| !matches!(all.trim(), "null" | "[]")).unwrap_or("");
    let (bytes, _) = put_managers(out, splice, managers.as_bytes());
    Ok(Canonical { bytes: bytes.into(), scan })
}
