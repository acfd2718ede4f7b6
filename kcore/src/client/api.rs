//! The typed handle over a client.

use std::fmt;
use std::marker::PhantomData;
use std::sync::Arc;

use super::{
    Body, Client, DeleteOptions, Deleted, DynClient, GetOptions, ListOptions, Patch, Path,
    WatchOptions, WatchStream, WriteOptions,
};
use crate::Result;
use crate::kind::Kind;
use crate::name::Resource;
use crate::object::Object;

/// One kind's objects, in one namespace or in all.
///
/// What it reads is shared, never copied: `get` returns `Arc<K>`. What it writes is taken by
/// value, so an in-process server defaults it in place.
pub struct Api<K> {
    client: DynClient,
    resource: Resource,
    namespace: Option<String>,
    kind: PhantomData<fn() -> K>,
}

impl<K> Clone for Api<K> {
    fn clone(&self) -> Self {
        Self {
            client: Arc::clone(&self.client),
            resource: self.resource.clone(),
            namespace: self.namespace.clone(),
            kind: PhantomData,
        }
    }
}

impl<K> fmt::Debug for Api<K> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Api")
            .field("resource", &self.resource.group_resource())
            .field("namespace", &self.namespace)
            .finish_non_exhaustive()
    }
}

/// What a typed list returns.
#[derive(Debug, Clone)]
pub struct TypedList<K> {
    /// The version the list shows.
    pub resource_version: u64,
    /// The objects.
    pub items: Vec<Arc<K>>,
    /// The token of the next page, if there is one.
    pub continue_token: Option<String>,
}

impl<K: Kind> Api<K> {
    /// Cluster-scoped objects, or the objects of all namespaces.
    #[must_use]
    pub fn all(client: DynClient) -> Self {
        Self { client, resource: Resource::of::<K>(), namespace: None, kind: PhantomData }
    }

    /// The objects of one namespace. For a cluster-scoped kind the namespace is ignored.
    #[must_use]
    pub fn namespaced(client: DynClient, namespace: impl Into<String>) -> Self {
        let namespace = K::NAMESPACED.then(|| namespace.into());
        Self { client, resource: Resource::of::<K>(), namespace, kind: PhantomData }
    }

    /// The same kind in another namespace.
    #[must_use]
    pub fn within(&self, namespace: impl Into<String>) -> Self {
        Self::namespaced(Arc::clone(&self.client), namespace)
    }

    /// The client underneath.
    #[must_use]
    pub fn client(&self) -> &DynClient {
        &self.client
    }

    fn collection(&self) -> Path<'_> {
        Path::collection(&self.resource, self.namespace.as_deref())
    }

    fn object<'a>(&'a self, name: &'a str) -> Path<'a> {
        Path::object(&self.resource, self.namespace.as_deref(), name)
    }

    /// Reads the most recent state of an object.
    ///
    /// # Errors
    /// `NotFound`, among others.
    pub async fn get(&self, name: &str) -> Result<Arc<K>> {
        self.client.get(self.object(name), &GetOptions::default()).await?.view()
    }

    /// Reads the most recent state of an object, if it exists.
    ///
    /// # Errors
    /// Those of the client, but not `NotFound`.
    pub async fn get_opt(&self, name: &str) -> Result<Option<Arc<K>>> {
        match self.get(name).await {
            Ok(object) => Ok(Some(object)),
            Err(error) if error.is_not_found() => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Lists objects.
    ///
    /// # Errors
    /// Those of the client.
    pub async fn list(&self, options: &ListOptions) -> Result<TypedList<K>> {
        let list = self.client.list(self.collection(), options).await?;
        Ok(TypedList {
            resource_version: list.resource_version,
            items: list.items.iter().map(Object::view).collect::<Result<_>>()?,
            continue_token: list.continue_token,
        })
    }

    /// Watches objects; read an event's typed view with [`Object::view`].
    ///
    /// # Errors
    /// Those of the client; 410 if the version asked for is gone.
    pub async fn watch(&self, options: &WatchOptions) -> Result<WatchStream> {
        self.client.watch(self.collection(), options).await
    }

    /// Creates an object and returns it as stored.
    ///
    /// # Errors
    /// `AlreadyExists`, `Invalid`, among others.
    pub async fn create(&self, object: K) -> Result<Arc<K>> {
        self.create_with(object, &WriteOptions::default()).await
    }

    /// Creates an object.
    ///
    /// # Errors
    /// `AlreadyExists`, `Invalid`, among others.
    pub async fn create_with(&self, object: K, options: &WriteOptions) -> Result<Arc<K>> {
        self.client.create(self.collection(), Body::typed(object), options).await?.view()
    }

    /// Replaces an object. If it carries a resource version, that must be the current one.
    ///
    /// # Errors
    /// `Conflict` if the version is stale, among others.
    pub async fn update(&self, object: K) -> Result<Arc<K>> {
        let name = object.metadata().name.clone().unwrap_or_default();
        let options = WriteOptions::default();
        self.client.update(self.object(&name), Body::typed(object), &options).await?.view()
    }

    /// Replaces a subresource of an object, such as `status`.
    ///
    /// # Errors
    /// `Conflict` if the version is stale, among others.
    pub async fn update_subresource(&self, subresource: &str, object: K) -> Result<Arc<K>> {
        let name = object.metadata().name.clone().unwrap_or_default();
        let path = self.object(&name).subresource(subresource);
        self.client.update(path, Body::typed(object), &WriteOptions::default()).await?.view()
    }

    /// Replaces an object's status and nothing else.
    ///
    /// # Errors
    /// `Conflict` if the version is stale, among others.
    pub async fn update_status(&self, object: K) -> Result<Arc<K>> {
        self.update_subresource("status", object).await
    }

    /// Changes an object in place.
    ///
    /// # Errors
    /// `NotFound`, `Invalid`, among others.
    pub async fn patch(&self, name: &str, patch: Patch) -> Result<Arc<K>> {
        self.client.patch(self.object(name), patch, &WriteOptions::default()).await?.view()
    }

    /// Changes an object's status in place.
    ///
    /// # Errors
    /// `NotFound`, `Invalid`, among others.
    pub async fn patch_status(&self, name: &str, patch: Patch) -> Result<Arc<K>> {
        let path = self.object(name).subresource("status");
        self.client.patch(path, patch, &WriteOptions::default()).await?.view()
    }

    /// Deletes an object.
    ///
    /// # Errors
    /// `NotFound`, or `Conflict` if a precondition fails, among others.
    pub async fn delete(&self, name: &str, options: &DeleteOptions) -> Result<Deleted> {
        self.client.delete(self.object(name), options).await
    }

    /// Deletes every object that `list` selects.
    ///
    /// # Errors
    /// Those of the client.
    pub async fn delete_collection(
        &self,
        options: &DeleteOptions,
        list: &ListOptions,
    ) -> Result<Vec<Object>> {
        Ok(self.client.delete_collection(self.collection(), options, list).await?.items)
    }

    /// Posts to a subresource of an object, such as `binding` or `eviction`.
    ///
    /// # Errors
    /// Those of the client.
    pub async fn post<B: Kind>(&self, name: &str, subresource: &str, body: B) -> Result<Object> {
        let path = self.object(name).subresource(subresource);
        self.client.create(path, Body::typed(body), &WriteOptions::default()).await
    }
}
