//! What can go wrong, as the caller can act on it.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;

use crate::{LeaseId, Record, Revision};

/// The result of a store operation.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// Why a store refused or failed.
///
/// Cheap to clone, so that one failure can be told to many waiters.
#[derive(Debug, Clone, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The revision asked for is gone. List again and go on from what that shows.
    #[error("revision {requested} has been compacted, the oldest one kept is {compacted}")]
    Compacted {
        /// The revision that was asked for.
        requested: Revision,
        /// The oldest revision that can still be read, and after which a watch can start.
        compacted: Revision,
    },
    /// The revision asked for has not happened yet.
    #[error("revision {requested} is in the future, the current one is {current}")]
    Future {
        /// The revision that was asked for.
        requested: Revision,
        /// The current revision.
        current: Revision,
    },
    /// The store is full. Reads, deletes and compaction still work; compact, or delete and
    /// compact, to make room.
    #[error(
        "store holds {used} bytes, the write would pass its quota of {quota}: delete and compact"
    )]
    OverQuota {
        /// Bytes in use before the write.
        used: u64,
        /// The configured quota in bytes.
        quota: u64,
    },
    /// A precondition did not hold, so nothing was written.
    #[error("key {} does not meet the precondition of the write", key.escape_ascii())]
    Conflict {
        /// The key that was compared.
        key: Bytes,
        /// What the store holds under that key now.
        current: Option<Box<Record>>,
    },
    /// A watcher did not read its events in time and was closed. List again and watch from there.
    #[error("watcher is {behind} events behind and was closed: list again and watch from there")]
    TooSlow {
        /// How many events were waiting for it.
        behind: u64,
    },
    /// The backend cannot serve now. Whether a write was applied is unknown.
    #[error("store is unavailable, retry")]
    Unavailable {
        /// What the backend said.
        source: Arc<dyn std::error::Error + Send + Sync>,
    },
    /// A file holds something that was never written so. It is not opened: what was promised may
    /// be missing.
    #[error("{file} is damaged at byte {offset}: {why}; restore a backup, nothing was changed")]
    Damaged {
        /// The file.
        file: String,
        /// Where in it, in bytes.
        offset: u64,
        /// What is wrong with it.
        why: &'static str,
    },
    /// A directory holds files that no store of this sort has made.
    #[error("{file} is no file of a journal: name a directory of its own")]
    Foreign {
        /// The file.
        file: String,
    },
    /// Somebody else has the store open.
    #[error("{place} is in use by another process: stop it or name another directory")]
    InUse {
        /// The directory.
        place: String,
    },
    /// There is no journal where there has to be one.
    #[error("{file} is missing: mount its disk, or restore a backup, or do not insist on it")]
    Missing {
        /// A file that every journal has.
        file: String,
    },
    /// A journal is to be made where something is.
    #[error("{place} is not empty: name a new directory")]
    NotEmpty {
        /// The directory.
        place: String,
    },
    /// The operating system refused; nothing was promised.
    #[error("cannot {action}")]
    Io {
        /// What was tried, and on what.
        action: String,
        /// The system's answer.
        source: Arc<std::io::Error>,
    },
    /// As much is going on as is allowed; nothing was done.
    #[error("too many {what} already: retry in {} ms", retry_after.as_millis())]
    Busy {
        /// What there is too much of.
        what: &'static str,
        /// When to try again.
        retry_after: Duration,
    },
    /// The store has been closed.
    #[error("store is closed")]
    Closed,
    /// A key, a value or a transaction is larger than the backend takes.
    #[error("{what} of {size} bytes is larger than the limit of {limit}")]
    TooLarge {
        /// What is too large: `key`, `value` or `transaction`.
        what: &'static str,
        /// Its size: bytes, or operations for a transaction.
        size: usize,
        /// The largest size that would be taken.
        limit: usize,
    },
    /// A transaction writes the empty key, which no backend stores.
    #[error("the empty key cannot be written")]
    EmptyKey,
    /// A transaction writes one key twice.
    #[error("transaction writes key {} more than once", key.escape_ascii())]
    DuplicateKey {
        /// The key that is written twice.
        key: Bytes,
    },
    /// There is no such lease, or it has expired.
    #[error("lease {lease} does not exist or has expired")]
    LeaseNotFound {
        /// The lease that was asked for.
        lease: LeaseId,
    },
}

impl Error {
    /// An [`Error::Unavailable`] that was caused by `source`.
    #[must_use]
    pub fn unavailable(
        source: impl Into<Box<dyn std::error::Error + Send + Sync + 'static>>,
    ) -> Self {
        Self::Unavailable { source: Arc::from(source.into()) }
    }

    /// What the operating system refused.
    pub(crate) fn io(action: impl Into<String>) -> impl FnOnce(std::io::Error) -> Self {
        let action = action.into();
        move |source| Self::Io { action, source: Arc::new(source) }
    }

    /// True if the operation may have been applied although it failed.
    #[must_use]
    pub fn is_ambiguous(&self) -> bool {
        matches!(self, Self::Unavailable { .. })
    }
}
