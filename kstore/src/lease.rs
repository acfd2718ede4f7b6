//! Leases: keys that go when their holder does.

use std::fmt;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;

use crate::Result;

/// The name of a lease within its store.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LeaseId(pub u64);

impl fmt::Display for LeaseId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// What is left of a lease.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LeaseStatus {
    /// The lease.
    pub lease: LeaseId,
    /// The time to live it was granted and is renewed with.
    pub granted: Duration,
    /// The time until it expires.
    pub remaining: Duration,
    /// The keys attached to it, in byte order.
    pub keys: Vec<Bytes>,
}

/// Time-bounded ownership of keys, for backends that have it. Keys attach in a transaction's
/// [`Op::Put`](crate::Op::Put); many may share one lease.
#[async_trait]
pub trait Leases: fmt::Debug + Send + Sync + 'static {
    /// Makes a lease that expires `ttl` from now unless it is kept alive.
    ///
    /// # Contract
    /// - `lease_expires_with_its_keys`: at its end its keys are deleted, at one revision.
    /// - `leases_survive_reopening` (S1): with their keys, where the backend is durable.
    /// - `lease_belongs_to_the_last_put`: a put attaches the key to its lease alone, or to none.
    async fn grant(&self, ttl: Duration) -> Result<LeaseId>;

    /// Lets the lease live for its granted time from now, and returns that time.
    ///
    /// # Contract
    /// - `lease_is_kept_alive`: a lease that is renewed in time keeps its keys.
    async fn keep_alive(&self, lease: LeaseId) -> Result<Duration>;

    /// Ends the lease now and deletes its keys.
    ///
    /// # Contract
    /// - `lease_revoke_deletes_its_keys`: at one revision, and watchers hear of it.
    async fn revoke(&self, lease: LeaseId) -> Result<()>;

    /// What is left of the lease, and the keys attached to it.
    ///
    /// # Contract
    /// - `lease_lists_its_keys`: exactly the keys that the lease's end would delete.
    /// - `unknown_lease_is_refused`: whatever names a lease that is gone gets `LeaseNotFound`.
    async fn time_to_live(&self, lease: LeaseId) -> Result<LeaseStatus>;

    /// Every lease that has not ended, in the order of their names.
    ///
    /// # Contract
    /// - `leases_are_listed_while_they_live`: granted ones are there, ended ones are not.
    async fn list(&self) -> Result<Vec<LeaseId>>;
}
