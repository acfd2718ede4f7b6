//! The bridge between Rust types and Kubernetes kinds.

use std::any::{Any, TypeId};
use std::fmt::Debug;
use std::sync::Arc;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use k8s_openapi::{
    ClusterResourceScope, Metadata, NamespaceResourceScope, ResourceScope, SubResourceScope,
};
use serde::Serialize;
use serde::de::DeserializeOwned;

/// A Rust type that is a Kubernetes kind.
///
/// Every type of `k8s-openapi` with an `ObjectMeta` is one; implement it for a custom resource of
/// your own.
pub trait Kind: Clone + Debug + Serialize + DeserializeOwned + Send + Sync + 'static {
    /// The API group; empty for the core group.
    const GROUP: &'static str;
    /// The version within the group.
    const VERSION: &'static str;
    /// The kind in CamelCase.
    const KIND: &'static str;
    /// The plural in lower case, as paths have it.
    const PLURAL: &'static str;
    /// Whether its objects live in namespaces.
    const NAMESPACED: bool;

    /// The object's metadata.
    fn metadata(&self) -> &ObjectMeta;
    /// The object's metadata, to be changed.
    fn metadata_mut(&mut self) -> &mut ObjectMeta;
}

/// Whether a `k8s-openapi` scope is namespaced.
pub trait Scope: ResourceScope {
    /// True for objects that live in namespaces.
    const NAMESPACED: bool;
}

impl Scope for NamespaceResourceScope {
    const NAMESPACED: bool = true;
}
impl Scope for ClusterResourceScope {
    const NAMESPACED: bool = false;
}
impl Scope for SubResourceScope {
    const NAMESPACED: bool = true;
}

impl<K> Kind for K
where
    K: k8s_openapi::Resource<Scope: Scope> + Metadata<Ty = ObjectMeta>,
    K: Clone + Debug + Serialize + DeserializeOwned + Send + Sync + 'static,
{
    const GROUP: &'static str = <K as k8s_openapi::Resource>::GROUP;
    const VERSION: &'static str = <K as k8s_openapi::Resource>::VERSION;
    const KIND: &'static str = <K as k8s_openapi::Resource>::KIND;
    const PLURAL: &'static str = <K as k8s_openapi::Resource>::URL_PATH_SEGMENT;
    const NAMESPACED: bool = <K::Scope as Scope>::NAMESPACED;

    fn metadata(&self) -> &ObjectMeta {
        Metadata::metadata(self)
    }

    fn metadata_mut(&mut self) -> &mut ObjectMeta {
        Metadata::metadata_mut(self)
    }
}

/// A decoded object whose type only its kind's owner knows.
///
/// It is what lets the API machinery default, stamp, encode and hand on objects without being
/// compiled once per kind.
pub trait Typed: Any + Debug + Send + Sync {
    /// The object's metadata.
    fn meta(&self) -> &ObjectMeta;
    /// The object's metadata, to be changed.
    fn meta_mut(&mut self) -> &mut ObjectMeta;
    /// Writes the object as JSON.
    ///
    /// # Errors
    /// If a value has no JSON form, such as a timestamp outside the calendar.
    fn encode(&self, out: &mut Vec<u8>) -> serde_json::Result<()>;
    /// A deep copy.
    fn boxed_clone(&self) -> Box<dyn Typed>;
    /// The object behind its type.
    fn as_any(&self) -> &dyn Any;
    /// The object behind its type, to be changed.
    fn as_any_mut(&mut self) -> &mut dyn Any;
    /// The shared object, to be cast to its type.
    fn into_shared(self: Arc<Self>) -> Arc<dyn Any + Send + Sync>;
    /// The object, to be cast to its type.
    fn into_any(self: Box<Self>) -> Box<dyn Any + Send + Sync>;
}

impl<K: Kind> Typed for K {
    fn meta(&self) -> &ObjectMeta {
        self.metadata()
    }

    fn meta_mut(&mut self) -> &mut ObjectMeta {
        self.metadata_mut()
    }

    fn encode(&self, out: &mut Vec<u8>) -> serde_json::Result<()> {
        serde_json::to_writer(out, self)
    }

    fn boxed_clone(&self) -> Box<dyn Typed> {
        Box::new(self.clone())
    }

    fn as_any(&self) -> &dyn Any {
        self
    }

    fn as_any_mut(&mut self) -> &mut dyn Any {
        self
    }

    fn into_shared(self: Arc<Self>) -> Arc<dyn Any + Send + Sync> {
        self
    }

    fn into_any(self: Box<Self>) -> Box<dyn Any + Send + Sync> {
        self
    }
}

/// Turns a kind's JSON into its Rust type.
#[derive(Debug, Clone, Copy)]
pub struct Codec {
    /// The Rust type it decodes to.
    pub type_id: TypeId,
    /// Decodes an object; fields that the type does not know are dropped.
    pub decode: fn(&[u8]) -> serde_json::Result<Box<dyn Typed>>,
}

impl Codec {
    /// The codec of a Rust type.
    #[must_use]
    pub fn of<K: Kind>() -> Self {
        Self { type_id: TypeId::of::<K>(), decode: decode::<K> }
    }
}

fn decode<K: Kind>(bytes: &[u8]) -> serde_json::Result<Box<dyn Typed>> {
    serde_json::from_slice::<K>(bytes).map(|object| Box::new(object) as Box<dyn Typed>)
}
