//! Telling work to stop, and waiting to be told.

use std::future::{Future, IntoFuture};
use std::pin::Pin;

use tokio_util::sync::CancellationToken;

/// A signal that is given once and seen by all clones and children.
///
/// Stopping a token stops its children, never its parent. Waiting for it loses nothing when the
/// wait is dropped.
///
/// ```
/// # #[tokio::main(flavor = "current_thread")] async fn main() {
/// use kcore::stop::StopToken;
/// let stop = StopToken::new();
/// let part = stop.child();
/// part.stop();
/// assert!(part.is_stopped() && !stop.is_stopped());
/// stop.stop();
/// stop.await;
/// # }
/// ```
#[derive(Debug, Clone, Default)]
pub struct StopToken(CancellationToken);

impl StopToken {
    /// A signal of its own, not yet given.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// A signal that is also given when this one is.
    #[must_use]
    pub fn child(&self) -> Self {
        Self(self.0.child_token())
    }

    /// Gives the signal. A second time changes nothing.
    pub fn stop(&self) {
        self.0.cancel();
    }

    /// Whether the signal was given.
    #[must_use]
    pub fn is_stopped(&self) -> bool {
        self.0.is_cancelled()
    }

    /// Waits for the signal.
    pub async fn stopped(&self) {
        self.0.cancelled().await;
    }

    /// A guard that gives the signal when it is dropped.
    #[must_use]
    pub fn stop_on_drop(self) -> StopGuard {
        StopGuard(self)
    }
}

impl IntoFuture for StopToken {
    type Output = ();
    type IntoFuture = Pin<Box<dyn Future<Output = ()> + Send>>;

    fn into_future(self) -> Self::IntoFuture {
        Box::pin(self.0.cancelled_owned())
    }
}

/// Gives a [`StopToken`]'s signal when it is dropped.
#[derive(Debug)]
pub struct StopGuard(StopToken);

impl Drop for StopGuard {
    fn drop(&mut self) {
        self.0.stop();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn stopping_a_parent_stops_its_children_and_no_other() {
        let (parent, stranger) = (StopToken::new(), StopToken::new());
        let child = parent.child();
        drop(parent.clone().stop_on_drop());
        child.stopped().await;
        assert!(parent.is_stopped() && !stranger.is_stopped());
    }
}
