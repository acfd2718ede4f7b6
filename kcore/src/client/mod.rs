//! How every component sees the cluster.
//!
//! [`Client`] is the seam: in process it is the API server's own client, without serialization;
//! remotely it speaks HTTP. [`Api`] is the typed handle over it.

mod api;
#[cfg(feature = "mock")]
mod mock;
mod options;
#[cfg(feature = "kube")]
mod remote;
mod watch;

use std::fmt::Debug;
use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;

pub use api::{Api, TypedList};
#[cfg(feature = "mock")]
pub use mock::{MockClient, MockPath};
pub use options::{
    DeleteOptions, GetOptions, ListOptions, Preconditions, Propagation, Representation,
    VersionMatch, WatchOptions, WriteOptions,
};
#[cfg(feature = "kube")]
pub use remote::{KubeClient, MAX_EVENT_BYTES, WATCH_TIMEOUT_SECONDS};
pub use watch::{WatchBatch, WatchEvent, WatchStream};

use crate::Result;
use crate::kind::{Kind, Typed};
use crate::name::Resource;
use crate::object::Object;
use crate::status::Status;

/// A shared client of any sort.
pub type DynClient = Arc<dyn Client>;

/// Where a request goes: a collection, an object in it, or a subresource of the object.
#[derive(Debug, Clone, Copy)]
pub struct Path<'a> {
    /// The resource.
    pub resource: &'a Resource,
    /// The namespace; `None` for cluster-scoped resources, and for all namespaces at once.
    pub namespace: Option<&'a str>,
    /// The object's name; empty for the collection.
    pub name: &'a str,
    /// The subresource; empty for the object itself.
    pub subresource: &'a str,
}

impl<'a> Path<'a> {
    /// A collection.
    #[must_use]
    pub const fn collection(resource: &'a Resource, namespace: Option<&'a str>) -> Self {
        Self { resource, namespace, name: "", subresource: "" }
    }

    /// An object.
    #[must_use]
    pub const fn object(resource: &'a Resource, namespace: Option<&'a str>, name: &'a str) -> Self {
        Self { resource, namespace, name, subresource: "" }
    }

    /// A subresource of the same object.
    #[must_use]
    pub const fn subresource(self, subresource: &'a str) -> Self {
        Self { subresource, ..self }
    }
}

/// An object on its way to the server.
#[derive(Debug)]
pub enum Body {
    /// A value that an in-process server takes as it is.
    Typed(Box<dyn Typed>),
    /// JSON.
    Json(Bytes),
}

impl Body {
    /// A typed value.
    #[must_use]
    pub fn typed<K: Kind>(object: K) -> Self {
        Self::Typed(Box::new(object))
    }
}

/// A change to an object, in one of the forms the API knows.
/// <https://kubernetes.io/docs/reference/using-api/api-concepts/#patch-and-apply>
#[derive(Debug, Clone)]
#[non_exhaustive]
pub enum Patch {
    /// RFC 6902 operations.
    Json(Bytes),
    /// RFC 7386 merge patch.
    Merge(Bytes),
    /// Kubernetes' strategic merge patch.
    Strategic(Bytes),
    /// Server-side apply; YAML or JSON.
    Apply(Bytes),
}

/// What a list returns.
#[derive(Debug, Clone, Default)]
pub struct List {
    /// The version the list shows; a watch after it misses nothing.
    pub resource_version: u64,
    /// The objects, in the order of their keys.
    pub items: Vec<Object>,
    /// The token of the next page, if there is one.
    pub continue_token: Option<String>,
    /// How many objects follow the page, where the server knows.
    pub remaining: Option<u64>,
}

/// What a delete returns.
#[derive(Debug, Clone)]
pub enum Deleted {
    /// The object still exists: it waits for finalizers or for its grace period.
    Pending(Object),
    /// The object is gone.
    Gone(Box<Status>),
}

/// What one resource of a server can do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DiscoveredResource {
    /// The resource; a subresource's plural is `pods/log`.
    pub resource: Resource,
    /// Its verbs.
    pub verbs: Vec<String>,
}

/// The cluster, to whoever works on it.
///
/// Identity belongs to the client: two components hold two clients. A client is cheap to share
/// as [`DynClient`].
///
/// **Contract**, for whoever implements one:
/// - A write returns after it is durable, and reads through the same client see it (C4).
/// - An error with a [`Status`] is the server's answer; any other leaves a write's outcome unknown.
/// - Dropping a future abandons its answer; the write it carried is wholly done or not at all.
/// - A watch after version R yields each change after R once, in order, or ends with 410.
#[async_trait]
#[diagnostic::on_unimplemented(
    message = "`{Self}` is no client of an API server",
    note = "use `ApiServer::client` in process, or share one as `Arc<dyn Client>`"
)]
pub trait Client: Debug + Send + Sync + 'static {
    /// Reads an object, or a subresource such as `scale`.
    async fn get(&self, path: Path<'_>, options: &GetOptions) -> Result<Object>;
    /// Lists a collection.
    async fn list(&self, path: Path<'_>, options: &ListOptions) -> Result<List>;
    /// Watches a collection.
    async fn watch(&self, path: Path<'_>, options: &WatchOptions) -> Result<WatchStream>;
    /// Creates an object, or posts to a subresource such as `binding`.
    async fn create(&self, path: Path<'_>, body: Body, options: &WriteOptions) -> Result<Object>;
    /// Replaces an object or a subresource such as `status`.
    async fn update(&self, path: Path<'_>, body: Body, options: &WriteOptions) -> Result<Object>;
    /// Changes an object or a subresource in place.
    async fn patch(&self, path: Path<'_>, patch: Patch, options: &WriteOptions) -> Result<Object>;
    /// Deletes an object.
    async fn delete(&self, path: Path<'_>, options: &DeleteOptions) -> Result<Deleted>;
    /// Deletes every object of a collection that `list` selects, and returns them.
    async fn delete_collection(
        &self,
        path: Path<'_>,
        options: &DeleteOptions,
        list: &ListOptions,
    ) -> Result<List>;
    /// What the server serves.
    async fn discover(&self) -> Result<Vec<DiscoveredResource>>;
}

macro_rules! forward {
    ($($wrapper:ident),*) => {$(
        #[deny(clippy::missing_trait_methods)]
        #[async_trait]
        impl<C: Client + ?Sized> Client for $wrapper<C> {
            async fn get(&self, path: Path<'_>, options: &GetOptions) -> Result<Object> {
                (**self).get(path, options).await
            }
            async fn list(&self, path: Path<'_>, options: &ListOptions) -> Result<List> {
                (**self).list(path, options).await
            }
            async fn watch(&self, path: Path<'_>, options: &WatchOptions) -> Result<WatchStream> {
                (**self).watch(path, options).await
            }
            async fn create(
                &self,
                path: Path<'_>,
                body: Body,
                options: &WriteOptions,
            ) -> Result<Object> {
                (**self).create(path, body, options).await
            }
            async fn update(
                &self,
                path: Path<'_>,
                body: Body,
                options: &WriteOptions,
            ) -> Result<Object> {
                (**self).update(path, body, options).await
            }
            async fn patch(
                &self,
                path: Path<'_>,
                patch: Patch,
                options: &WriteOptions,
            ) -> Result<Object> {
                (**self).patch(path, patch, options).await
            }
            async fn delete(&self, path: Path<'_>, options: &DeleteOptions) -> Result<Deleted> {
                (**self).delete(path, options).await
            }
            async fn delete_collection(
                &self,
                path: Path<'_>,
                options: &DeleteOptions,
                list: &ListOptions,
            ) -> Result<List> {
                (**self).delete_collection(path, options, list).await
            }
            async fn discover(&self) -> Result<Vec<DiscoveredResource>> {
                (**self).discover().await
            }
        }
    )*};
}

forward!(Arc, Box);
