//! What a scheduler has done, in numbers.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// Buckets of the histogram: sixteen for each doubling, so that a quantile is right to some four
/// percent.
const BUCKETS: usize = 1024;
const PER_DOUBLING: f64 = 16.0;

/// How many attempts there were, and how long they took: from the moment a pod is taken from the
/// queue until a node is chosen for it, or none. Upstream's
/// `scheduler_scheduling_attempt_duration_seconds`, without the binding.
/// <https://kubernetes.io/docs/reference/instrumentation/metrics/>
#[derive(Debug)]
pub struct Metrics {
    scheduled: AtomicU64,
    unschedulable: AtomicU64,
    durations: Box<[AtomicU64]>,
}

impl Default for Metrics {
    fn default() -> Self {
        let durations = std::iter::repeat_with(AtomicU64::default).take(BUCKETS).collect();
        Self { scheduled: AtomicU64::new(0), unschedulable: AtomicU64::new(0), durations }
    }
}

#[allow(clippy::cast_precision_loss, clippy::cast_possible_truncation, clippy::cast_sign_loss)]
fn bucket(duration: Duration) -> usize {
    let nanoseconds = duration.as_nanos().max(1) as f64;
    ((nanoseconds.log2() * PER_DOUBLING) as usize).min(BUCKETS - 1)
}

/// What came of an attempt.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Attempt {
    Scheduled,
    Failed,
}

impl Metrics {
    pub(super) fn attempted(&self, duration: Duration, attempt: Attempt) {
        let counter = match attempt {
            Attempt::Scheduled => &self.scheduled,
            Attempt::Failed => &self.unschedulable,
        };
        counter.fetch_add(1, Ordering::Relaxed);
        self.durations[bucket(duration)].fetch_add(1, Ordering::Relaxed);
    }

    /// Attempts that found a node.
    #[must_use]
    pub fn scheduled(&self) -> u64 {
        self.scheduled.load(Ordering::Relaxed)
    }

    /// Attempts that found none.
    #[must_use]
    pub fn unschedulable(&self) -> u64 {
        self.unschedulable.load(Ordering::Relaxed)
    }

    /// The time within which this part of all attempts, from zero to one, was done.
    #[must_use]
    #[allow(clippy::cast_precision_loss, clippy::cast_possible_truncation, clippy::cast_sign_loss)]
    pub fn quantile(&self, part: f64) -> Duration {
        let counts: Vec<u64> =
            self.durations.iter().map(|count| count.load(Ordering::Relaxed)).collect();
        let wanted = (counts.iter().sum::<u64>() as f64 * part).ceil().max(1.0) as u64;
        let mut seen = 0;
        let at = counts.iter().position(|count| {
            seen += count;
            seen >= wanted
        });
        let Some(at) = at else { return Duration::ZERO };
        Duration::from_nanos(((at + 1) as f64 / PER_DOUBLING).exp2() as u64)
    }

    /// Forgets everything, to measure from here.
    pub fn reset(&self) {
        let all = self.durations.iter().chain([&self.scheduled, &self.unschedulable]);
        all.for_each(|counter| counter.store(0, Ordering::Relaxed));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantiles_are_near_what_was_measured() {
        let metrics = Metrics::default();
        for at in 1..=1000_u64 {
            let attempt = if at % 10 == 0 { Attempt::Failed } else { Attempt::Scheduled };
            metrics.attempted(Duration::from_micros(at), attempt);
        }
        assert_eq!((metrics.scheduled(), metrics.unschedulable()), (900, 100));
        for (part, expected) in [(0.5, 500.0), (0.99, 990.0), (1.0, 1000.0)] {
            let found = metrics.quantile(part).as_secs_f64() * 1e6;
            assert!((found / expected - 1.0).abs() < 0.05, "{part}: {found}");
        }
        metrics.reset();
        assert_eq!(metrics.quantile(0.5), Duration::ZERO);
    }
}
