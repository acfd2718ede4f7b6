//! What an operator does with a journal: look at it, check it, back it up, restore it.
//!
//! Functions of a directory leave it as it is, and work while a store has it open: they read what
//! is durable, and again if it changed meanwhile.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use kcore::random::Random;
use tokio::sync::oneshot;

use super::JournalStore;
use super::disk::{Disk, RealDisk};
use super::log::{Position, create_segment};
use super::open::{check_file, inspect as read_state, look, read_snapshot};
use super::segment::{Name, log_name, snapshot_name};
use super::snapshot::{Job, Written};
use crate::digest::Digest;
use crate::mvcc::Core;
use crate::{Error, MemoryOptions, Result, Revision};

/// How often a directory is read again that changes meanwhile.
const MAX_TRIES: u32 = 20;
/// How long to wait before that.
const AGAIN: Duration = Duration::from_millis(20);
/// Records that are read under one lock.
const PAGE: usize = 512;

/// Told how much of how much is done, in whatever is counted.
pub type Progress<'a> = &'a mut dyn FnMut(u64, u64);

/// What a journal's directory holds.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Inspection {
    /// The current revision.
    pub revision: Revision,
    /// The oldest revision that can be read once it is opened.
    pub compacted: Revision,
    /// Keys that exist.
    pub keys: u64,
    /// Bytes in use, the history included: what a quota counts.
    pub bytes: u64,
    /// A checksum of all that exists, as [`JournalStore::digest`] has it.
    pub digest: u32,
    /// Files of the log.
    pub logs: u64,
    /// Snapshots.
    pub snapshots: u64,
    /// What all files take, in bytes.
    pub disk_bytes: u64,
}

/// What [`verify`] found.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Verification {
    /// Files that were read.
    pub files: u64,
    /// Frames whose checks fit.
    pub frames: u64,
    /// All damage: [`Damaged`](Error::Damaged) with file and offset, and what cannot be read.
    pub damage: Vec<Error>,
}

/// How a backup becomes a journal again.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct RestoreOptions {
    /// How many revisions are left out. Those who watched the old cluster may have seen later
    /// revisions than the backup's: with none of them given again, no watcher sees time go back.
    pub bump: u64,
    /// Where the names of clusters and files come from.
    pub random: Random,
}

impl Default for RestoreOptions {
    fn default() -> Self {
        Self { bump: 0, random: Random::from_entropy() }
    }
}

impl RestoreOptions {
    /// Leaves out so many revisions.
    #[must_use]
    pub fn bump(mut self, revisions: u64) -> Self {
        self.bump = revisions;
        self
    }
}

/// A directory, as a disk that is only read.
fn disk_of(directory: &Path) -> Result<Arc<dyn Disk>> {
    let found = std::fs::metadata(directory).and_then(|metadata| match metadata.is_dir() {
        true => Ok(()),
        false => Err(std::io::Error::from(std::io::ErrorKind::NotADirectory)),
    });
    found.map_err(Error::io(format!("read the directory {}", directory.display())))?;
    Ok(Arc::new(RealDisk::unlocked(directory)))
}

/// Reads a directory until it holds still. Where nobody has it open, the first try counts.
#[allow(clippy::disallowed_methods, reason = "waits for another process, in no cluster's time")]
fn settled<T>(directory: &Path, read: impl Fn(Arc<dyn Disk>) -> Result<T>) -> Result<T> {
    let mut tries = 0;
    loop {
        tries += 1;
        let open = RealDisk::is_locked(directory);
        match read(disk_of(directory)?) {
            Err(Error::Damaged { .. } | Error::Io { .. }) if open && tries < MAX_TRIES => {
                std::thread::sleep(AGAIN);
            }
            result => return result,
        }
    }
}

/// Says what a journal's directory holds. It reads all of it, in the thread of its caller.
///
/// # Errors
/// Those of [`JournalStore::open`], but never [`InUse`](Error::InUse).
pub fn inspect(directory: impl AsRef<Path>) -> Result<Inspection> {
    let directory = directory.as_ref();
    let (state, files) = settled(directory, read_state)?;
    let names = files.logs.iter().copied().map(log_name);
    let names = names.chain(files.snapshots.iter().copied().map(snapshot_name));
    let sizes = names.map(|name| std::fs::metadata(directory.join(name)).map_or(0, |m| m.len()));
    let disk_bytes = sizes.sum();
    let core = Arc::new(Core::over(MemoryOptions::default(), state, None));
    let status = core.status();
    Ok(Inspection {
        revision: status.revision,
        compacted: status.compacted,
        keys: status.keys,
        bytes: status.bytes,
        digest: digest(&core, status.revision),
        logs: files.logs.len() as u64,
        snapshots: files.snapshots.len() as u64,
        disk_bytes,
    })
}

/// Reads every file of a journal's directory and checks all of it. Damage is what it returns, not
/// an error.
///
/// # Errors
/// [`Foreign`](Error::Foreign) if the directory holds other files, [`Io`](Error::Io) if it cannot
/// be listed.
pub fn verify(directory: impl AsRef<Path>, progress: Progress<'_>) -> Result<Verification> {
    let directory = directory.as_ref();
    let disk = disk_of(directory)?;
    let files = look(&*disk)?;
    let names = files.snapshots.iter().copied().map(Name::Snapshot);
    let names: Vec<Name> = names.chain(files.logs.iter().copied().map(Name::Log)).collect();
    let (all, mut found) =
        (names.len() as u64 + 1, Verification { files: 0, frames: 0, damage: Vec::new() });
    for name in names {
        progress(found.files, all);
        match check_file(&disk, name) {
            Ok(frames) => found.frames += frames,
            // A snapshot replaced it meanwhile.
            Err(Error::Io { source, .. }) if source.kind() == std::io::ErrorKind::NotFound => {}
            Err(damage) => found.damage.push(damage),
        }
        found.files += 1;
    }
    progress(found.files, all);
    // What is between files: the chain of all frames, and what they say happened.
    if found.damage.is_empty()
        && let Err(damage) = settled(directory, read_state)
    {
        found.damage.push(damage);
    }
    progress(all, all);
    Ok(found)
}

/// Writes what a journal's directory holds to a file, durably: one revision, whole.
///
/// # Errors
/// Those of [`inspect`], and [`Io`](Error::Io) if the file cannot be written.
pub fn backup(
    directory: impl AsRef<Path>,
    file: impl AsRef<Path>,
    progress: Progress<'_>,
) -> Result<Written> {
    let (state, _) = settled(directory.as_ref(), read_state)?;
    let core = Arc::new(Core::over(MemoryOptions::default(), state, None));
    let (disk, name) = target(file.as_ref())?;
    let job = Job {
        disk,
        saved: core.pin_durable(),
        core,
        cluster: 0,
        random: Random::from_entropy(),
        position: Position { next: 0, previous: 0, segment: 0 },
    };
    finish(job.write(&name, &mut goes_on(progress)))
}

/// Makes a journal out of a backup, in a directory that is empty or not there yet.
///
/// # Errors
/// [`NotEmpty`](Error::NotEmpty) if the directory holds anything, [`Damaged`](Error::Damaged) if
/// the backup is not as it was written, [`Io`](Error::Io) if files cannot be read or written.
pub fn restore(
    file: impl AsRef<Path>,
    directory: impl AsRef<Path>,
    options: &RestoreOptions,
    progress: Progress<'_>,
) -> Result<Written> {
    let (source, name) = target(file.as_ref())?;
    let state = read_snapshot(source, &name)?;
    let place = directory.as_ref().display().to_string();
    let disk = RealDisk::open(&directory).map_err(|error| match error.kind() {
        std::io::ErrorKind::WouldBlock => Error::InUse { place: place.clone() },
        _ => Error::io(format!("open {place}"))(error),
    })?;
    let listed = disk.list().map_err(Error::io(format!("list {place}")))?;
    if listed.iter().any(|name| name != super::disk::LOCK) {
        return Err(Error::NotEmpty { place });
    }
    let core = Arc::new(Core::over(MemoryOptions::default(), state, None));
    let mut saved = core.pin_durable();
    saved.reserved = Revision(saved.revision.0 + options.bump);
    let random = &options.random;
    let cluster = u128::from(random.next_u64()) << 64 | u128::from(random.next_u64());
    let (name, disk) = (snapshot_name(saved.revision.0), Arc::new(disk) as Arc<dyn Disk>);
    let job = Job {
        disk: Arc::clone(&disk),
        saved,
        core,
        cluster,
        random: random.fork(),
        position: Position { next: 0, previous: 0, segment: 1 },
    };
    let written = finish(job.write(&name, &mut goes_on(progress)))?;
    // Last: without its log a snapshot is refused, so what was not finished is no empty store.
    create_segment(&*disk, cluster, random, 1, 0)?;
    Ok(written)
}

/// The directory of a file, and its name there.
fn target(file: &Path) -> Result<(Arc<dyn Disk>, String)> {
    let name = file.file_name().map(|name| name.to_string_lossy().into_owned());
    let no_name = || std::io::Error::from(std::io::ErrorKind::InvalidFilename);
    let name = name.ok_or_else(no_name).map_err(Error::io(format!("use {}", file.display())))?;
    let parent = file.parent().filter(|parent| !parent.as_os_str().is_empty());
    Ok((disk_of(parent.unwrap_or(Path::new(".")))?, name))
}

fn goes_on(progress: Progress<'_>) -> impl FnMut(u64, u64) -> bool + '_ {
    move |done, all| {
        progress(done, all);
        true
    }
}

fn finish(written: Result<Option<Written>>) -> Result<Written> {
    // Nobody stopped it.
    written?.ok_or(Error::Closed)
}

fn digest(core: &Core, at: Revision) -> u32 {
    let (mut digest, mut after) = (Digest::default(), None);
    loop {
        let page = core.page(after.as_deref(), at, PAGE);
        page.iter().for_each(|record| digest.add(record));
        match page.last() {
            Some(last) => after = Some(last.key.clone()),
            None => return digest.value(),
        }
    }
}

impl JournalStore {
    /// Writes what is durable now to a file, while the store goes on. Dropping the future stops
    /// it; the file has its name once it is whole.
    ///
    /// # Errors
    /// [`Io`](Error::Io) if the file cannot be written.
    pub async fn backup(&self, file: impl AsRef<Path>) -> Result<Written> {
        let (disk, name) = target(file.as_ref())?;
        let core = Arc::clone(&self.inner.core);
        let job = Job {
            disk,
            saved: core.pin_durable(),
            core: Arc::clone(&core),
            cluster: 0,
            random: Random::from_entropy(),
            position: Position { next: 0, previous: 0, segment: 0 },
        };
        let pinned = job.saved.revision;
        let (tell, told) = oneshot::channel();
        let work = move || {
            let written = job.write(&name, &mut |_, _| !tell.is_closed());
            job.core.unpin(pinned);
            // Who does not wait any more need not be told.
            let _ = tell.send(finish(written));
        };
        let thread = std::thread::Builder::new().name("kstore-backup".to_owned()).spawn(work);
        if let Err(error) = thread {
            core.unpin(pinned);
            return Err(Error::io("start a backup")(error));
        }
        told.await.unwrap_or(Err(Error::Closed))
    }

    /// Writes a snapshot now, so that the log before it goes and its disk is free. The store does
    /// so by itself, too, whenever the log has grown enough.
    ///
    /// # Errors
    /// [`Io`](Error::Io) if it cannot be written, [`Unavailable`](Error::Unavailable) if nothing is
    /// made durable any more.
    pub async fn save(&self) -> Result<()> {
        let told = self.inner.queue.save();
        self.inner.settle(0).await?;
        told.await.unwrap_or_else(|_| Err(self.inner.queue.check().err().unwrap_or(Error::Closed)))
    }

    /// The current revision, and a checksum of all that exists at it: two stores with the same one
    /// hold the same. It reads all of it, in the thread of its caller.
    #[must_use]
    pub fn digest(&self) -> (Revision, u32) {
        let core = &self.inner.core;
        let revision = core.pin_durable().revision;
        let digest = digest(core, revision);
        core.unpin(revision);
        (revision, digest)
    }
}
