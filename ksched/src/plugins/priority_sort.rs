//! PrioritySort: higher priority first, then who came first.

use std::cmp::Ordering;
use std::sync::Arc;

use crate::framework::{ExtensionPoints, QueueSortPlugin, SchedulerPlugin};
use crate::queue::QueuedPod;

/// Pods of higher priority first; among equals, those that came to the queue first.
/// <https://kubernetes.io/docs/concepts/scheduling-eviction/pod-priority-preemption/>
#[derive(Debug, Clone, Copy, Default)]
pub struct PrioritySort;

impl SchedulerPlugin for PrioritySort {
    fn register(self: Arc<Self>, points: &mut ExtensionPoints) {
        points.queue_sort(self);
    }
}

impl QueueSortPlugin for PrioritySort {
    fn compare(&self, a: &QueuedPod, b: &QueuedPod) -> Ordering {
        b.pod.priority().cmp(&a.pod.priority()).then_with(|| a.since.cmp(&b.since))
    }
}
