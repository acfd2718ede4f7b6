//! Requests that wait until the cache has seen a revision.

use std::collections::BTreeMap;
use std::future::poll_fn;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Poll, Waker};

use parking_lot::Mutex;
use tokio::sync::Notify;

/// The revision the cache has applied, and who waits for it to grow.
#[derive(Debug, Default)]
pub(crate) struct Applied {
    revision: AtomicU64,
    waiting: Mutex<Waiting>,
    /// Rung when somebody begins to wait.
    bell: Notify,
}

#[derive(Debug, Default)]
struct Waiting {
    next: u64,
    by_revision: BTreeMap<(u64, u64), Waker>,
}

impl Applied {
    /// The revision up to which everything has been applied.
    pub(crate) fn revision(&self) -> u64 {
        self.revision.load(Ordering::Acquire)
    }

    /// Says that everything up to `revision` has been applied.
    pub(crate) fn advance(&self, revision: u64) {
        let before = self.revision.fetch_max(revision, Ordering::AcqRel);
        if before >= revision {
            return;
        }
        let due = {
            let mut waiting = self.waiting.lock();
            let later = waiting.by_revision.split_off(&(revision + 1, 0));
            std::mem::replace(&mut waiting.by_revision, later)
        };
        due.into_values().for_each(Waker::wake);
    }

    /// Whether somebody waits.
    pub(crate) fn is_awaited(&self) -> bool {
        !self.waiting.lock().by_revision.is_empty()
    }

    /// Returns once somebody begins to wait. One task alone may ask.
    pub(crate) async fn awaited(&self) {
        self.bell.notified().await;
    }

    /// Returns once everything up to `revision` has been applied.
    pub(crate) async fn reach(&self, revision: u64) {
        if self.revision() >= revision {
            return;
        }
        let id = {
            let mut waiting = self.waiting.lock();
            waiting.next += 1;
            waiting.next
        };
        let ticket = Ticket { applied: self, key: (revision, id) };
        poll_fn(|cx| {
            let mut waiting = self.waiting.lock();
            if self.revision() >= revision {
                return Poll::Ready(());
            }
            let first = waiting.by_revision.is_empty();
            waiting.by_revision.insert(ticket.key, cx.waker().clone());
            drop(waiting);
            if first {
                self.bell.notify_one();
            }
            Poll::Pending
        })
        .await;
    }
}

/// Takes the waiter out again when its future ends or is dropped.
struct Ticket<'a> {
    applied: &'a Applied,
    key: (u64, u64),
}

impl Drop for Ticket<'_> {
    fn drop(&mut self) {
        self.applied.waiting.lock().by_revision.remove(&self.key);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_waiter_goes_on_at_its_revision_and_leaves_nothing_behind() {
        let applied = Applied::default();
        applied.advance(3);
        applied.reach(2).await;
        let mut late = Box::pin(applied.reach(5));
        assert!(futures::poll!(&mut late).is_pending());
        applied.advance(4);
        assert!(futures::poll!(&mut late).is_pending());
        applied.advance(6);
        assert!(futures::poll!(&mut late).is_ready());
        let mut dropped = Box::pin(applied.reach(9));
        assert!(futures::poll!(&mut dropped).is_pending());
        drop(dropped);
        assert!(applied.waiting.lock().by_revision.is_empty());
    }
}
