//! Objects: decoded once, encoded once, shared by all who read them.

mod canonical;
mod encoded;
mod meta;
mod recent;

use std::fmt;
use std::sync::Arc;

use arc_swap::ArcSwapOption;
use bytes::Bytes;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ManagedFieldsEntry, ObjectMeta};

pub use encoded::Encoded;
pub use meta::{Meta, Owner};
pub use recent::RecentViews;

use crate::kind::{Codec, Kind, Typed};
use crate::{Error, Result};

/// An immutable Kubernetes object, cheap to clone.
///
/// It holds the object's JSON once (without the resource version, which is spliced in where it is
/// read), the projection that indexes need ([`Meta`]), and a typed view that is decoded at the
/// first [`view`](Self::view) and shared from then on. The watch cache, every informer and every
/// watcher hold the same handle.
///
/// Typed views leave `metadata.managedFields` out: it is larger than most objects, and hardly
/// anybody reads it. It is in the JSON, and [`managed_fields`](Self::managed_fields) reads it. An
/// update that was made of a view says nothing about managers, and the API server keeps them.
#[derive(Clone)]
pub struct Object(Arc<Inner>);

struct Inner {
    resource_version: u64,
    encoded: Encoded,
    codec: Option<Codec>,
    view: ArcSwapOption<View>,
}

/// A typed view. The box around the shared value is what lets it sit in an atomic slot.
struct View(Arc<dyn Typed>);

impl Object {
    /// An object at `resource_version` (zero if it was never stored), from its encoded form.
    /// With a codec its typed view is decoded once and shared.
    #[must_use]
    pub fn new(encoded: Encoded, resource_version: u64, codec: Option<Codec>) -> Self {
        let view = encoded.take_typed().map(|mut typed| {
            typed.meta_mut().resource_version = version_text(resource_version);
            Arc::new(View(Arc::from(typed)))
        });
        Self(Arc::new(Inner { resource_version, encoded, codec, view: ArcSwapOption::new(view) }))
    }

    /// Reads an object from JSON as a server sends it, resource version included.
    ///
    /// # Errors
    /// [`Error::Decode`] if it is no object with a kind, or its resource version is no number.
    pub fn from_json(json: &[u8], codec: Option<Codec>) -> Result<Self> {
        let (encoded, resource_version) = Encoded::from_wire(json)?;
        Ok(Self::new(encoded, resource_version, codec))
    }

    /// Encodes a typed value. Its resource version is kept.
    ///
    /// # Errors
    /// [`Error::Decode`] if a value has no JSON form or the resource version is no number.
    pub fn from_typed<K: Kind>(object: K) -> Result<Self> {
        let resource_version = meta::parse_version(object.metadata())?;
        let encoded = Encoded::from_typed(Box::new(object), Vec::new())?;
        Ok(Self::new(encoded, resource_version, Some(Codec::of::<K>())))
    }

    /// The version of this state of the object; zero if it was never stored.
    #[must_use]
    pub fn resource_version(&self) -> u64 {
        self.0.resource_version
    }

    /// The projection of its metadata.
    #[must_use]
    pub fn meta(&self) -> &Meta {
        self.0.encoded.meta()
    }

    /// Who manages which of the object's fields, read off its JSON at each call; `None` if nobody
    /// is known to.
    /// <https://kubernetes.io/docs/reference/using-api/server-side-apply/#field-management>
    ///
    /// # Errors
    /// [`Error::Decode`] if they are no list of managers.
    pub fn managed_fields(&self) -> Result<Option<Vec<ManagedFieldsEntry>>> {
        let decode = |source| Error::Decode { what: format!("managers of {self}"), source };
        self.0.encoded.managed_fields().map_err(decode)
    }

    /// The stored form, without resource version.
    #[must_use]
    pub fn encoded(&self) -> &Encoded {
        &self.0.encoded
    }

    /// The same state at another resource version: what a deletion's event carries.
    #[must_use]
    pub fn at_version(&self, resource_version: u64) -> Self {
        Self::new(self.0.encoded.clone(), resource_version, self.0.codec)
    }

    /// Appends the object's JSON with its resource version.
    pub fn write_json(&self, out: &mut Vec<u8>) {
        self.0.encoded.write_json(self.0.resource_version, out);
    }

    /// The object's JSON with its resource version.
    #[must_use]
    pub fn to_json(&self) -> Bytes {
        let mut out = Vec::with_capacity(self.0.encoded.bytes().len() + 48);
        self.write_json(&mut out);
        out.into()
    }

    /// The object's JSON with its resource version and without its managers: most of the length
    /// of many objects, and of no use to whoever changes something else.
    #[must_use]
    pub fn to_unmanaged_json(&self) -> Bytes {
        let mut out = Vec::with_capacity(self.0.encoded.bytes().len() + 48);
        self.0.encoded.write_unmanaged_json(self.0.resource_version, &mut out);
        out.into()
    }

    /// The typed view: decoded at the first call, shared from then on. A type other than the
    /// kind's own is decoded at each call.
    ///
    /// # Errors
    /// [`Error::Decode`] if the object is no `K`.
    pub fn view<K: Kind>(&self) -> Result<Arc<K>> {
        if let Some(view) = self.0.view.load().as_deref()
            && view.0.as_any().is::<K>()
        {
            return Ok(downcast(Arc::clone(&view.0)));
        }
        let codec = Codec::of::<K>();
        match self.0.codec {
            Some(own) if own.type_id != codec.type_id => self.decode(codec),
            own => self.fill(own.unwrap_or(codec)),
        }
        .map(downcast)
    }

    /// The typed view behind its type; `None` if the handle knows no type for its kind.
    ///
    /// # Errors
    /// [`Error::Decode`] if the object is not of its kind.
    pub fn typed(&self) -> Result<Option<Arc<dyn Typed>>> {
        if let Some(view) = self.0.view.load().as_deref() {
            return Ok(Some(Arc::clone(&view.0)));
        }
        self.0.codec.map(|codec| self.fill(codec)).transpose()
    }

    fn decode(&self, codec: Codec) -> Result<Arc<dyn Typed>> {
        let mut typed = (codec.decode)(&self.0.encoded.unmanaged())
            .map_err(|source| Error::Decode { what: self.to_string(), source })?;
        typed.meta_mut().resource_version = version_text(self.0.resource_version);
        Ok(Arc::from(typed))
    }

    fn fill(&self, codec: Codec) -> Result<Arc<dyn Typed>> {
        let typed = self.decode(codec)?;
        self.0.view.store(Some(Arc::new(View(Arc::clone(&typed)))));
        Ok(typed)
    }

    /// Drops the typed view unless somebody holds it. Returns whether a view is left.
    pub fn drop_idle_view(&self) -> bool {
        let slot = self.0.view.load();
        let Some(view) = slot.as_ref() else { return false };
        if Arc::strong_count(&view.0) > 1 {
            return true;
        }
        self.0.view.store(None);
        false
    }

    /// Bytes this object occupies, apart from its typed view.
    #[must_use]
    pub fn counted_bytes(&self) -> usize {
        size_of::<Inner>() + self.0.encoded.counted_bytes()
    }

    /// Whether both are the same handle.
    #[must_use]
    pub fn ptr_eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }
}

/// Casts a view that was decoded as `K`.
fn downcast<K: Kind>(typed: Arc<dyn Typed>) -> Arc<K> {
    typed.into_shared().downcast().unwrap_or_else(|_| unreachable!("it was decoded as a K"))
}

fn version_text(resource_version: u64) -> Option<String> {
    (resource_version != 0).then(|| resource_version.to_string())
}

impl fmt::Debug for Object {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Object")
            .field("kind", &self.meta().kind)
            .field("key", &self.meta().key())
            .field("resource_version", &self.0.resource_version)
            .finish_non_exhaustive()
    }
}

impl fmt::Display for Object {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.meta().kind, self.meta().key())
    }
}

/// The owner that manages the object, if it has one.
/// <https://kubernetes.io/docs/concepts/overview/working-with-objects/owners-dependents/>
#[must_use]
pub fn controller_of(
    meta: &ObjectMeta,
) -> Option<&k8s_openapi::apimachinery::pkg::apis::meta::v1::OwnerReference> {
    meta.owner_references.as_ref()?.iter().find(|owner| owner.controller == Some(true))
}

/// The owner reference that makes `owner` the managing owner of another object.
#[must_use]
pub fn controller_reference<K: Kind>(
    owner: &K,
) -> k8s_openapi::apimachinery::pkg::apis::meta::v1::OwnerReference {
    let meta = owner.metadata();
    k8s_openapi::apimachinery::pkg::apis::meta::v1::OwnerReference {
        api_version: crate::name::api_version(K::GROUP, K::VERSION).into_owned(),
        kind: K::KIND.to_owned(),
        name: meta.name.clone().unwrap_or_default(),
        uid: meta.uid.clone().unwrap_or_default(),
        controller: Some(true),
        block_owner_deletion: Some(true),
    }
}

#[cfg(test)]
mod tests;
