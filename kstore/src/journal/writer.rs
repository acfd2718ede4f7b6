//! Who makes what happened durable: one at a time.

use std::sync::Arc;
use std::thread::JoinHandle;

use tokio::sync::oneshot;
use tokio::time::Instant;

use super::log::Log;
use super::pace::{self, Pace};
use super::queue::{Batch, Queue};
use super::snapshot::Job;
use crate::mvcc::{Core, Entry, Saved};
use crate::{Error, Result, Revision};

/// The only writer of a log.
#[derive(Debug)]
pub(super) struct Writer {
    pub(super) log: Log,
    pub(super) core: Arc<Core>,
    pub(super) queue: Arc<Queue>,
    pub(super) snapshot_bytes: u64,
    /// Writes snapshots in this thread, one at a time.
    pub(super) inline: bool,
    pub(super) saving: Option<JoinHandle<Result<()>>>,
    pub(super) pace: Pace,
    /// No revision up to here is given twice, whatever is lost.
    pub(super) reserved: Revision,
}

impl Writer {
    /// Works until the queue is closed and empty, or broken.
    pub(super) fn run(mut self) {
        while let Some(batch) = self.queue.wait_next(self.pace) {
            if !self.take(batch) {
                break;
            }
        }
        self.finish();
        if let Some(saving) = self.saving.take() {
            // It stops by itself: the queue is closed or broken.
            let _ = saving.join();
        }
    }

    /// Makes everything that somebody waits for durable, in the caller's own thread.
    pub(super) fn drain(&mut self) {
        while let Some(batch) = self.queue.try_next() {
            if !self.take(batch) {
                break;
            }
        }
    }

    fn take(&mut self, mut batch: Batch) -> bool {
        let save = batch.save.take();
        if !self.commit(batch) {
            return false;
        }
        match save {
            Some(tell) => self.save_now(tell),
            None => self.save_if_due(),
        }
        true
    }

    /// Makes all that waits durable, and gives back the revisions that were reserved, so that the
    /// next opener goes on where this one ends.
    pub(super) fn finish(&mut self) {
        self.drain();
        let newest = self.core.newest();
        if self.queue.check().is_ok() && self.reserved > newest {
            let given_back = Entry::Reserve { through: newest };
            if let Err(error) = self.log.append(&[given_back]) {
                tracing::warn!(%error, "the journal was not closed well: its history ends here");
            }
        }
    }

    /// Makes a batch durable, and only then shows it (S1, S2). False if nothing will be durable
    /// any more: a sync that failed is not tried again, as a second one can lie (S9).
    fn commit(&mut self, mut batch: Batch) -> bool {
        if !batch.entries.is_empty() {
            let start = Instant::now();
            if batch.reserve {
                self.reserved = pace::next_reserved(batch.newest);
                batch.entries.push(Entry::Reserve { through: self.reserved });
            }
            if let Err(error) = self.log.append(&batch.entries) {
                self.queue.fail(Error::unavailable(error));
                return false;
            }
            let (newest, count) = self.queue.clear(&batch, self.reserved);
            self.core.settle(newest);
            let took = start.elapsed();
            self.core.synced(took);
            self.pace = Pace { shared: batch.pushes, took };
            self.queue.settled(count, self.pace);
        }
        // The current file is nearly empty when the next one is made, so what was taken in before
        // somebody is told that the disk is full has its place.
        let prepared = self.log.prepare();
        if let Err(error) = &prepared {
            tracing::warn!(%error, "the log's next file cannot be made: writes are refused");
        }
        self.queue.set_full(prepared.err());
        true
    }

    fn save_if_due(&mut self) {
        if self.saving.as_ref().is_some_and(JoinHandle::is_finished) {
            self.end_saving();
        }
        let due = self.log.grown >= self.snapshot_bytes.max(self.core.status().bytes);
        if due && self.saving.is_none() {
            self.save(None);
        }
    }

    /// Makes a snapshot that somebody asked for, after the one that is being made.
    fn save_now(&mut self, tell: oneshot::Sender<Result<()>>) {
        self.end_saving();
        self.save(Some(tell));
    }

    fn end_saving(&mut self) {
        if let Some(saving) = self.saving.take()
            && let Ok(Err(error)) = saving.join()
        {
            tracing::warn!(%error, "a snapshot was not made; the log goes on growing");
        }
    }

    fn save(&mut self, tell: Option<oneshot::Sender<Result<()>>>) {
        // What waits is written first, so that the snapshot shows what the log has until here.
        let (saved, rest) = self.core.pin(|| self.queue.take_all());
        if !self.commit(rest) {
            return;
        }
        self.log.grown = 0;
        let job = Job {
            disk: Arc::clone(&self.log.disk),
            core: Arc::clone(&self.core),
            cluster: self.log.cluster,
            random: self.log.random.fork(),
            saved: Saved { reserved: self.reserved, ..saved },
            position: self.log.position(),
        };
        let queue = Arc::clone(&self.queue);
        let inline = self.inline;
        let work = move || {
            // One that was asked for is made even while the store is being closed.
            let stopped =
                || tell.is_none() && !inline && (queue.is_closed() || queue.check().is_err());
            let made = job.run(stopped);
            if let Some(tell) = tell {
                // Who does not wait any more need not be told.
                let _ = tell.send(made.clone());
            }
            made
        };
        if self.inline {
            if let Err(error) = work() {
                tracing::warn!(%error, "a snapshot was not made; the log goes on growing");
            }
            return;
        }
        let revision = saved.revision;
        let thread = std::thread::Builder::new().name("kstore-snapshot".to_owned());
        match thread.spawn(work) {
            Ok(saving) => self.saving = Some(saving),
            Err(error) => {
                self.core.unpin(revision);
                tracing::warn!(%error, "a snapshot was not begun; the log goes on growing");
            }
        }
    }
}
