//! An object's stored JSON, into which the resource version is spliced.

use std::fmt;
use std::sync::Arc;

use bytes::Bytes;
use parking_lot::Mutex;

use super::meta::{Meta, Scan, parse_version};
use crate::kind::Typed;
use crate::{Error, Result};

/// The member after which the resource version is spliced in.
const METADATA: &[u8] = b"\"metadata\":{";

/// An object's JSON without resource version, with its projection: the form in which it is
/// stored, before and after it has a version.
#[derive(Clone)]
pub struct Encoded(Arc<Inner>);

struct Inner {
    bytes: Bytes,
    /// Offset right behind the opening brace of `metadata`; `None` for kinds without metadata.
    splice: Option<usize>,
    meta: Meta,
    /// The value this was encoded from, until the first who asks takes it.
    typed: Mutex<Option<Box<dyn Typed>>>,
}

impl Encoded {
    /// Encodes a typed value, leaving its resource version out. `fields` are the values of its
    /// kind's selectable fields. The value is kept, to be the first typed view.
    ///
    /// # Errors
    /// [`Error::Decode`] if a value has no JSON form.
    pub fn from_typed(
        mut typed: Box<dyn Typed>,
        fields: Vec<(&'static str, String)>,
    ) -> Result<Self> {
        typed.meta_mut().resource_version = None;
        let mut out = Vec::with_capacity(1024);
        typed.encode(&mut out).map_err(|source| Error::Decode {
            what: format!("object {:?}", typed.meta().name.as_deref().unwrap_or_default()),
            source,
        })?;
        out.shrink_to_fit();
        let bytes = Bytes::from(out);
        let (api_version, kind) = type_of(&bytes);
        let mut meta = Meta::of_typed(api_version, kind, typed.meta());
        meta.fields = fields;
        let splice = find_metadata(&bytes);
        Ok(Self(Arc::new(Inner { bytes, splice, meta, typed: Mutex::new(Some(typed)) })))
    }

    /// Takes stored bytes back, as [`bytes`](Self::bytes) gave them.
    ///
    /// # Errors
    /// [`Error::Decode`] if they are no object.
    pub fn from_stored(bytes: Bytes, fields: Vec<(&'static str, String)>) -> Result<Self> {
        let scan = scan(&bytes)?;
        let mut meta = Meta::of_typed(&scan.api_version, &scan.kind, &scan.metadata);
        meta.fields = fields;
        let splice = find_metadata(&bytes);
        Ok(Self(Arc::new(Inner { bytes, splice, meta, typed: Mutex::new(None) })))
    }

    /// Reads an object as a server sends it, and its resource version apart.
    pub(super) fn from_wire(json: &[u8]) -> Result<(Self, u64)> {
        let scan = scan(json)?;
        let resource_version = parse_version(&scan.metadata)?;
        let bytes = canonical(json)?;
        let meta = Meta::of_typed(&scan.api_version, &scan.kind, &scan.metadata);
        let splice = find_metadata(&bytes);
        Ok((
            Self(Arc::new(Inner { bytes, splice, meta, typed: Mutex::new(None) })),
            resource_version,
        ))
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

    /// The value this was encoded from. Only the first who asks gets it.
    pub(super) fn take_typed(&self) -> Option<Box<dyn Typed>> {
        self.0.typed.lock().take()
    }

    pub(super) fn write_json(&self, resource_version: u64, out: &mut Vec<u8>) {
        let bytes = &self.0.bytes;
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

fn scan(json: &[u8]) -> Result<Scan> {
    serde_json::from_slice(json).map_err(|source| Error::Decode { what: "object".into(), source })
}

/// Where `metadata` opens. Encoders write `apiVersion`, `kind`, `metadata` first, so the first
/// match is the top-level one; a quote inside a string value is escaped and cannot match.
fn find_metadata(json: &[u8]) -> Option<usize> {
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

/// Writes the members that name the object first, as the splice expects them, and leaves the
/// resource version out.
fn canonical(json: &[u8]) -> Result<Bytes> {
    let decode = |source| Error::Decode { what: "object".into(), source };
    let mut value: serde_json::Map<String, serde_json::Value> =
        serde_json::from_slice(json).map_err(decode)?;
    let mut out = Vec::with_capacity(json.len());
    out.push(b'{');
    let first = ["apiVersion", "kind", "metadata"];
    let mut members: Vec<_> = first.iter().filter_map(|name| value.remove_entry(*name)).collect();
    members.extend(value);
    for (at, (name, mut member)) in members.into_iter().enumerate() {
        if at > 0 {
            out.push(b',');
        }
        if name == "metadata"
            && let Some(metadata) = member.as_object_mut()
        {
            metadata.remove("resourceVersion");
        }
        serde_json::to_writer(&mut out, &name).map_err(decode)?;
        out.push(b':');
        serde_json::to_writer(&mut out, &member).map_err(decode)?;
    }
    out.push(b'}');
    Ok(out.into())
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
