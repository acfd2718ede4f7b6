//! The API server, as those who assemble a cluster hold it.

use std::net::SocketAddr;
use std::sync::Arc;

use kstore::Store;

use crate::auth::Identity;
use crate::client::LocalClient;
use crate::server::{Server, ServerOptions};

/// A Kubernetes API server over a store, as a value.
///
/// It serves from the moment it is made: the first request fills its cache. Clones share one
/// server; many servers live in one process and never notice each other.
#[derive(Debug, Clone)]
pub struct ApiServer {
    pub(crate) server: Arc<Server>,
}

impl ApiServer {
    /// A server over a store.
    #[must_use]
    pub fn new(store: impl Store) -> Self {
        Self::with(store, ServerOptions::default())
    }

    /// A server over a store, with options.
    #[must_use]
    pub fn with(store: impl Store, options: ServerOptions) -> Self {
        Self { server: Arc::new(Server::new(Arc::new(store), options)) }
    }

    /// Publishes `address` behind the `kubernetes` Service, as where Pods reach this server.
    ///
    /// # Errors
    /// If the store cannot be written, or the address is a loopback one and the server was not
    /// given a [`loopback_pod_cidr`](ServerOptions::loopback_pod_cidr).
    pub async fn advertise(&self, address: SocketAddr) -> kcore::Result<()> {
        Ok(self.server.advertise(address).await?)
    }

    /// A client in this process, with an identity of its own.
    #[must_use]
    pub fn client(&self, identity: Identity) -> LocalClient {
        LocalClient::new(Arc::clone(&self.server), identity)
    }
}
