//! A client whose answers a test writes down.

use async_trait::async_trait;

use super::{
    Body, Client, DeleteOptions, Deleted, DiscoveredResource, GetOptions, List, ListOptions, Patch,
    Path, WatchOptions, WatchStream, WriteOptions,
};
use crate::Result;
use crate::name::Resource;
use crate::object::Object;

/// Where a request went, for expectations to look at.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MockPath {
    /// The resource.
    pub resource: Resource,
    /// The namespace, unless it is a cluster-scoped resource or all namespaces.
    pub namespace: Option<String>,
    /// The object's name; empty for the collection.
    pub name: String,
    /// The subresource; empty for the object itself.
    pub subresource: String,
}

impl From<Path<'_>> for MockPath {
    fn from(path: Path<'_>) -> Self {
        Self {
            resource: path.resource.clone(),
            namespace: path.namespace.map(str::to_owned),
            name: path.name.to_owned(),
            subresource: path.subresource.to_owned(),
        }
    }
}

mockall::mock! {
    /// A [`Client`] of expectations, for tests of one component: each method of the trait has an
    /// `expect_…` here, with the path by value. Where a test needs a cluster, an in-process API
    /// server is the better double.
    #[derive(Debug)]
    pub Client {
        /// What [`Client::get`] returns.
        pub fn get(&self, path: MockPath, options: &GetOptions) -> Result<Object>;
        /// What [`Client::list`] returns.
        pub fn list(&self, path: MockPath, options: &ListOptions) -> Result<List>;
        /// What [`Client::watch`] returns.
        pub fn watch(&self, path: MockPath, options: &WatchOptions) -> Result<WatchStream>;
        /// What [`Client::create`] returns.
        pub fn create(&self, path: MockPath, body: Body, options: &WriteOptions) -> Result<Object>;
        /// What [`Client::update`] returns.
        pub fn update(&self, path: MockPath, body: Body, options: &WriteOptions) -> Result<Object>;
        /// What [`Client::patch`] returns.
        pub fn patch(&self, path: MockPath, patch: Patch, options: &WriteOptions) -> Result<Object>;
        /// What [`Client::delete`] returns.
        pub fn delete(&self, path: MockPath, options: &DeleteOptions) -> Result<Deleted>;
        /// What [`Client::delete_collection`] returns.
        pub fn delete_collection(
            &self,
            path: MockPath,
            options: &DeleteOptions,
            list: &ListOptions,
        ) -> Result<List>;
        /// What [`Client::discover`] returns.
        pub fn discover(&self) -> Result<Vec<DiscoveredResource>>;
    }
}

#[deny(clippy::missing_trait_methods)]
#[async_trait]
impl Client for MockClient {
    async fn get(&self, path: Path<'_>, options: &GetOptions) -> Result<Object> {
        self.get(path.into(), options)
    }

    async fn list(&self, path: Path<'_>, options: &ListOptions) -> Result<List> {
        self.list(path.into(), options)
    }

    async fn watch(&self, path: Path<'_>, options: &WatchOptions) -> Result<WatchStream> {
        self.watch(path.into(), options)
    }

    async fn create(&self, path: Path<'_>, body: Body, options: &WriteOptions) -> Result<Object> {
        self.create(path.into(), body, options)
    }

    async fn update(&self, path: Path<'_>, body: Body, options: &WriteOptions) -> Result<Object> {
        self.update(path.into(), body, options)
    }

    async fn patch(&self, path: Path<'_>, patch: Patch, options: &WriteOptions) -> Result<Object> {
        self.patch(path.into(), patch, options)
    }

    async fn delete(&self, path: Path<'_>, options: &DeleteOptions) -> Result<Deleted> {
        self.delete(path.into(), options)
    }

    async fn delete_collection(
        &self,
        path: Path<'_>,
        options: &DeleteOptions,
        list: &ListOptions,
    ) -> Result<List> {
        self.delete_collection(path.into(), options, list)
    }

    async fn discover(&self) -> Result<Vec<DiscoveredResource>> {
        self.discover()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use k8s_openapi::api::core::v1::Pod;

    use super::*;
    use crate::client::Api;
    use crate::status::Status;

    #[tokio::test]
    async fn a_mock_answers_as_it_was_told() {
        let mut client = MockClient::new();
        client
            .expect_get()
            .withf(|path, _| path.name == "a" && path.namespace.as_deref() == Some("ns"))
            .once()
            .returning(|path, _| Err(Status::not_found("", "pods", &path.name).into()));
        let api = Api::<Pod>::namespaced(Arc::new(client), "ns");
        assert!(api.get_opt("a").await.unwrap().is_none());
    }
}
