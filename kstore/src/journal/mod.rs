//! The durable store: a state in memory, and a log of what happened to it.
//!
//! | module | is |
//! | --- | --- |
//! | `queue` | what waits to be made durable, and who waits for it |
//! | `pace` | when waiting a little saves waiting long |
//! | `writer` | group commit: one frame, one sync, then everybody is told |
//! | `frame`, `codec`, `segment` | the format, as plain functions |
//! | `log`, `snapshot`, `open` | files: written, replaced, read back |
//! | `operations` | what an operator does: look, check, back up, restore |
//! | [`disk`] | the file system underneath, as small as it gets |

mod codec;
pub mod disk;
mod frame;
mod log;
mod open;
mod operations;
mod options;
mod pace;
mod queue;
mod segment;
#[cfg(feature = "conformance")]
pub mod simulated;
mod snapshot;
mod writer;

use std::path::Path;
use std::sync::{Arc, OnceLock, Weak};
use std::thread::JoinHandle;
use std::time::Duration;

use async_trait::async_trait;
use parking_lot::Mutex;

use self::disk::{Disk, RealDisk};
pub use self::operations::{
    Inspection, Progress, RestoreOptions, Verification, backup, inspect, restore, verify,
};
pub use self::options::JournalOptions;
use self::pace::Pace;
use self::queue::Queue;
pub use self::snapshot::Written;
use self::writer::Writer;
use crate::mvcc::{Core, Entry, Shown, Sink};
use crate::{
    Durability, Error, KeyRange, LeaseId, LeaseStatus, Leases, Op, Page, RangeOptions, Result,
    Revision, Store, StoreStatus, Txn, TxnResult, WatchOptions, WatchStream,
};

/// The largest group commit, in bytes: far above what one transaction may hold by etcd's limits.
const MAX_FRAME_BYTES: usize = 256 << 20;

/// A [`Store`] that survives: everything it holds is in memory, everything that happened is in a
/// log.
///
/// A write is answered, and shown to readers and watchers, once it is synced (S1, S2); all writes
/// that wait while one sync runs share the next one. One that a power cut tore is undone when the
/// directory is opened again, and a flipped bit in what was promised refuses to open, naming file
/// and offset (S10). Clones are handles to the same store; it is closed with the last one.
///
/// A transaction that is [`Volatile`](Durability::Volatile) is answered and shown at once, and
/// made durable within about a second, or with the next one that is durable. A crash may lose it;
/// no revision comes twice all the same (S3), as revisions are reserved ahead: after a crash the
/// store goes on behind them, and older watches get [`Compacted`](Error::Compacted).
///
/// After a restart history begins at the last snapshot: a watch from before it gets
/// [`Compacted`](Error::Compacted). Leases have their whole time before them again.
///
/// ```
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// use kstore::{JournalStore, StoreExt};
/// let directory = tempfile::tempdir()?;
/// let store = JournalStore::open(directory.path())?;
/// let revision = store.put("greeting", "hello").await?;
/// drop(store);
/// let store = JournalStore::open(directory.path())?;
/// assert_eq!(store.get("greeting").await?.unwrap().modified, revision);
/// # Ok(()) }
/// ```
#[derive(Debug, Clone)]
pub struct JournalStore {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    core: Arc<Core>,
    queue: Arc<Queue>,
    mode: Mode,
}

/// Who writes.
#[derive(Debug)]
enum Mode {
    Thread(Mutex<Option<JoinHandle<()>>>),
    Inline(Arc<Mutex<Writer>>),
}

/// The sink of a journal without a thread: whoever changes something writes it.
#[derive(Debug)]
struct Inline {
    queue: Arc<Queue>,
    writer: OnceLock<Weak<Mutex<Writer>>>,
}

impl Sink for Inline {
    fn push(&self, entries: Vec<Entry>, newest: Revision, durability: Durability) -> Shown {
        self.queue.push(entries, newest, durability)
    }

    fn pushed(&self) -> u64 {
        self.queue.pushed()
    }

    fn flush(&self) {
        let writer = self.writer.get().and_then(Weak::upgrade);
        // Whoever has the writer takes what was pushed meanwhile, or the next one does.
        if let Some(mut writer) = writer.as_ref().and_then(|writer| writer.try_lock()) {
            writer.drain();
        }
    }
}

impl JournalStore {
    /// Opens the journal in a directory of its own, or begins one.
    ///
    /// # Errors
    /// [`InUse`](Error::InUse) if somebody else has it open, [`Damaged`](Error::Damaged) if
    /// something promised is not there as it was, [`Foreign`](Error::Foreign) if the directory
    /// holds other files, [`Io`](Error::Io) if it cannot be read or written.
    pub fn open(directory: impl AsRef<Path>) -> Result<Self> {
        Self::with(directory, JournalOptions::default())
    }

    /// The same with options.
    ///
    /// # Errors
    /// Those of [`open`](Self::open).
    pub fn with(directory: impl AsRef<Path>, options: JournalOptions) -> Result<Self> {
        let place = directory.as_ref().display().to_string();
        let disk = RealDisk::open(directory).map_err(|error| match error.kind() {
            std::io::ErrorKind::WouldBlock => Error::InUse { place },
            _ => Error::io(format!("open the journal in {place}"))(error),
        })?;
        Self::on(disk, options)
    }

    /// Opens the journal on any disk.
    ///
    /// # Errors
    /// Those of [`open`](Self::open).
    pub fn on(disk: impl Disk, options: JournalOptions) -> Result<Self> {
        let disk: Arc<dyn Disk> = Arc::new(disk);
        let opened = open::open(disk, &options)?;
        let queue = Arc::new(Queue::new(opened.reserved));
        let inline = Arc::new(Inline { queue: Arc::clone(&queue), writer: OnceLock::new() });
        let sink: Arc<dyn Sink> =
            if options.inline { Arc::clone(&inline) as _ } else { Arc::clone(&queue) as _ };
        let core = Arc::new(Core::over(options.memory, opened.state, Some(sink)));
        let writer = Writer {
            log: opened.log,
            core: Arc::clone(&core),
            queue: Arc::clone(&queue),
            snapshot_bytes: options.snapshot_bytes,
            inline: options.inline,
            saving: None,
            pace: Pace::default(),
            reserved: opened.reserved,
        };
        let mode = if options.inline {
            let writer = Arc::new(Mutex::new(writer));
            inline.writer.get_or_init(|| Arc::downgrade(&writer));
            Mode::Inline(writer)
        } else {
            let thread = std::thread::Builder::new().name("kstore-journal".to_owned());
            let thread = thread.spawn(move || writer.run());
            Mode::Thread(Mutex::new(Some(thread.map_err(Error::io("start the journal's writer"))?)))
        };
        Ok(Self { inner: Arc::new(Inner { core, queue, mode }) })
    }
}

impl Inner {
    /// Refuses what would need room on the disk that there is not.
    fn room(&self) -> Result<()> {
        let Err(full) = self.queue.check_room() else { return Ok(()) };
        if let Mode::Inline(writer) = &self.mode {
            writer.lock().drain();
            return self.queue.check_room();
        }
        Err(full)
    }

    /// Waits until so much is durable.
    async fn settle(&self, count: u64) -> Result<()> {
        if let Mode::Inline(writer) = &self.mode {
            writer.lock().drain();
        }
        self.queue.wait(count).await
    }

    /// Does something, and waits until it is durable. Nothing is begun that could not become so.
    async fn durably<T>(&self, work: impl FnOnce(&Arc<Core>) -> Result<T>) -> Result<T> {
        self.queue.check()?;
        let result = work(&self.core)?;
        self.settle(self.core.count()).await?;
        Ok(result)
    }
}

impl Drop for Inner {
    fn drop(&mut self) {
        self.queue.close();
        match &mut self.mode {
            Mode::Thread(thread) => {
                if let Some(thread) = thread.get_mut().take() {
                    // What waits is made durable; a writer that panicked has told whom it failed.
                    let _ = thread.join();
                }
            }
            Mode::Inline(writer) => writer.lock().finish(),
        }
    }
}

#[async_trait]
impl Store for JournalStore {
    async fn range(&self, range: KeyRange, options: RangeOptions) -> Result<Page> {
        tokio::task::consume_budget().await;
        self.inner.core.range(&range, &options)
    }

    async fn txn(&self, txn: Txn) -> Result<TxnResult> {
        tokio::task::consume_budget().await;
        self.inner.queue.admit().await?;
        if txn.then.iter().chain(&txn.otherwise).any(|op| matches!(op, Op::Put { .. })) {
            // What makes room needs little of it, and still has that.
            self.inner.room()?;
        }
        let (result, count) = self.inner.core.txn_and_count(txn)?;
        self.inner.settle(count).await?;
        Ok(result)
    }

    async fn watch(&self, range: KeyRange, options: WatchOptions) -> Result<WatchStream> {
        self.inner.core.watch(range, options)
    }

    async fn compact(&self, through: Revision) -> Result<()> {
        self.inner.queue.check()?;
        self.inner.core.compact(through).await?;
        self.inner.settle(self.inner.core.count()).await
    }

    async fn status(&self) -> Result<StoreStatus> {
        Ok(self.inner.core.status())
    }

    fn leases(&self) -> Option<&dyn Leases> {
        Some(self)
    }
}

#[async_trait]
impl Leases for JournalStore {
    async fn grant(&self, ttl: Duration) -> Result<LeaseId> {
        self.inner.durably(|core| Ok(core.grant(ttl))).await
    }

    async fn keep_alive(&self, lease: LeaseId) -> Result<Duration> {
        self.inner.core.keep_alive(lease)
    }

    async fn revoke(&self, lease: LeaseId) -> Result<()> {
        self.inner.durably(|core| core.revoke(lease)).await
    }

    async fn time_to_live(&self, lease: LeaseId) -> Result<LeaseStatus> {
        self.inner.core.time_to_live(lease)
    }

    async fn list(&self) -> Result<Vec<LeaseId>> {
        Ok(self.inner.core.leases())
    }
}
