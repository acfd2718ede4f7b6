//! An object's stored JSON, into which managers and the resource version are spliced.

use std::borrow::Cow;
use std::fmt;
use std::sync::Arc;

use bytes::Bytes;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ManagedFieldsEntry;
use parking_lot::Mutex;
use serde::de::IgnoredAny;

use super::canonical::{Canonical, canonical};
use super::meta::{Meta, Scan, parse_version};
use crate::kind::Typed;
use crate::{Error, Result};

/// The member after which the resource version is spliced in.
const METADATA: &[u8] = b"\"metadata\":{";
/// The member that says who manages what; it is the first one of `metadata`.
const MANAGERS: &[u8] = b"\"managedFields\":";

/// An object's JSON without resource version, with its projection: the form in which it is
/// stored, before and after it has a version.
#[derive(Clone)]
pub struct Encoded(Arc<Inner>);

struct Inner {
    bytes: Bytes,
    /// Offset right behind the opening brace of `metadata`; `None` for kinds without metadata.
    splice: Option<usize>,
    /// Length of the managers behind that offset, with the member's name; zero if there are none.
    managers: usize,
    meta: Meta,
    /// The value this was encoded from, until the first who asks takes it.
    typed: Mutex<Option<Box<dyn Typed>>>,
}

impl Encoded {
    /// Encodes a typed value, leaving its resource version out. `fields` are the values of its
    /// kind's selectable fields. The value is kept, to be the first typed view; its managers are
    /// not, they are in the JSON alone.
    ///
    /// # Errors
    /// [`Error::Decode`] if a value has no JSON form.
    pub fn from_typed(
        mut typed: Box<dyn Typed>,
        fields: Vec<(&'static str, String)>,
    ) -> Result<Self> {
        let managers = match typed.meta_mut().managed_fields.take() {
            Some(managers) if !managers.is_empty() => {
                serde_json::to_vec(&managers).map_err(|source| unwritable(&*typed, source))?
            }
            _ => Vec::new(),
        };
        Self::with_managers(typed, fields, &managers)
    }

    /// Encodes a typed value as [`from_typed`](Self::from_typed) does, with managers whose JSON is
    /// at hand: a list of entries as serde_json writes it, or nothing.
    /// <https://kubernetes.io/docs/reference/using-api/server-side-apply/#field-management>
    ///
    /// # Errors
    /// [`Error::Decode`] if a value has no JSON form.
    pub fn with_managers(
        mut typed: Box<dyn Typed>,
        fields: Vec<(&'static str, String)>,
        managers: &[u8],
    ) -> Result<Self> {
        let meta = typed.meta_mut();
        meta.resource_version = None;
        meta.managed_fields = None;
        let mut out = Vec::with_capacity(1024);
        typed.encode(&mut out).map_err(|source| unwritable(&*typed, source))?;
        let splice = find_metadata(&out);
        let (bytes, managers) = put_managers(out, splice, managers);
        let (api_version, kind) = type_of(&bytes);
        let mut meta = Meta::of_typed(api_version, kind, typed.meta());
        meta.fields = fields;
        let typed = Mutex::new(Some(typed));
        Ok(Self(Arc::new(Inner { bytes: bytes.into(), splice, managers, meta, typed })))
    }

    /// Takes stored bytes back, as [`bytes`](Self::bytes) gave them.
    ///
    /// # Errors
    /// [`Error::Decode`] if they are no object.
    pub fn from_stored(bytes: Bytes, fields: Vec<(&'static str, String)>) -> Result<Self> {
        let scan = scan(&bytes)?;
        let mut meta = Meta::of_typed(&scan.api_version, &scan.kind, &scan.metadata);
        meta.fields = fields;
        let this = Self::untyped(bytes, meta);
        if this.0.managers == 0 && scan.metadata.managed_fields.is_some() {
            // Another writer's bytes: the managers are there, but not where they are looked for.
            let bytes = canonical(&this.0.bytes)?.bytes;
            return Ok(Self::untyped(bytes, this.0.meta.clone()));
        }
        Ok(this)
    }

    /// Reads an object as a server sends it, and its resource version apart.
    pub(super) fn from_wire(json: &[u8]) -> Result<(Self, u64)> {
        let Canonical { bytes, scan } = canonical(json)?;
        let resource_version = parse_version(&scan.metadata)?;
        let meta = Meta::of_typed(&scan.api_version, &scan.kind, &scan.metadata);
        Ok((Self::untyped(bytes, meta), resource_version))
    }

    fn untyped(bytes: Bytes, meta: Meta) -> Self {
        let splice = find_metadata(&bytes);
        let managers = splice.map_or(0, |at| managers_at(&bytes[at..]));
        Self(Arc::new(Inner { bytes, splice, managers, meta, typed: Mutex::new(None) }))
    }

    /// The JSON without resource version.
    #[must_use]
    pub fn bytes(&self) -> &Bytes {
        &self.0.bytes
    }

    /// The projection of the metadata.
    #[must_use]
    pub fn meta(&self) -> &Meta {
        &self.0.meta
    }

    /// The JSON without resource version and managers: what typed views are made of.
    pub(super) fn unmanaged(&self) -> Cow<'_, [u8]> {
        let bytes = &self.0.bytes;
        let Some(at) = self.0.splice.filter(|_| self.0.managers > 0) else {
            return Cow::Borrowed(bytes);
        };
        let rest = &bytes[at + self.0.managers..];
        let rest = rest.strip_prefix(b",").unwrap_or(rest);
        Cow::Owned([&bytes[..at], rest].concat())
    }

    /// Who manages which fields, as JSON: what [`with_managers`](Self::with_managers) takes. It is
    /// empty if nobody is known to.
    #[must_use]
    pub fn managers(&self) -> &[u8] {
        let Some(at) = self.0.splice.filter(|_| self.0.managers > 0) else { return &[] };
        &self.0.bytes[at + MANAGERS.len()..at + self.0.managers]
    }

    /// Who manages which fields; nothing if nobody is known to.
    pub(super) fn managed_fields(&self) -> serde_json::Result<Option<Vec<ManagedFieldsEntry>>> {
        let text = self.managers();
        (!text.is_empty()).then(|| serde_json::from_slice(text)).transpose()
    }

    /// The value this was encoded from. Only the first who asks gets it.
    pub(super) fn take_typed(&self) -> Option<Box<dyn Typed>> {
        self.0.typed.lock().take()
    }

    pub(super) fn write_json(&self, resource_version: u64, out: &mut Vec<u8>) {
        self.splice_version(&self.0.bytes, resource_version, out);
    }

    pub(super) fn write_unmanaged_json(&self, resource_version: u64, out: &mut Vec<u8>) {
        self.splice_version(&self.unmanaged(), resource_version, out);
    }

    /// Writes JSON of this object, with the resource version where `metadata` opens.
    fn splice_version(&self, bytes: &[u8], resource_version: u64, out: &mut Vec<u8>) {
        let Some(at) = self.0.splice.filter(|_| resource_version != 0) else {
            out.extend_from_slice(bytes);
            return;
        };
        out.reserve(bytes.len() + 44);
        out.extend_from_slice(&bytes[..at]);
        out.extend_from_slice(b"\"resourceVersion\":\"");
        write_number(resource_version, out);
        out.push(b'"');
        if bytes.get(at) != Some(&b'}') {
            out.push(b',');
        }
        out.extend_from_slice(&bytes[at..]);
    }

    pub(super) fn counted_bytes(&self) -> usize {
        size_of::<Inner>() - size_of::<Meta>() + self.0.bytes.len() + self.0.meta.counted_bytes()
    }
}

impl fmt::Debug for Encoded {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Encoded")
            .field("kind", &self.0.meta.kind)
            .field("name", &self.0.meta.name)
            .field("bytes", &self.0.bytes.len())
            .finish_non_exhaustive()
    }
}

fn unwritable(typed: &dyn Typed, source: serde_json::Error) -> Error {
    let name = typed.meta().name.as_deref().unwrap_or_default();
    Error::Decode { what: format!("object {name:?}"), source }
}

/// Puts managers in where `metadata` opens. Returns how long they are with the member's name.
pub(super) fn put_managers(
    mut json: Vec<u8>,
    at: Option<usize>,
    managers: &[u8],
) -> (Vec<u8>, usize) {
    let Some(at) = at.filter(|_| !managers.is_empty()) else {
        json.shrink_to_fit();
        return (json, 0);
    };
    let (head, rest) = json.split_at(at);
    let comma: &[u8] = if rest.first() == Some(&b'}') { b"" } else { b"," };
    ([head, MANAGERS, managers, comma, rest].concat(), MANAGERS.len() + managers.len())
}

/// How long the managers are that JSON begins with.
fn managers_at(json: &[u8]) -> usize {
    let Some(list) = json.strip_prefix(MANAGERS) else { return 0 };
    let mut values = serde_json::Deserializer::from_slice(list).into_iter::<IgnoredAny>();
    match values.next() {
        Some(Ok(_)) => MANAGERS.len() + values.byte_offset(),
        _ => 0,
    }
}

fn scan(json: &[u8]) -> Result<Scan> {
    serde_json::from_slice(json).map_err(|source| Error::Decode { what: "object".into(), source })
}

/// Where `metadata` opens. Encoders write `apiVersion`, `kind`, `metadata` first, so the first
/// match is the top-level one; a quote inside a string value is escaped and cannot match.
pub(super) fn find_metadata(json: &[u8]) -> Option<usize> {
    json.windows(METADATA.len()).position(|window| window == METADATA).map(|at| at + METADATA.len())
}

/// Reads `apiVersion` and `kind` off an object that one of our encoders wrote.
fn type_of(json: &[u8]) -> (&str, &str) {
    let text = std::str::from_utf8(&json[..json.len().min(256)]).unwrap_or_else(|error| {
        // Cut inside a character: the part before it is valid.
        std::str::from_utf8(&json[..error.valid_up_to()]).unwrap_or_default()
    });
    let member = |name: &str| {
        text.split_once(name).and_then(|(_, rest)| rest.split_once('"')).map_or("", |(v, _)| v)
    };
    (member("\"apiVersion\":\""), member("\"kind\":\""))
}

/// Writes a number in decimal without an allocation.
fn write_number(mut number: u64, out: &mut Vec<u8>) {
    let mut digits = [0_u8; 20];
    let mut at = digits.len();
    loop {
        at -= 1;
        // A remainder of ten fits a byte.
        digits[at] = b'0' + (number % 10) as u8;
        number /= 10;
        if number == 0 {
            break;
        }
    }
    out.extend_from_slice(&digits[at..]);
}
