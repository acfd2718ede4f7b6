//! A queue's counters, as values.

use std::time::Duration;

/// Durations that were observed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Durations {
    /// How many.
    pub count: u64,
    /// Their sum.
    pub sum: Duration,
    /// The longest of them.
    pub max: Duration,
}

impl Durations {
    pub(super) fn observe(&mut self, duration: Duration) {
        self.count += 1;
        self.sum += duration;
        self.max = self.max.max(duration);
    }

    /// Their mean; zero if there were none.
    #[must_use]
    pub fn mean(&self) -> Duration {
        match u32::try_from(self.count) {
            Ok(0) => Duration::ZERO,
            Ok(count) => self.sum / count,
            // The precision that is lost is far below a nanosecond's share of such a count.
            Err(_) => self.sum.div_f64(self.count as f64),
        }
    }
}

/// What a queue did and does, by the names of client-go's `workqueue_*` metrics.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct QueueMetrics {
    /// Items that are ready to be worked on.
    pub depth: usize,
    /// Items that wait for their time.
    pub waiting: usize,
    /// Items in work.
    pub processing: usize,
    /// Items taken in, without duplicates.
    pub adds: u64,
    /// Items that came back through the rate limiter.
    pub retries: u64,
    /// Items that were refused because the queue was full.
    pub rejected: u64,
    /// How long items were ready before work on them began.
    pub latency: Durations,
    /// How long finished work took.
    pub work_duration: Durations,
    /// How long the items in work have been so, in sum.
    pub unfinished_work: Duration,
    /// How long the oldest item in work has been so.
    pub longest_running: Duration,
}
