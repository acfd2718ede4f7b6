//! What a reconcile asks for next.

use std::time::Duration;

/// What happens to a key after it was reconciled without error.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Action {
    /// Nothing until something changes, or until the next resync.
    #[default]
    AwaitChange,
    /// Another reconcile after this delay, or earlier if something changes.
    RequeueAfter(Duration),
}

impl Action {
    /// Waits for a change.
    #[must_use]
    pub const fn await_change() -> Self {
        Self::AwaitChange
    }

    /// Comes back after `delay`.
    #[must_use]
    pub const fn requeue_after(delay: Duration) -> Self {
        Self::RequeueAfter(delay)
    }

    /// Comes back after `delay`, if there is one.
    #[must_use]
    pub fn requeue_opt(delay: Option<Duration>) -> Self {
        delay.map_or(Self::AwaitChange, Self::RequeueAfter)
    }
}
