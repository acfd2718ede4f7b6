//! What happened to a state, as a journal writes it down.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;

use super::history::Commit;
use crate::{LeaseId, Revision};

/// One thing that happened to a state. Replayed in order over an empty state, entries give it back.
#[derive(Debug, Clone)]
pub(crate) enum Entry {
    /// Keys changed.
    Commit(Arc<Commit>),
    /// A lease began.
    Grant {
        /// Its name.
        lease: LeaseId,
        /// How long it holds without being kept alive.
        ttl: Duration,
    },
    /// A lease ended; the keys it had are gone by a commit of their own before.
    End {
        /// Its name.
        lease: LeaseId,
    },
    /// History was forgotten on request.
    Compact {
        /// Up to here.
        through: Revision,
    },
    /// No revision up to here comes again, whatever was lost: after a crash history goes on
    /// behind it.
    Reserve {
        /// Up to here; the last one counts.
        through: Revision,
    },
}

/// A key and what it was given: a value and the lease it is attached to, or nothing.
pub(crate) type Written = (Bytes, Option<(Bytes, Option<LeaseId>)>);

/// What a snapshot says besides its records.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Saved {
    /// The revision it shows.
    pub(crate) revision: Revision,
    /// No revision up to here comes again.
    pub(crate) reserved: Revision,
    /// The number of the lease that was granted last.
    pub(crate) last_lease: u64,
    /// The leases there were.
    pub(crate) leases: Vec<SavedLease>,
}

/// A lease in a snapshot.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct SavedLease {
    /// Its name.
    pub(crate) lease: LeaseId,
    /// How long it holds without being kept alive.
    pub(crate) ttl: Duration,
}
