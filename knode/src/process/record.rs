//! What is on disk, and how it gets there whole.
//!
//! ```text
//! <root>/lock                        held by the runtime that uses the directory
//! <root>/sandboxes/<id>/sandbox.json
//! <root>/containers/<id>/container.json   written by create
//!                       /control          a pipe that takes commands to the shim, made by start
//!                       /running.json     written by the shim once the process runs
//!                       /exit.json        written by the shim once it ended
//!                       /root/            the container's own directory
//! ```

use std::fs::{self, File};
use std::io::Write as _;
use std::net::IpAddr;
use std::path::{Path, PathBuf};

use jiff::Timestamp;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::logs::Rotation;
use crate::runtime::{ContainerConfig, Exit, SandboxConfig, SandboxId, SandboxState};
use crate::{Error, Result};

pub(super) const SANDBOX: &str = "sandbox.json";
pub(super) const CONTAINER: &str = "container.json";
pub(super) const CONTROL: &str = "control";
pub(super) const RUNNING: &str = "running.json";
pub(super) const EXIT: &str = "exit.json";
pub(super) const ROOT: &str = "root";
/// A directory of this name is being removed.
pub(super) const REMOVED_PREFIX: &str = "removed-";

/// In the environment of every process of a container: by it they are found, whatever they do.
pub(super) const CONTAINER_VARIABLE: &str = "KUBRICK_CONTAINER";
/// In the environment of a shim: the container's directory.
pub(super) const SHIM_VARIABLE: &str = "KUBRICK_SHIM";
/// In the environment of a container: its directory, where its mounts are.
pub(super) const ROOT_VARIABLE: &str = "KUBRICK_ROOT";

#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct SandboxRecord {
    pub(super) config: SandboxConfig,
    pub(super) created_at: Timestamp,
    pub(super) state: SandboxState,
    pub(super) ips: Vec<IpAddr>,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct ContainerRecord {
    pub(super) sandbox: SandboxId,
    pub(super) config: ContainerConfig,
    pub(super) created_at: Timestamp,
    pub(super) log_path: Option<PathBuf>,
    pub(super) spec: ShimSpec,
}

/// What a shim is to run.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct ShimSpec {
    pub(super) argv: Vec<String>,
    pub(super) env: Vec<(String, String)>,
    pub(super) working_dir: PathBuf,
    pub(super) log_path: Option<PathBuf>,
    pub(super) rotation: Rotation,
    pub(super) user: Option<u32>,
    pub(super) group: Option<u32>,
    pub(super) no_new_privs: bool,
}

/// A process, safe against its number being used again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct ProcessId {
    pub(super) pid: i32,
    /// In clock ticks since the machine started.
    pub(super) start_time: u64,
}

/// Written by the shim once the process runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Running {
    pub(super) shim: ProcessId,
    pub(super) main: ProcessId,
    pub(super) started_at: Timestamp,
}

pub(super) fn read_exit(dir: &Path) -> Result<Option<Exit>> {
    read(&dir.join(EXIT))
}

/// Reads a record; `None` if there is none.
pub(super) fn read<T: DeserializeOwned>(path: &Path) -> Result<Option<T>> {
    let bytes = match fs::read(path) {
        Ok(bytes) => bytes,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(Error::io("read", path)(error)),
    };
    let record = serde_json::from_slice(&bytes).map_err(|e| Error::io("read", path)(e.into()))?;
    Ok(Some(record))
}

/// Writes a record so that a crash leaves it whole or not there (0600: it may hold secrets, X8).
pub(super) fn write<T: Serialize>(path: &Path, record: &T) -> Result<()> {
    use std::os::unix::fs::OpenOptionsExt as _;
    let temporary = path.with_extension("tmp");
    let text = serde_json::to_vec(record).map_err(|e| Error::io("write", path)(e.into()))?;
    let write = || -> std::io::Result<()> {
        let mut options = fs::OpenOptions::new();
        let mut file =
            options.write(true).create(true).truncate(true).mode(0o600).open(&temporary)?;
        file.write_all(&text)?;
        file.sync_data()?;
        fs::rename(&temporary, path)?;
        path.parent().map_or(Ok(()), |parent| File::open(parent)?.sync_all())
    };
    write().map_err(Error::io("write", path))
}

/// Makes a directory that only its owner may enter (X8).
pub(super) fn create_private_dir(path: &Path) -> Result<()> {
    use std::os::unix::fs::DirBuilderExt as _;
    fs::DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(path)
        .map_err(Error::io("create", path))
}

/// Removes a directory so that a crash leaves nothing that looks whole.
pub(super) fn remove_dir(path: &Path) -> Result<()> {
    let (Some(parent), Some(name)) = (path.parent(), path.file_name()) else { return Ok(()) };
    let doomed = parent.join(format!("{REMOVED_PREFIX}{}", name.to_string_lossy()));
    match fs::rename(path, &doomed) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            return Err(Error::io("remove", path)(error));
        }
        _ => {}
    }
    empty_dir(&doomed)
}

/// Removes a directory with all it holds, read-only or not, and follows no link.
pub(super) fn empty_dir(path: &Path) -> Result<()> {
    use std::os::unix::fs::PermissionsExt as _;
    let root = path.join(ROOT);
    if root.is_dir() {
        let _ = fs::set_permissions(&root, fs::Permissions::from_mode(0o700));
    }
    match fs::remove_dir_all(path) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            Err(Error::io("remove", path)(error))
        }
        _ => Ok(()),
    }
}
