//! What a backend says it can do.

use std::any::Any;
use std::fmt;
use std::sync::Arc;

use futures::FutureExt;
use futures::future::BoxFuture;

use crate::Store;

/// Opens again what a guard keeps.
pub(super) type Reopen = Arc<dyn Fn(&dyn Any) -> BoxFuture<'static, Arc<dyn Store>>>;

/// What a backend promises beyond what all do. Undeclared promises skip their cases.
#[derive(Clone, Default)]
#[non_exhaustive]
pub struct Capabilities {
    pub(super) virtual_time: bool,
    pub(super) leases: bool,
    pub(super) quota_bytes: Option<u64>,
    pub(super) watch_backlog: Option<usize>,
    pub(super) max_value_bytes: Option<usize>,
    pub(super) coarse_bytes: bool,
    pub(super) missing: Option<String>,
    pub(super) reopen: Option<Reopen>,
}

impl fmt::Debug for Capabilities {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Capabilities")
            .field("virtual_time", &self.virtual_time)
            .field("leases", &self.leases)
            .field("quota_bytes", &self.quota_bytes)
            .field("watch_backlog", &self.watch_backlog)
            .field("max_value_bytes", &self.max_value_bytes)
            .field("durable", &self.reopen.is_some())
            .finish()
    }
}

impl Capabilities {
    /// All its waiting is tokio's, so cases run under paused time.
    #[must_use]
    pub fn virtual_time(mut self) -> Self {
        self.virtual_time = true;
        self
    }

    /// It has leases.
    #[must_use]
    pub fn leases(mut self) -> Self {
        self.leases = true;
        self
    }

    /// The stores that the factory makes refuse writes that would pass `bytes`; keep it small
    /// (1 MiB), for the case fills it.
    #[must_use]
    pub fn quota(mut self, bytes: u64) -> Self {
        self.quota_bytes = Some(bytes);
        self
    }

    /// The stores that the factory makes close a watcher that is `revisions` behind; keep it small
    /// (1,000), for the case writes that many.
    #[must_use]
    pub fn watch_backlog(mut self, revisions: usize) -> Self {
        self.watch_backlog = Some(revisions);
        self
    }

    /// The largest value it takes is of `bytes`.
    #[must_use]
    pub fn max_value_bytes(mut self, bytes: usize) -> Self {
        self.max_value_bytes = Some(bytes);
        self
    }

    /// Its bytes in use are counted in pages, and a page that compaction frees counts until it is
    /// used again: the case about them checks that it is.
    #[must_use]
    pub fn coarse_bytes(mut self) -> Self {
        self.coarse_bytes = true;
        self
    }

    /// What the backend needs is not on this machine: no case runs, and each prints why.
    #[must_use]
    pub fn missing(mut self, what: impl Into<String>) -> Self {
        self.missing = Some(what.into());
        self
    }

    /// What was acknowledged is there when the store is opened again; `reopen` does that, given the
    /// guard that the factory returned with a store that has been dropped.
    ///
    /// # Panics
    /// The cases do, if the factory's guard is of another type than `reopen` takes.
    #[must_use]
    pub fn durable<G, M, S>(mut self, reopen: impl Fn(&G) -> M + 'static) -> Self
    where
        G: 'static,
        M: Future<Output = S> + Send + 'static,
        S: Store,
    {
        self.reopen = Some(Arc::new(move |guard| {
            let guard = guard.downcast_ref::<G>().expect("the guard is of the type declared");
            let opening = reopen(guard);
            async move { Arc::new(opening.await) as Arc<dyn Store> }.boxed()
        }));
        self
    }

    /// Whether the capability called `name` is declared; `None` if there is no such capability.
    #[must_use]
    pub fn has(&self, name: &str) -> Option<bool> {
        Some(match name {
            "always" => true,
            "virtual_time" => self.virtual_time,
            "leases" => self.leases,
            "quota" => self.quota_bytes.is_some(),
            "watch_backlog" => self.watch_backlog.is_some(),
            "durable" => self.reopen.is_some(),
            "durable_leases" => self.reopen.is_some() && self.leases,
            "max_value_bytes" => self.max_value_bytes.is_some(),
            _ => return None,
        })
    }
}
