//! The texts of etcd's errors, which clients match on.

/// The revision is gone.
pub(super) const COMPACTED: &str = "etcdserver: mvcc: required revision has been compacted";
/// The revision has not happened.
pub(super) const FUTURE: &str = "etcdserver: mvcc: required revision is a future revision";
/// A transaction writes a key twice.
pub(super) const DUPLICATE_KEY: &str = "etcdserver: duplicate key given in txn request";
/// The empty key.
pub(super) const EMPTY_KEY: &str = "etcdserver: key is not provided";
/// There is no such lease.
pub(super) const LEASE_NOT_FOUND: &str = "etcdserver: requested lease not found";
/// The quota is reached.
pub(super) const NO_SPACE: &str = "etcdserver: mvcc: database space exceeded";
/// The request has too many bytes.
pub(super) const TOO_LARGE: &str = "etcdserver: request is too large";
/// The transaction has too many operations.
pub(super) const TOO_MANY_OPS: &str = "etcdserver: too many operations in txn request";

/// What a client alone meets.
#[cfg(feature = "etcd")]
pub(super) mod client {
    /// The member knows no leader, and says so before it does anything.
    pub(crate) const NO_LEADER: &str = "etcdserver: no leader";
    /// The member is too busy to begin.
    pub(crate) const TOO_MANY_REQUESTS: &str = "etcdserver: too many requests";
    /// The member does not vote yet, and refuses before it does anything.
    pub(crate) const LEARNER: &str = "etcdserver: rpc not supported for learner";
    /// The token is not valid any more.
    pub(crate) const INVALID_TOKEN: &str = "etcdserver: invalid auth token";
}

/// What a server alone says.
#[cfg(feature = "etcd-server")]
pub(super) mod server {
    /// A lease of that name exists.
    pub(crate) const LEASE_EXISTS: &str = "etcdserver: lease already exists";
    /// A put keeps a value, and gives one.
    pub(crate) const VALUE_PROVIDED: &str = "etcdserver: value is provided";
    /// A put keeps a lease, and gives one.
    pub(crate) const LEASE_PROVIDED: &str = "etcdserver: lease is provided";
    /// A put keeps what is not there.
    pub(crate) const KEY_NOT_FOUND: &str = "etcdserver: key not found";
    /// The store has stopped.
    pub(crate) const STOPPED: &str = "etcdserver: server stopped";
    /// The store does not answer.
    pub(crate) const TIMED_OUT: &str = "etcdserver: request timed out";
    /// A watch of that name exists.
    pub(crate) const DUPLICATE_WATCH: &str =
        "etcdserver: mvcc: duplicate watch ID provided on the WatchStream";
}
