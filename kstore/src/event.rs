//! What a watch tells.

use crate::{Record, Revision};

/// One change of one key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Event {
    /// Whether the key was written or deleted.
    pub kind: EventKind,
    /// The key after the change. For a deletion: the key, the revision of the deletion as
    /// `modified`, an empty value, and nothing in the other fields.
    pub record: Record,
    /// The key before the change, if the watch asked for it and there was one.
    pub previous: Option<Record>,
}

/// Whether a key was written or deleted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum EventKind {
    /// The key was written.
    Put,
    /// The key was deleted, by a transaction or by the end of its lease.
    Delete,
}

impl Event {
    /// True if the key did not exist before.
    #[must_use]
    pub fn is_create(&self) -> bool {
        self.kind == EventKind::Put && self.record.created == self.record.modified
    }
}

/// One item of a watch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum WatchBatch {
    /// Changes, in order of their revisions. All changes of one revision that lie in the range
    /// are in one batch; a batch may hold several revisions.
    Events {
        /// The last revision in the batch.
        revision: Revision,
        /// The changes, never empty. Each knows its revision as `record.modified`.
        events: Vec<Event>,
    },
    /// Nothing with this or a lesser revision will follow: it is safe to resume after it.
    Progress(Revision),
}

impl WatchBatch {
    /// The revision after which a watch that saw this may be resumed.
    #[must_use]
    pub fn revision(&self) -> Revision {
        match self {
            Self::Events { revision, .. } | Self::Progress(revision) => *revision,
        }
    }
}
