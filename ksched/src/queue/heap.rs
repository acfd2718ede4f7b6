//! The active pods, the next one first.

use std::cmp::Ordering;
use std::collections::BinaryHeap;
use std::sync::Arc;

use super::QueuedPod;
use crate::framework::Framework;

/// Entries that are no longer valid are kept until they are more than the valid ones and this.
const SLACK: usize = 1024;

/// A heap in the order of the QueueSort plugin; of two alike, the one pushed first. An entry is
/// valid as long as its ticket is the pod's.
#[derive(Debug, Default)]
pub(super) struct Heap {
    entries: BinaryHeap<Entry>,
    /// The size at which invalid entries are looked for.
    limit: usize,
}

#[derive(Debug)]
struct Entry {
    queued: QueuedPod,
    framework: Arc<Framework>,
    ticket: u64,
}

impl Heap {
    pub(super) fn push(&mut self, ticket: u64, queued: &QueuedPod, framework: &Arc<Framework>) {
        let (queued, framework) = (queued.clone(), Arc::clone(framework));
        self.entries.push(Entry { queued, framework, ticket });
    }

    pub(super) fn pop(&mut self) -> Option<(Arc<str>, u64)> {
        let entry = self.entries.pop()?;
        Some((Arc::clone(entry.queued.pod.shared_uid()), entry.ticket))
    }

    /// Drops invalid entries, once there may be many.
    pub(super) fn compact(&mut self, valid: impl Fn(&str, u64) -> bool) {
        if self.entries.len() > self.limit.max(SLACK) {
            self.entries.retain(|entry| valid(entry.queued.pod.uid(), entry.ticket));
            self.limit = self.entries.len() * 2;
        }
    }
}

impl Ord for Entry {
    fn cmp(&self, other: &Self) -> Ordering {
        // The heap gives its greatest first.
        let Some(sort) = self.framework.points.queue_sort.first() else {
            return other.ticket.cmp(&self.ticket);
        };
        let compare = || Ok(sort.plugin.compare(&self.queued, &other.queued));
        // A comparison that panics is no reason not to try either pod.
        let sorted = self.framework.guard(&sort.name, &self.queued.pod, compare);
        sorted.unwrap_or(Ordering::Equal).reverse().then_with(|| other.ticket.cmp(&self.ticket))
    }
}

impl PartialOrd for Entry {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Entry {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other) == Ordering::Equal
    }
}

impl Eq for Entry {}
