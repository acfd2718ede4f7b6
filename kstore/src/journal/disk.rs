//! The file system below a journal: so little that a simulated one is small.

use std::fmt::Debug;
use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::unix::fs::{DirBuilderExt as _, FileExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use rustix::fs::{FlockOperation, flock};

/// One flat directory of files.
///
/// What is written to a file is lost in a power cut, wholly or in part, until the file is synced;
/// what is created, renamed or removed, until the directory is.
pub trait Disk: Debug + Send + Sync + 'static {
    /// The names of its files, in any order.
    ///
    /// # Errors
    /// Those of the file system; so it is for all methods.
    fn list(&self) -> io::Result<Vec<String>>;
    /// Opens a file to read and write.
    #[allow(clippy::missing_errors_doc, reason = "said once, above")]
    fn open(&self, name: &str) -> io::Result<Box<dyn DiskFile>>;
    /// Creates a file of `length` zeros, which take their place on the disk. One of that name is
    /// replaced.
    #[allow(clippy::missing_errors_doc, reason = "said once, above")]
    fn create(&self, name: &str, length: u64) -> io::Result<Box<dyn DiskFile>>;
    /// Gives a file another name.
    #[allow(clippy::missing_errors_doc, reason = "said once, above")]
    fn rename(&self, from: &str, to: &str) -> io::Result<()>;
    /// Removes a file.
    #[allow(clippy::missing_errors_doc, reason = "said once, above")]
    fn remove(&self, name: &str) -> io::Result<()>;
    /// Makes what was created, renamed and removed durable.
    #[allow(clippy::missing_errors_doc, reason = "said once, above")]
    fn sync(&self) -> io::Result<()>;
    /// How errors name a file.
    fn describe(&self, name: &str) -> String;
}

/// A file of a [`Disk`].
pub trait DiskFile: Debug + Send + Sync {
    /// All of it.
    ///
    /// # Errors
    /// Those of the file system; so it is for all methods.
    fn read(&self) -> io::Result<Vec<u8>>;
    /// Writes at an offset in bytes.
    #[allow(clippy::missing_errors_doc, reason = "said once, above")]
    fn write(&self, offset: u64, bytes: &[u8]) -> io::Result<()>;
    /// Makes what was written durable.
    #[allow(clippy::missing_errors_doc, reason = "said once, above")]
    fn sync(&self) -> io::Result<()>;
}

/// A directory of this machine. It is locked against another opener while this lives.
#[derive(Debug)]
pub struct RealDisk {
    directory: PathBuf,
    /// None for whoever only looks, or only adds a file.
    lock: Option<File>,
}

impl Drop for RealDisk {
    fn drop(&mut self) {
        if let Some(lock) = &self.lock {
            // A process that is just being started has a copy of the file until it is another
            // program; closing ours alone would leave the lock with it for that long.
            let _ = flock(lock, FlockOperation::Unlock);
        }
    }
}

/// The name of the file that is locked.
pub(super) const LOCK: &str = "lock";

impl RealDisk {
    /// Opens a directory, making it, and locks it.
    ///
    /// # Errors
    /// [`WouldBlock`](io::ErrorKind::WouldBlock) if somebody else has it open, and those of the
    /// file system.
    pub fn open(directory: impl AsRef<Path>) -> io::Result<Self> {
        let directory = directory.as_ref().to_owned();
        fs::DirBuilder::new().recursive(true).mode(0o700).create(&directory)?;
        let lock = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .mode(0o600)
            .open(directory.join(LOCK))?;
        flock(&lock, FlockOperation::NonBlockingLockExclusive)?;
        if let Some(parent) = directory.parent().filter(|parent| !parent.as_os_str().is_empty()) {
            // The directory itself is durable before anything in it is promised (S12).
            File::open(parent)?.sync_all()?;
        }
        Ok(Self { directory, lock: Some(lock) })
    }

    /// A directory that is there, without a lock: to look at, or to add a file to.
    pub(super) fn unlocked(directory: impl AsRef<Path>) -> Self {
        Self { directory: directory.as_ref().to_owned(), lock: None }
    }

    /// Whether somebody has it open now.
    pub(super) fn is_locked(directory: impl AsRef<Path>) -> bool {
        let Ok(lock) = File::open(directory.as_ref().join(LOCK)) else { return false };
        flock(&lock, FlockOperation::NonBlockingLockShared).is_err()
    }
}

impl Disk for RealDisk {
    fn list(&self) -> io::Result<Vec<String>> {
        let mut names = Vec::new();
        for entry in fs::read_dir(&self.directory)? {
            names.push(entry?.file_name().to_string_lossy().into_owned());
        }
        Ok(names)
    }

    fn open(&self, name: &str) -> io::Result<Box<dyn DiskFile>> {
        let file = OpenOptions::new().read(true).write(true).open(self.directory.join(name))?;
        Ok(Box::new(RealFile(file)))
    }

    fn create(&self, name: &str, length: u64) -> io::Result<Box<dyn DiskFile>> {
        let file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(true)
            .mode(0o600)
            .open(self.directory.join(name))?;
        if length > 0 {
            rustix::fs::fallocate(&file, rustix::fs::FallocateFlags::empty(), 0, length)?;
        }
        Ok(Box::new(RealFile(file)))
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        fs::rename(self.directory.join(from), self.directory.join(to))
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        fs::remove_file(self.directory.join(name))
    }

    fn sync(&self) -> io::Result<()> {
        File::open(&self.directory)?.sync_all()
    }

    fn describe(&self, name: &str) -> String {
        self.directory.join(name).display().to_string()
    }
}

#[derive(Debug)]
struct RealFile(File);

impl DiskFile for RealFile {
    fn read(&self) -> io::Result<Vec<u8>> {
        let length = usize::try_from(self.0.metadata()?.len()).unwrap_or(usize::MAX);
        let mut bytes = vec![0; length];
        self.0.read_exact_at(&mut bytes, 0)?;
        Ok(bytes)
    }

    fn write(&self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        self.0.write_all_at(bytes, offset)
    }

    fn sync(&self) -> io::Result<()> {
        self.0.sync_data()
    }
}
