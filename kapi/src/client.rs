//! The client in the same process: no serialization, the same authorization and admission.

use std::sync::Arc;

use async_trait::async_trait;
use kcore::Result;
use kcore::client::{
    Body, Client, DeleteOptions, Deleted, DiscoveredResource, GetOptions, List, ListOptions, Patch,
    Path, WatchOptions, WatchStream, WriteOptions,
};
use kcore::object::Object;

use crate::auth::Identity;
use crate::auth::rbac::Held;
use crate::registry::Verbs;
use crate::server::Server;

/// A client of an API server in the same process, with an identity of its own.
///
/// Objects are handed over as they are: a create takes the value, a read shares the server's own
/// handle, also where metadata alone was asked for: less would cost more. Everything else is as
/// over HTTP: the caller is authorized, admission runs, objects are validated.
#[derive(Debug, Clone)]
pub struct LocalClient {
    server: Arc<Server>,
    identity: Arc<Identity>,
    /// What the identity may do, as of its last request.
    held: Arc<Held>,
}

impl LocalClient {
    pub(crate) fn new(server: Arc<Server>, identity: Identity) -> Self {
        Self { server, identity: Arc::new(identity), held: Arc::default() }
    }

    /// Who this client is.
    #[must_use]
    pub fn identity(&self) -> &Identity {
        &self.identity
    }
}

#[async_trait]
impl Client for LocalClient {
    async fn get(&self, path: Path<'_>, options: &GetOptions) -> Result<Object> {
        if let Some(read) = self.server.get_now(&self.identity, &self.held, path, options) {
            return Ok(read?);
        }
        // Boxed apart, so that a read that need not wait pays for no future that could.
        Ok(Box::pin(self.server.get(&self.identity, path, options)).await?)
    }

    async fn list(&self, path: Path<'_>, options: &ListOptions) -> Result<List> {
        Ok(self.server.list(&self.identity, path, options).await?)
    }

    async fn watch(&self, path: Path<'_>, options: &WatchOptions) -> Result<WatchStream> {
        Ok(self.server.watch(&self.identity, path, options).await?)
    }

    async fn create(&self, path: Path<'_>, body: Body, options: &WriteOptions) -> Result<Object> {
        Ok(self.server.create(&self.identity, path, body, options).await?)
    }

    async fn update(&self, path: Path<'_>, body: Body, options: &WriteOptions) -> Result<Object> {
        Ok(self.server.update(&self.identity, path, body, options).await?.object)
    }

    async fn patch(&self, path: Path<'_>, patch: Patch, options: &WriteOptions) -> Result<Object> {
        let (written, _) = self.server.patch(&self.identity, path, patch, options).await?;
        Ok(written.object)
    }

    async fn delete(&self, path: Path<'_>, options: &DeleteOptions) -> Result<Deleted> {
        Ok(self.server.delete(&self.identity, path, options).await?)
    }

    async fn delete_collection(
        &self,
        path: Path<'_>,
        options: &DeleteOptions,
        list: &ListOptions,
    ) -> Result<List> {
        Ok(self.server.delete_collection(&self.identity, path, options, list).await?)
    }

    async fn discover(&self) -> Result<Vec<DiscoveredResource>> {
        let rows = self.server.registry.rows().iter();
        Ok(rows
            .map(|row| DiscoveredResource {
                resource: row.resource.clone(),
                verbs: match row.verbs {
                    Verbs::All => ALL_VERBS.map(ToOwned::to_owned).to_vec(),
                    Verbs::CreateOnly => vec!["create".to_owned()],
                },
            })
            .collect())
    }
}

/// The verbs of a stored resource, as discovery lists them.
pub(crate) const ALL_VERBS: [&str; 8] =
    ["create", "delete", "deletecollection", "get", "list", "patch", "update", "watch"];
