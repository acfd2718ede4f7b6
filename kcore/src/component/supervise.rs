//! Keeps one component running.

use std::any::Any;
use std::future::Future;
use std::panic::AssertUnwindSafe;
use std::pin::pin;
use std::sync::Arc;
use std::task::Poll;

use futures::FutureExt;

use super::{Component, Context, HealthReporter, State};
use crate::backoff::{Backoff, BackoffPolicy};

/// A component under supervision.
pub(super) struct Supervised {
    pub(super) component: Arc<dyn Component>,
    pub(super) ctx: Context,
    pub(super) restart: BackoffPolicy,
}

impl Supervised {
    /// Runs the component until it is told to stop or done, and again after each failure.
    pub(super) async fn run(self) {
        let health = self.ctx.health().clone();
        // What stops a component in the middle of a run, or of this wait, is an abort.
        let stopped = MarkStopped(health.clone());
        let mut backoff = Backoff::new(self.restart, self.ctx.random().fork());
        loop {
            let name = self.component.name();
            let failure = match self.once(&health).await {
                Ok(()) if self.ctx.stop().is_stopped() => break,
                Ok(()) => {
                    health.set(State::Finished);
                    std::mem::forget(stopped);
                    return;
                }
                Err(failure) => failure,
            };
            if self.ctx.stop().is_stopped() {
                tracing::warn!(component = name, failure, "failed while stopping");
                break;
            }
            let delay = backoff.next_delay();
            tracing::error!(component = name, failure, ?delay, "failed and will be started again");
            health.set_failed(failure);
            crate::select! {
                () = self.ctx.stop().stopped() => break,
                () = tokio::time::sleep(delay) => {}
            }
        }
    }

    /// One run. An error or a panic becomes its text.
    async fn once(&self, health: &HealthReporter) -> Result<(), String> {
        let before = health.current().state;
        let run = AssertUnwindSafe(async { self.component.run(self.ctx.clone()).await });
        let mut run = pin!(run.catch_unwind());
        let mut first = true;
        let outcome = std::future::poll_fn(|cx| {
            let poll = run.as_mut().poll(cx);
            // Ready unless its first step says otherwise, or ends it.
            if std::mem::take(&mut first) && poll.is_pending() && health.current().state == before {
                health.ready();
            }
            match poll {
                Poll::Ready(outcome) => Poll::Ready(outcome),
                Poll::Pending => Poll::Pending,
            }
        });
        match outcome.await {
            Ok(Ok(())) => Ok(()),
            Ok(Err(error)) => Err(chain(&*error)),
            Err(panic) => Err(format!("panicked: {}", panic_text(&*panic))),
        }
    }
}

struct MarkStopped(HealthReporter);

impl Drop for MarkStopped {
    fn drop(&mut self) {
        self.0.set(State::Stopped);
    }
}

/// An error with its sources.
fn chain(error: &dyn std::error::Error) -> String {
    let sources = std::iter::successors(Some(error), |error| error.source());
    sources.map(ToString::to_string).collect::<Vec<_>>().join(": ")
}

fn panic_text(panic: &(dyn Any + Send)) -> &str {
    let text = panic.downcast_ref::<&str>().copied();
    text.or_else(|| panic.downcast_ref::<String>().map(String::as_str)).unwrap_or("no message")
}
