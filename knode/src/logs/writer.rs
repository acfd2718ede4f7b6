//! A log file that is rotated by size and count.

use std::fs::{self, File, OpenOptions};
use std::io::Write as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::runtime::chain::chainable;
use crate::{Error, Result};

/// When a log is rotated. The default is the kubelet's: 10 Mi, five files.
/// <https://kubernetes.io/docs/concepts/cluster-administration/logging/#log-rotation>
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Rotation {
    /// A file that has reached this size is moved away, in bytes.
    pub max_bytes: u64,
    /// Files of one log, the current one included; at least two.
    pub max_files: u32,
}

impl Default for Rotation {
    fn default() -> Self {
        Self { max_bytes: 10 << 20, max_files: 5 }
    }
}

chainable!(Rotation { max_bytes: into u64, max_files: into u32 });

/// Writes whole entries to a file and moves it away when it is full.
///
/// A rotated file is called `<log>.<YYYYMMDD-hhmmss>`, as the kubelet calls it, with a further
/// number where one second sees two. It is not compressed.
#[derive(Debug)]
pub struct LogWriter {
    path: PathBuf,
    rotation: Rotation,
    file: File,
    size: u64,
}

impl LogWriter {
    /// Opens the log at `path`, behind what it holds, making its directory.
    ///
    /// # Errors
    /// [`Io`](Error::Io) if the directory or file cannot be made.
    pub fn open(path: impl Into<PathBuf>, rotation: Rotation) -> Result<Self> {
        let path = path.into();
        let (file, size) = open_file(&path)?;
        Ok(Self { path, rotation, file, size })
    }

    /// Appends whole entries at `now`, rotating first if the file is full.
    ///
    /// # Errors
    /// [`Io`](Error::Io) if they cannot be written; the log may then lack them.
    pub fn append(&mut self, entries: &[u8], now: Timestamp) -> Result<()> {
        if entries.is_empty() {
            return Ok(());
        }
        if self.size >= self.rotation.max_bytes {
            self.rotate(now)?;
        }
        self.file.write_all(entries).map_err(Error::io("write", &self.path))?;
        self.size += entries.len() as u64;
        Ok(())
    }

    /// Opens the path anew, after somebody has moved the file away.
    ///
    /// # Errors
    /// [`Io`](Error::Io) if it cannot be opened; the old file is then kept.
    pub fn reopen(&mut self) -> Result<()> {
        (self.file, self.size) = open_file(&self.path)?;
        Ok(())
    }

    fn rotate(&mut self, now: Timestamp) -> Result<()> {
        let old = rotated_files(&self.path)?;
        let target = rotated_name(&self.path, old.last().map(PathBuf::as_path), now);
        fs::rename(&self.path, &target).map_err(Error::io("rotate", &self.path))?;
        self.reopen()?;
        let old = rotated_files(&self.path)?;
        let keep = self.rotation.max_files.max(2) as usize - 1;
        for path in &old[..old.len().saturating_sub(keep)] {
            fs::remove_file(path).map_err(Error::io("remove", path))?;
        }
        Ok(())
    }
}

fn open_file(path: &Path) -> Result<(File, u64)> {
    if let Some(parent) = path.parent() {
        fs::create_dir_all(parent).map_err(Error::io("create", parent))?;
    }
    let file = OpenOptions::new()
        .append(true)
        .create(true)
        .mode(0o640)
        .open(path)
        .map_err(Error::io("open", path))?;
    let size = file.metadata().map_err(Error::io("inspect", path))?.len();
    Ok((file, size))
}

/// A name that sorts behind every rotated file there is, even if the clock went back.
fn rotated_name(path: &Path, newest: Option<&Path>, now: Timestamp) -> PathBuf {
    let named = |suffix: String| {
        let mut name = path.as_os_str().to_owned();
        name.push(suffix);
        PathBuf::from(name)
    };
    let stamp = now.strftime("%Y%m%d-%H%M%S").to_string();
    let log = path.as_os_str().to_string_lossy();
    let newest = newest.map(|newest| newest.to_string_lossy().into_owned()).unwrap_or_default();
    let newest = newest.strip_prefix(&format!("{log}.")).unwrap_or_default();
    let (newest_stamp, number) = newest.split_once('.').unwrap_or((newest, "0"));
    if newest_stamp < stamp.as_str() {
        return named(format!(".{stamp}"));
    }
    // A dot sorts before every digit, and the number has a fixed width.
    let number = number.parse::<u64>().unwrap_or_default() + 1;
    named(format!(".{newest_stamp}.{number:08}"))
}

/// The rotated files of the log at `path`, the oldest first.
///
/// # Errors
/// [`Io`](Error::Io) if the directory cannot be read; a directory that is not there has none.
pub fn rotated_files(path: &Path) -> Result<Vec<PathBuf>> {
    let (Some(parent), Some(name)) = (path.parent(), path.file_name()) else {
        return Ok(Vec::new());
    };
    let entries = match fs::read_dir(parent) {
        Ok(entries) => entries,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(Error::io("read", parent)(error)),
    };
    let mut prefix = name.to_string_lossy().into_owned();
    prefix.push('.');
    let mut files = Vec::new();
    for entry in entries {
        let entry = entry.map_err(Error::io("read", parent))?;
        let is_rotated = entry.file_name().to_str().is_some_and(|name| {
            let stamp = name.strip_prefix(&prefix).unwrap_or_default();
            stamp.starts_with(|letter: char| letter.is_ascii_digit())
                && stamp.bytes().all(|b| b.is_ascii_digit() || b == b'-' || b == b'.')
        });
        if is_rotated {
            files.push(entry.path());
        }
    }
    files.sort();
    Ok(files)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rotation_keeps_the_newest_files() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("web/0.log");
        let rotation = Rotation::default().max_bytes(10u64).max_files(3u32);
        let mut log = LogWriter::open(&path, rotation).unwrap();
        for number in 0..6 {
            log.append(format!("entry {number}....\n").as_bytes(), Timestamp::UNIX_EPOCH).unwrap();
        }
        let old = rotated_files(&path).unwrap();
        let read = |path: &Path| fs::read_to_string(path).unwrap();
        assert_eq!(old.len(), 2, "{old:?}");
        assert!(read(&old[0]).starts_with("entry 3"), "{old:?}");
        assert!(read(&old[1]).starts_with("entry 4"));
        assert!(read(&path).starts_with("entry 5"));
    }

    #[test]
    fn reopen_continues_in_a_new_file() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("0.log");
        let mut log = LogWriter::open(&path, Rotation::default()).unwrap();
        log.append(b"old\n", Timestamp::UNIX_EPOCH).unwrap();
        fs::rename(&path, dir.path().join("moved")).unwrap();
        log.reopen().unwrap();
        log.append(b"new\n", Timestamp::UNIX_EPOCH).unwrap();
        assert_eq!(fs::read_to_string(&path).unwrap(), "new\n");
    }
}
