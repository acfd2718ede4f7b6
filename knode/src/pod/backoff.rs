//! How long a container that crashes again and again waits.

use std::collections::BTreeMap;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};

/// The wait after the first crash that follows a restart.
/// <https://kubernetes.io/docs/concepts/workloads/pods/pod-lifecycle/#restart-policy>
pub const CRASH_INITIAL: Duration = Duration::from_secs(10);
/// The longest wait.
pub const CRASH_LIMIT: Duration = Duration::from_secs(300);
/// A container that ran this long starts over with the shortest wait.
pub const CRASH_RESET: Duration = Duration::from_secs(600);

/// The waits of one pod's containers, or of its images. Names are bounded by the pod's own lists.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Backoffs(BTreeMap<String, Duration>);

impl Backoffs {
    /// None waits.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// How long `name` still waits at `now` if it last failed at `failed_at`.
    #[must_use]
    pub fn remaining(&self, name: &str, failed_at: Timestamp, now: Timestamp) -> Option<Duration> {
        let wait = *self.0.get(name)?;
        let passed = Duration::try_from(now.duration_since(failed_at)).unwrap_or_default();
        wait.checked_sub(passed).filter(|left| !left.is_zero())
    }

    /// The whole wait of `name`, as messages tell it.
    #[must_use]
    pub fn wait(&self, name: &str) -> Duration {
        self.0.get(name).copied().unwrap_or_default()
    }

    /// `name` is tried again: should it fail once more it waits longer. `ran` is how long its last
    /// run lasted.
    pub fn tried(&mut self, name: &str, ran: Option<SignedDuration>) {
        let long = ran.and_then(|ran| Duration::try_from(ran).ok());
        let wait = self.0.entry(name.to_owned()).or_default();
        *wait = if wait.is_zero() || long.is_some_and(|ran| ran >= CRASH_RESET) {
            CRASH_INITIAL
        } else {
            wait.saturating_mul(2).min(CRASH_LIMIT)
        };
    }

    /// `name` succeeded: it waits no more.
    pub fn forget(&mut self, name: &str) {
        self.0.remove(name);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_double_up_to_five_minutes() {
        let (mut backoffs, at) = (Backoffs::new(), Timestamp::UNIX_EPOCH);
        assert_eq!(backoffs.remaining("a", at, at), None, "the first restart waits for nothing");
        let mut waits = Vec::new();
        for _ in 0..7 {
            backoffs.tried("a", None);
            waits.push(backoffs.remaining("a", at, at).unwrap().as_secs());
        }
        assert_eq!(waits, [10, 20, 40, 80, 160, 300, 300]);
        let later = at + SignedDuration::from_secs(290);
        assert_eq!(backoffs.remaining("a", at, later), Some(Duration::from_secs(10)));
        assert_eq!(backoffs.remaining("a", at, at + SignedDuration::from_secs(300)), None);
        assert_eq!(backoffs.remaining("b", at, at), None, "others do not wait");
    }

    #[test]
    fn a_long_run_starts_over() {
        let (mut backoffs, at) = (Backoffs::new(), Timestamp::UNIX_EPOCH);
        backoffs.tried("a", None);
        backoffs.tried("a", Some(SignedDuration::from_secs(599)));
        assert_eq!(backoffs.wait("a").as_secs(), 20);
        backoffs.tried("a", Some(SignedDuration::from_secs(600)));
        assert_eq!(backoffs.remaining("a", at, at).unwrap().as_secs(), 10);
        backoffs.forget("a");
        assert_eq!(backoffs.wait("a"), Duration::ZERO);
    }
}
