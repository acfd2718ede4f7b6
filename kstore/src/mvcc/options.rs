//! The bounds of a memory store.

/// The bounds of a [`MemoryStore`](crate::MemoryStore). Set what differs from the default.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct MemoryOptions {
    /// Bytes of keys and values, history included, that writes may fill: 2 GiB, as
    /// [etcd's](https://etcd.io/docs/v3.6/dev-guide/limit/).
    pub quota_bytes: u64,
    /// The largest value in bytes: 1.5 MiB, as etcd's request limit.
    pub max_value_bytes: usize,
    /// Revisions of history that are kept without being asked: 65,536. Older ones are compacted
    /// as new ones come.
    pub retain_revisions: u64,
    /// Bytes of superseded values that are kept without being asked: 64 MiB.
    pub retain_bytes: u64,
    /// Revisions that may wait for a watcher before it is closed: 65,536.
    pub watch_backlog: usize,
    /// Bytes of keys and values that may wait for a watcher before it is closed: 64 MiB.
    pub watch_backlog_bytes: u64,
}

impl Default for MemoryOptions {
    fn default() -> Self {
        Self {
            quota_bytes: 2 << 30,
            max_value_bytes: 3 << 19,
            retain_revisions: 1 << 16,
            retain_bytes: 64 << 20,
            watch_backlog: 1 << 16,
            watch_backlog_bytes: 64 << 20,
        }
    }
}

impl MemoryOptions {
    /// Refuses writes that would let keys and values pass `bytes`.
    #[must_use]
    pub fn quota_bytes(mut self, bytes: u64) -> Self {
        self.quota_bytes = bytes;
        self
    }

    /// Refuses values of more than `bytes`.
    #[must_use]
    pub fn max_value_bytes(mut self, bytes: usize) -> Self {
        self.max_value_bytes = bytes;
        self
    }

    /// Keeps the history of the last `revisions` at least as long as
    /// [`retain_bytes`](Self::retain_bytes) allows, and forgets what is older.
    #[must_use]
    pub fn retain_revisions(mut self, revisions: u64) -> Self {
        self.retain_revisions = revisions;
        self
    }

    /// Forgets the oldest history when superseded values pass `bytes`.
    #[must_use]
    pub fn retain_bytes(mut self, bytes: u64) -> Self {
        self.retain_bytes = bytes;
        self
    }

    /// Keeps all history until [`compact`](crate::Store::compact) is called; only the quota bounds
    /// it then.
    #[must_use]
    pub fn retain_all(self) -> Self {
        self.retain_revisions(u64::MAX).retain_bytes(u64::MAX)
    }

    /// Closes a watcher that is about `revisions` behind (at least 4).
    #[must_use]
    pub fn watch_backlog(mut self, revisions: usize) -> Self {
        self.watch_backlog = revisions.max(4);
        self
    }

    /// Closes a watcher for which more than `bytes` wait.
    #[must_use]
    pub fn watch_backlog_bytes(mut self, bytes: u64) -> Self {
        self.watch_backlog_bytes = bytes;
        self
    }
}
