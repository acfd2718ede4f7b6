//! The client of one reconcile: it notes what is written.

use std::sync::Arc;

use async_trait::async_trait;
use kcore::client::{
    Body, Client, DeleteOptions, Deleted, DiscoveredResource, DynClient, GetOptions, List,
    ListOptions, Patch, Path, WatchOptions, WatchStream, WriteOptions,
};
use kcore::name::NamespacedName;
use kcore::object::Object;
use kcore::{Error, Result};
use parking_lot::Mutex;

use super::Expectations;

/// A client that notes each write in its key's expectations.
#[derive(Debug)]
pub(super) struct NotingClient {
    inner: DynClient,
    noted: Arc<Mutex<Expectations>>,
}

impl NotingClient {
    pub(super) fn new(inner: DynClient, noted: Arc<Mutex<Expectations>>) -> Self {
        Self { inner, noted }
    }

    fn note<T>(&self, path: Path<'_>, result: &Result<T>, version: impl Fn(&T) -> u64) {
        match result {
            Ok(written) => self.noted.lock().wrote(path.resource, version(written)),
            Err(error) if is_uncertain(error) => {
                let namespace = path.namespace.unwrap_or_default();
                self.noted.lock().uncertain(path.resource, namespace);
            }
            Err(_) => {}
        }
    }

    fn note_write(&self, path: Path<'_>, result: &Result<Object>, dry_run: bool) {
        // Scales, bindings and evictions answer with an object of another resource.
        let own = matches!(path.subresource, "" | "status" | "finalize");
        if own && !dry_run {
            self.note(path, result, Object::resource_version);
        }
    }
}

/// Whether the write may have taken place.
fn is_uncertain(error: &Error) -> bool {
    match error {
        Error::Api(status) => status.code >= 500,
        Error::Transport(_) | Error::Decode { .. } => true,
        _ => true,
    }
}

#[async_trait]
impl Client for NotingClient {
    async fn get(&self, path: Path<'_>, options: &GetOptions) -> Result<Object> {
        self.inner.get(path, options).await
    }

    async fn list(&self, path: Path<'_>, options: &ListOptions) -> Result<List> {
        self.inner.list(path, options).await
    }

    async fn watch(&self, path: Path<'_>, options: &WatchOptions) -> Result<WatchStream> {
        self.inner.watch(path, options).await
    }

    async fn create(&self, path: Path<'_>, body: Body, options: &WriteOptions) -> Result<Object> {
        let result = self.inner.create(path, body, options).await;
        self.note_write(path, &result, options.dry_run);
        result
    }

    async fn update(&self, path: Path<'_>, body: Body, options: &WriteOptions) -> Result<Object> {
        let result = self.inner.update(path, body, options).await;
        self.note_write(path, &result, options.dry_run);
        result
    }

    async fn patch(&self, path: Path<'_>, patch: Patch, options: &WriteOptions) -> Result<Object> {
        let result = self.inner.patch(path, patch, options).await;
        self.note_write(path, &result, options.dry_run);
        result
    }

    async fn delete(&self, path: Path<'_>, options: &DeleteOptions) -> Result<Deleted> {
        let result = self.inner.delete(path, options).await;
        match (&result, &options.preconditions.uid) {
            _ if options.dry_run => {}
            (Ok(Deleted::Gone(_)), Some(uid)) => {
                let key = NamespacedName::new(path.namespace.unwrap_or_default(), path.name);
                self.noted.lock().deleted(path.resource, key, uid);
            }
            _ => self.note(path, &result, |deleted| match deleted {
                Deleted::Pending(object) => object.resource_version(),
                Deleted::Gone(_) => 0,
            }),
        }
        result
    }

    async fn delete_collection(
        &self,
        path: Path<'_>,
        options: &DeleteOptions,
        list: &ListOptions,
    ) -> Result<List> {
        let result = self.inner.delete_collection(path, options, list).await;
        self.note(path, &result, |list| list.resource_version);
        result
    }

    async fn discover(&self) -> Result<Vec<DiscoveredResource>> {
        self.inner.discover().await
    }
}
