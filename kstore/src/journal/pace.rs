//! When looking again and again beats going to sleep.
//!
//! Waking a thread takes about as long as a sync of a fast disk. So where one caller alone writes,
//! it and the writer look for each other's news for a moment before they sleep: measured, that
//! makes half as many writes again. Where many write, there is always somebody awake; neither
//! waiting for more of them to share a sync nor looking gained anything then.

use std::time::Duration;

use tokio::time::Instant;

use crate::Revision;

/// The longest that anybody looks.
pub(super) const MAX_PATIENCE: Duration = Duration::from_micros(500);
/// How often a caller looks at most, where time stands still.
pub(super) const MAX_LOOKS: usize = 1000;
/// How long the writer looks for more before it sleeps, at least.
const MIN_PATIENCE: Duration = Duration::from_micros(30);

/// How many revisions are reserved at once for what is volatile.
const RESERVED: u64 = 1 << 17;

/// What the last commit says about the next one.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Pace {
    /// How many pushes shared it.
    pub(super) shared: usize,
    /// How long it took.
    pub(super) took: Duration,
}

impl Pace {
    /// How long to look, if at all.
    pub(super) fn patience(self) -> Option<Duration> {
        (self.shared == 1 && self.took <= MAX_PATIENCE).then_some(self.took.max(MIN_PATIENCE))
    }

    /// Looks until something waits, for half as long as the last commit took.
    pub(super) fn look(self, waits: impl Fn() -> bool) {
        let Some(patience) = self.patience() else { return };
        let until = Instant::now() + patience / 2;
        while !waits() && Instant::now() < until {
            std::hint::spin_loop();
        }
    }
}

/// Whether more revisions are to be reserved.
pub(super) fn runs_short(newest: Revision, reserved: Revision) -> bool {
    reserved.0.saturating_sub(newest.0) < RESERVED / 2
}

/// Up to which revision.
pub(super) fn next_reserved(newest: Revision) -> Revision {
    Revision(newest.0 + RESERVED)
}
