//! How a store is doing.

use std::time::Duration;

use crate::Revision;

/// How a store is doing. Fields that a backend cannot know are `None`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct StoreStatus {
    /// The current revision, at least 1.
    pub revision: Revision,
    /// The oldest revision that can still be read; 0 if nothing was ever compacted.
    pub compacted: Revision,
    /// Bytes in use, the history included: what a quota counts.
    pub bytes: u64,
    /// Keys that exist now.
    pub keys: u64,
    /// Watches that are open.
    pub watchers: u64,
    /// How long the last sync to stable storage took; `None` if there is none.
    pub sync_latency: Option<Duration>,
    /// The member that leads; `None` for a store of one.
    pub leader: Option<String>,
    /// Whether a majority can be reached; `None` for a store of one.
    pub quorum: Option<bool>,
}

impl StoreStatus {
    /// The status of a store at `revision`, with nothing else known.
    #[must_use]
    pub fn at(revision: Revision) -> Self {
        Self { revision, ..Self::default() }
    }

    /// True unless a majority is known to be out of reach.
    #[must_use]
    pub fn healthy(&self) -> bool {
        self.quorum != Some(false)
    }
}
