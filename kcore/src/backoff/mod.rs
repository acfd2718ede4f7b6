//! Exponential backoff, with a cap and jitter.

use std::time::Duration;

use tokio::time::Instant;

use crate::random::Random;

/// How long to wait after each failure in a row.
///
/// The n-th delay is `first * factor^n`, at most `cap`, lengthened by a random share of up to
/// `jitter` of itself: so no delay is longer than `cap * (1 + jitter)`.
#[derive(Debug, Clone, Copy, PartialEq)]
#[non_exhaustive]
pub struct BackoffPolicy {
    /// The delay after the first failure.
    pub first: Duration,
    /// The longest delay, before jitter.
    pub cap: Duration,
    /// What each delay is multiplied with to give the next one.
    pub factor: f64,
    /// The largest share of a delay that is added to it at random; zero for none.
    pub jitter: f64,
    /// A failure this long after the delay before it counts as a first one again.
    pub reset_after: Option<Duration>,
}

impl BackoffPolicy {
    /// Doubles from `first` to `cap`, without jitter and without reset by time.
    #[must_use]
    pub const fn new(first: Duration, cap: Duration) -> Self {
        Self { first, cap, factor: 2.0, jitter: 0.0, reset_after: None }
    }

    /// What each delay is multiplied with.
    #[must_use]
    pub const fn factor(mut self, factor: f64) -> Self {
        self.factor = factor;
        self
    }

    /// The largest share of a delay that is added to it at random.
    #[must_use]
    pub const fn jitter(mut self, jitter: f64) -> Self {
        self.jitter = jitter;
        self
    }

    /// Starts over when a failure comes this long after the last delay began.
    #[must_use]
    pub const fn reset_after(mut self, quiet: Duration) -> Self {
        self.reset_after = Some(quiet);
        self
    }

    /// The delay after `failures` failures came before this one, without jitter.
    #[must_use]
    pub fn delay(&self, failures: u32) -> Duration {
        let exponent = i32::try_from(failures).unwrap_or(i32::MAX);
        let seconds = self.first.as_secs_f64() * self.factor.powi(exponent);
        Duration::try_from_secs_f64(seconds).unwrap_or(self.cap).min(self.cap)
    }
}

/// A running backoff: a policy and the failures so far.
///
/// ```
/// use std::time::Duration;
/// use kcore::backoff::{Backoff, BackoffPolicy};
/// use kcore::random::Random;
/// # #[tokio::main(flavor = "current_thread", start_paused = true)] async fn main() {
/// let policy = BackoffPolicy::new(Duration::from_secs(1), Duration::from_secs(5));
/// let mut backoff = Backoff::new(policy, Random::seeded(1));
/// let delays: Vec<u64> = (0..4).map(|_| backoff.next_delay().as_secs()).collect();
/// assert_eq!(delays, [1, 2, 4, 5]);
/// backoff.reset();
/// assert_eq!(backoff.next_delay(), Duration::from_secs(1));
/// # }
/// ```
#[derive(Debug, Clone)]
pub struct Backoff {
    policy: BackoffPolicy,
    random: Random,
    failures: u32,
    last: Option<Instant>,
}

impl Backoff {
    /// A backoff that has seen no failure; `random` is drawn from if the policy has jitter.
    #[must_use]
    pub fn new(policy: BackoffPolicy, random: Random) -> Self {
        Self { policy, random, failures: 0, last: None }
    }

    /// Counts a failure and says how long to wait.
    pub fn next_delay(&mut self) -> Duration {
        let now = Instant::now();
        let quiet = self.last.map(|last| now.saturating_duration_since(last));
        if quiet.zip(self.policy.reset_after).is_some_and(|(quiet, limit)| quiet >= limit) {
            self.failures = 0;
        }
        let delay = self.policy.delay(self.failures);
        self.failures = self.failures.saturating_add(1);
        let delay = match self.policy.jitter {
            0.0 => delay,
            jitter => self.random.jitter(delay, jitter),
        };
        self.last = now.checked_add(delay);
        delay
    }

    /// Counts a failure and waits. Dropping the future ends the wait; the failure stays counted.
    pub async fn wait(&mut self) {
        tokio::time::sleep(self.next_delay()).await;
    }

    /// Forgets all failures.
    pub fn reset(&mut self) {
        self.failures = 0;
        self.last = None;
    }

    /// The failures since the last reset.
    #[must_use]
    pub fn failures(&self) -> u32 {
        self.failures
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn delays_grow_to_the_cap_and_never_overflow() {
        let policy = BackoffPolicy::new(SECOND, Duration::from_secs(30)).factor(3.0);
        let check = |failures, seconds| assert_eq!(policy.delay(failures).as_secs(), seconds);
        check(0, 1);
        check(1, 3);
        check(3, 27);
        check(4, 30);
        check(u32::MAX, 30);
    }

    #[tokio::test(start_paused = true)]
    async fn jitter_lengthens_by_its_share_at_most_c10() {
        let policy = BackoffPolicy::new(SECOND, 4 * SECOND).jitter(1.0);
        let mut backoff = Backoff::new(policy, Random::seeded(5));
        let delays: Vec<_> = (0..50).map(|_| backoff.next_delay()).collect();
        for (at, delay) in delays.iter().enumerate() {
            let base = policy.delay(u32::try_from(at).unwrap());
            assert!(*delay >= base && *delay < base * 2, "{delay:?} for {base:?}");
        }
        assert!(delays[10..].windows(2).any(|pair| pair[0] != pair[1]));
    }

    #[tokio::test(start_paused = true)]
    async fn a_quiet_time_starts_over() {
        let policy = BackoffPolicy::new(SECOND, 60 * SECOND).reset_after(10 * SECOND);
        let mut backoff = Backoff::new(policy, Random::seeded(5));
        backoff.wait().await;
        backoff.wait().await;
        tokio::time::sleep(9 * SECOND).await;
        assert_eq!(backoff.next_delay(), 4 * SECOND);
        tokio::time::sleep(14 * SECOND).await;
        assert_eq!(backoff.next_delay(), SECOND);
    }
}
