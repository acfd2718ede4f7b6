//! A pod's place in the queue.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use crate::framework::Framework;
use crate::snapshot::PodInfo;

/// A pod in the queue, as a QueueSort plugin sees it.
#[derive(Debug, Clone)]
pub struct QueuedPod {
    /// The pod.
    pub pod: Arc<PodInfo>,
    /// When it came to where it waits now.
    pub since: Instant,
    /// When it was first queued.
    pub first: Instant,
    /// How often it was tried.
    pub attempts: u32,
    /// The plugins that turned it away at its last attempt.
    pub rejected_by: BTreeSet<Arc<str>>,
}

impl QueuedPod {
    /// When it may be tried again: the initial backoff, doubled with each attempt.
    pub(super) fn ready_at(&self, (initial, most): (Duration, Duration)) -> Instant {
        let Some(doublings) = self.attempts.checked_sub(1) else { return self.since };
        self.since + initial.saturating_mul(1_u32 << doublings.min(16)).min(most)
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Place {
    Active,
    Backoff(Instant),
    Unschedulable,
    /// Kept out by a PreEnqueue plugin.
    Gated,
    /// Being tried since the event of this number.
    InFlight(u64),
}

/// When a pod is tried that may be helped.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Pace {
    AtOnce,
    /// After what is left of its backoff.
    Backoff,
}

#[derive(Debug)]
pub(super) struct Slot {
    pub(super) queued: QueuedPod,
    pub(super) framework: Arc<Framework>,
    pub(super) place: Place,
    /// Tells apart what heap and lists hold of this pod now and held before.
    pub(super) ticket: u64,
    /// Where it waits for events.
    pub(super) waits: Option<Waits>,
}

/// What a parked pod waits for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Waits {
    /// Events that its group listens to.
    Events(GroupKey),
    /// The node that others were made to leave for it: pods that leave other nodes do not matter.
    Room(Arc<str>),
}

/// Whom a waiting pod belongs to, and who turned it away.
pub(super) type GroupKey = (Arc<str>, BTreeSet<Arc<str>>);

/// Pods that wait for the same events: an event that none of the plugins listens to is dealt with
/// once for all of them.
#[derive(Debug)]
pub(super) struct Group {
    pub(super) framework: Arc<Framework>,
    pub(super) pods: BTreeMap<u64, Arc<str>>,
}

/// How many pods wait where.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct QueueLengths {
    /// To be tried now.
    pub active: usize,
    /// To be tried later.
    pub backoff: usize,
    /// Waiting for an event.
    pub unschedulable: usize,
    /// Kept out by a PreEnqueue plugin.
    pub gated: usize,
    /// Being tried.
    pub in_flight: usize,
}

/// A pod to be tried.
#[derive(Debug, Clone)]
pub struct Popped {
    /// The pod.
    pub pod: Arc<PodInfo>,
    /// Its profile.
    pub framework: Arc<Framework>,
    /// How often it was tried, this time included.
    pub attempts: u32,
    pub(super) ticket: u64,
}
