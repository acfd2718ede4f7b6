//! A distribution that runs.

use std::time::Duration;

use tokio::task::JoinHandle;
use tokio::time::{Instant, timeout_at};

use super::{Health, HealthBoard};
use crate::stop::StopToken;

/// How long components have that are told to stop only when the grace time is over.
pub const LAST_GRACE: Duration = Duration::from_secs(1);

/// Components that run. Dropping this tells all of them to stop, without waiting.
#[derive(Debug)]
pub struct Running {
    parts: Vec<Part>,
    board: HealthBoard,
    grace: Duration,
}

#[derive(Debug)]
struct Part {
    name: String,
    stop: StopToken,
    task: JoinHandle<()>,
}

/// How a distribution stopped.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
#[non_exhaustive]
#[must_use]
pub struct Stopped {
    /// Components that did not stop in time and were dropped, in the order of stopping.
    pub aborted: Vec<String>,
}

impl Stopped {
    /// Whether every component stopped in time.
    #[must_use]
    pub fn is_clean(&self) -> bool {
        self.aborted.is_empty()
    }
}

impl Running {
    pub(super) fn new(board: HealthBoard, grace: Duration) -> Self {
        Self { parts: Vec::new(), board, grace }
    }

    pub(super) fn push(&mut self, name: String, stop: StopToken, task: JoinHandle<()>) {
        self.parts.push(Part { name, stop, task });
    }

    /// The health now.
    #[must_use]
    pub fn health(&self) -> Health {
        self.board.health()
    }

    /// The health of all components, for whoever serves it.
    #[must_use]
    pub fn board(&self) -> HealthBoard {
        self.board.clone()
    }

    /// Waits until every component is ready.
    pub async fn ready(&self) {
        self.board.ready().await;
    }

    /// Stops the components, the last one first, each when the one after it has stopped.
    ///
    /// When the grace time is over, all that still run are told to stop at once, and dropped
    /// [`LAST_GRACE`] later. Dropping the future tells all to stop without waiting.
    pub async fn stop(mut self) -> Stopped {
        let deadline = Instant::now() + self.grace;
        let mut late = Vec::new();
        while let Some(mut part) = self.parts.pop() {
            part.stop.stop();
            if timeout_at(deadline, &mut part.task).await.is_err() {
                late.push(part);
            }
        }
        let mut stopped = Stopped::default();
        let deadline = Instant::now() + LAST_GRACE;
        for mut part in late {
            if timeout_at(deadline, &mut part.task).await.is_err() {
                part.task.abort();
                // Waits until the task's future is dropped, so that nothing of it works on.
                let _ = (&mut part.task).await;
                tracing::warn!(component = part.name, "did not stop in time and was dropped");
                stopped.aborted.push(std::mem::take(&mut part.name));
            }
        }
        stopped
    }
}

impl Drop for Part {
    fn drop(&mut self) {
        self.stop.stop();
    }
}
