//! Files that hold keys: readable by their owner alone (X8).

use std::fs;
use std::io::Write as _;
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _, PermissionsExt as _};
use std::path::Path;

use super::ServeError;

fn error(path: &Path, action: &'static str, source: std::io::Error) -> ServeError {
    ServeError::File { path: path.to_owned(), action, source }
}

/// Makes a directory that only its owner can enter.
pub(super) fn private_dir(path: &Path) -> Result<(), ServeError> {
    fs::DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(path)
        .map_err(|source| error(path, "created", source))
}

/// Reads a file, if it exists.
pub(super) fn read(path: &Path) -> Result<Option<String>, ServeError> {
    match fs::read_to_string(path) {
        Ok(text) => Ok(Some(text)),
        Err(source) if source.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(source) => Err(error(path, "read", source)),
    }
}

/// Writes a file that only its owner can read: wholly or not at all.
pub(super) fn write_private(path: &Path, text: &str) -> Result<(), ServeError> {
    let failed = |source| error(path, "written", source);
    let next = path.with_extension("new");
    let mut file = fs::OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o600)
        .open(&next)
        .map_err(failed)?;
    file.set_permissions(fs::Permissions::from_mode(0o600)).map_err(failed)?;
    file.write_all(text.as_bytes()).map_err(failed)?;
    file.sync_all().map_err(failed)?;
    fs::rename(&next, path).map_err(failed)?;
    if let Some(parent) = path.parent() {
        fs::File::open(parent).and_then(|dir| dir.sync_all()).map_err(failed)?;
    }
    Ok(())
}
