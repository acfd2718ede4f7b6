//! Times and names of an election.

use std::time::Duration;

/// How long a lease is good after its last renewal, unless told otherwise.
pub const LEASE_DURATION: Duration = Duration::from_secs(15);
/// How long after its last renewal a leader gives up, unless told otherwise.
pub const RENEW_DEADLINE: Duration = Duration::from_secs(10);
/// How long replicas wait between two tries, unless told otherwise.
pub const RETRY_PERIOD: Duration = Duration::from_secs(2);
/// The largest share of the retry period that candidates add at random.
pub const JITTER: f64 = 1.2;
/// How long before the renew deadline the leader's work is told to stop; at the deadline itself
/// it is dropped.
pub const STOP_MARGIN: Duration = Duration::from_secs(1);

/// How an election is held. All replicas must be told the same, but for the identity.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct LeaderConfig {
    /// The lease's namespace.
    pub namespace: String,
    /// The lease's name.
    pub name: String,
    /// Who this replica is: no two may be called the same.
    pub identity: String,
    /// How long a lease is good after its last renewal; whole seconds, as leases count in them.
    pub lease_duration: Duration,
    /// How long after its last renewal a leader gives up: less than the lease duration.
    pub renew_deadline: Duration,
    /// How long replicas wait between two tries: less than the renew deadline.
    pub retry_period: Duration,
}

impl LeaderConfig {
    /// An election for the lease `namespace/name`, with the default times.
    #[must_use]
    pub fn new(
        namespace: impl Into<String>,
        name: impl Into<String>,
        identity: impl Into<String>,
    ) -> Self {
        Self {
            namespace: namespace.into(),
            name: name.into(),
            identity: identity.into(),
            lease_duration: LEASE_DURATION,
            renew_deadline: RENEW_DEADLINE,
            retry_period: RETRY_PERIOD,
        }
    }

    /// Other times. What does not hold the order lease > deadline > 2 × retry is lengthened to.
    #[must_use]
    pub fn times(mut self, lease: Duration, renew_deadline: Duration, retry: Duration) -> Self {
        self.retry_period = retry.max(Duration::from_millis(1));
        self.renew_deadline = renew_deadline.max(self.retry_period * 2);
        let lease = lease.max(self.renew_deadline + self.retry_period);
        self.lease_duration = Duration::from_secs(lease.as_secs_f64().ceil() as u64);
        self
    }

    /// How long before the renew deadline the work is told to stop.
    #[must_use]
    pub(super) fn stop_margin(&self) -> Duration {
        STOP_MARGIN.min(self.renew_deadline / 10)
    }

    pub(super) fn lease_seconds(&self) -> i32 {
        i32::try_from(self.lease_duration.as_secs()).unwrap_or(i32::MAX)
    }
}
