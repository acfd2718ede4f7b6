//! The wall clock, as a value.
//!
//! Durations, sleeps and timeouts are tokio's: under paused time they cost nothing. What is left
//! is the wall clock that timestamps need, and that is tokio's clock plus an offset.

use jiff::{SignedDuration, Timestamp};
use tokio::time::Instant;

/// The wall clock: tokio's monotonic time plus a wall offset.
///
/// Under tokio's paused time a clock stands still with it, so a simulated hour passes in
/// milliseconds and every timestamp in it is the same at each run. Pure code takes `now` as an
/// argument and never sees a clock.
///
/// ```
/// # #[tokio::main(flavor = "current_thread", start_paused = true)] async fn main() {
/// use kcore::clock::Clock;
/// let clock = Clock::starting_at("2026-01-01T00:00:00Z".parse().unwrap());
/// tokio::time::sleep(std::time::Duration::from_secs(3600)).await;
/// assert_eq!(clock.now().to_string(), "2026-01-01T01:00:00Z");
/// # }
/// ```
#[derive(Debug, Clone)]
pub struct Clock {
    wall: Timestamp,
    origin: Instant,
}

impl Clock {
    /// The machine's wall clock, read once here and advanced by tokio's time from then on.
    #[must_use]
    pub fn system() -> Self {
        #[allow(clippy::disallowed_methods, reason = "the one place that reads the wall clock")]
        Self::starting_at(Timestamp::now())
    }

    /// A clock that shows `wall` now.
    #[must_use]
    pub fn starting_at(wall: Timestamp) -> Self {
        Self { wall, origin: Instant::now() }
    }

    /// The wall time now.
    #[must_use]
    pub fn now(&self) -> Timestamp {
        self.at(Instant::now())
    }

    /// The wall time at `instant`, saturating at the ends of time.
    #[must_use]
    pub fn at(&self, instant: Instant) -> Timestamp {
        let elapsed = instant.saturating_duration_since(self.origin);
        SignedDuration::try_from(elapsed)
            .ok()
            .and_then(|elapsed| self.wall.checked_add(elapsed).ok())
            .unwrap_or(Timestamp::MAX)
    }
}
