//! etcd's face for any store: what `etcdctl`, and any program that speaks etcd, can use.

mod cluster;
mod kv;
mod lease;
mod maintenance;
mod options;
mod refuse;
mod select;
mod serve;
mod service;
mod snapshot;
#[cfg(test)]
mod tests;
mod txn;
mod watch;

use std::fmt;
use std::sync::Arc;

use parking_lot::Mutex;

pub use self::options::EtcdFaceOptions;
use super::convert::signed;
use super::proto::ResponseHeader;
use crate::{Error, Result, Revision, Store, StoreExt};

/// Any [`Store`] as an etcd v3 server, for `etcdctl` and whatever else speaks
/// [etcd's API](https://etcd.io/docs/v3.6/learning/api/).
///
/// It serves `KV`, `Watch`, `Lease`, the reading half of `Cluster`, and `Maintenance`: [`serve`]
/// listens, [`serve_connection`] takes a connection that is there already (out of a TLS acceptor,
/// say), and it is a [`tower::Service`] of HTTP requests for whoever has a server of their own.
/// Clones serve the same store.
///
/// Where it differs from etcd: transactions within transactions, conditions on ranges and on
/// leases, leases whose name the client chooses, and users are `Unimplemented`, saying so; hashes
/// compare with those of other faces, not with etcd's; a snapshot holds the present, not the
/// history, in etcd's file format. `etcdctl` has to name its endpoint without a scheme
/// (`127.0.0.1:12379`): with one, `endpoint status` and `defrag` send a request that HTTP/2
/// forbids and this server refuses.
///
/// ```no_run
/// # #[tokio::main(flavor = "current_thread")] async fn main() -> std::io::Result<()> {
/// use kstore::{EtcdFace, MemoryStore};
/// let listener = tokio::net::TcpListener::bind("127.0.0.1:12379").await?;
/// EtcdFace::new(MemoryStore::new()).serve(listener, std::future::pending()).await
/// # }
/// ```
///
/// [`serve`]: Self::serve
/// [`serve_connection`]: Self::serve_connection
#[derive(Clone)]
pub struct EtcdFace {
    shared: Arc<Shared>,
}

/// What the requests to one face have in common.
struct Shared {
    store: Arc<dyn Store>,
    options: EtcdFaceOptions,
    /// The bytes used and the quota, when a write was last refused for them; etcd has an alarm for
    /// that.
    full: Mutex<Option<(u64, u64)>>,
}

impl EtcdFace {
    /// A face for `store` with default options.
    #[must_use]
    pub fn new(store: impl Store) -> Self {
        Self::with_options(store, EtcdFaceOptions::default())
    }

    /// A face for `store`.
    #[must_use]
    pub fn with_options(store: impl Store, options: EtcdFaceOptions) -> Self {
        let store = Arc::new(store);
        Self { shared: Arc::new(Shared { store, options, full: Mutex::new(None) }) }
    }
}

impl Shared {
    /// What an answer at `revision` begins with.
    fn header(&self, revision: Revision) -> Option<ResponseHeader> {
        Some(ResponseHeader {
            cluster_id: self.options.cluster_id,
            member_id: self.options.member_id,
            revision: signed(revision),
            raft_term: TERM,
        })
    }

    /// What an answer at the current revision begins with.
    async fn header_now(&self) -> Result<Option<ResponseHeader>> {
        Ok(self.header(self.store.revision().await?))
    }

    /// Takes note of a write that was refused for want of room, or of one that was not.
    fn note_room<T>(&self, result: &Result<T>) {
        match result {
            Err(Error::OverQuota { used, quota }) => *self.full.lock() = Some((*used, *quota)),
            Ok(_) => *self.full.lock() = None,
            Err(_) => {}
        }
    }
}

/// There is one term: nobody else is ever elected.
const TERM: u64 = 1;

impl fmt::Debug for EtcdFace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("EtcdFace")
            .field("store", &self.shared.store)
            .field("options", &self.shared.options)
            .finish_non_exhaustive()
    }
}
