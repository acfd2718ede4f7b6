//! Writes a volume's files so that a reader sees all of the old ones or all of the new ones.
//!
//! The files are in a directory named after the time, the link `..data` leads to it, and each
//! visible name is a link through `..data`. An update is a new directory and one rename of
//! `..data`. Programs watch for exactly that, so the scheme is upstream's.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, DirBuilder, OpenOptions, Permissions};
use std::io::{ErrorKind, Write as _};
use std::os::unix::fs::{
    DirBuilderExt as _, OpenOptionsExt as _, PermissionsExt as _, lchown, symlink,
};
use std::path::{Path, PathBuf};

use jiff::Timestamp;

use super::payload::FileProjection;
use super::{Access, Payload};
use crate::{Error, Result};

/// How many names are tried for a new directory, should crashes have left some.
pub const MAX_NAME_ATTEMPTS: u64 = 1000;

const DATA: &str = "..data";
const NEW_DATA: &str = "..data_tmp";

/// Makes the directory `dir` hold `payload`, and says whether anything was written. Nothing is
/// written when nothing differs. What an earlier call left half-made is finished or removed.
///
/// # Errors
/// [`Io`](Error::Io), and the volume is then as it was or as it should be.
pub fn write_payload(
    dir: &Path,
    payload: &Payload,
    access: Access,
    now: Timestamp,
) -> Result<bool> {
    make_visible_dir(dir, access.directory_mode(), access.group)?;
    let current = current(dir)?;
    let same = match &current {
        Some(name) => holds(&dir.join(name), payload)?,
        None => false,
    };
    let mut wrote = false;
    let current = match current {
        Some(name) if same => name,
        old => {
            wrote = true;
            let name = new_name(dir, old.as_deref(), now)?;
            write_files(&dir.join(&name), payload, access)?;
            point_at(dir, &name)?;
            name
        }
    };
    wrote |= link_names(dir, payload)?;
    wrote |= sweep(dir, &current)?;
    Ok(wrote)
}

/// The directory that `..data` leads to.
fn current(dir: &Path) -> Result<Option<PathBuf>> {
    let link = dir.join(DATA);
    match fs::read_link(&link) {
        Ok(name) => Ok(Some(name)),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
        Err(error) => Err(Error::io("read the link", link)(error)),
    }
}

/// Whether the directory holds exactly the payload's files, with their modes.
fn holds(dir: &Path, payload: &Payload) -> Result<bool> {
    let mut found = BTreeSet::new();
    if !dir.is_dir() {
        return Ok(false);
    }
    let mut pending = vec![PathBuf::new()];
    while let Some(relative) = pending.pop() {
        let place = dir.join(&relative);
        for entry in fs::read_dir(&place).map_err(Error::io("read", &place))? {
            let entry = entry.map_err(Error::io("read", &place))?;
            let name = relative.join(entry.file_name());
            let kind = entry.file_type().map_err(Error::io("inspect", &place))?;
            if kind.is_dir() {
                pending.push(name);
                continue;
            }
            let Some(text) = name.to_str() else { return Ok(false) };
            let Some(file) = payload.files().get(text) else { return Ok(false) };
            if !kind.is_file() || !is_same(&entry.path(), file)? {
                return Ok(false);
            }
            found.insert(text.to_owned());
        }
    }
    Ok(found.len() == payload.files().len())
}

fn is_same(path: &Path, file: &FileProjection) -> Result<bool> {
    let meta = fs::metadata(path).map_err(Error::io("inspect", path))?;
    if meta.len() != file.data.len() as u64 || meta.permissions().mode() & 0o777 != file.mode {
        return Ok(false);
    }
    match fs::read(path) {
        Ok(data) => Ok(data == file.data),
        // A mode that not even the owner can read says nothing: write it again.
        Err(error) if error.kind() == ErrorKind::PermissionDenied => Ok(false),
        Err(error) => Err(Error::io("read", path)(error)),
    }
}

/// A name that no earlier version had, so that a reader who knows the old directory by its path
/// finds the old files or none: the number only grows, whatever the clock does.
fn new_name(dir: &Path, old: Option<&Path>, now: Timestamp) -> Result<PathBuf> {
    let stamp = now.strftime("%Y_%m_%d_%H_%M_%S");
    let number = old.and_then(|old| old.to_str()?.rsplit_once('.')?.1.parse::<u64>().ok());
    let first = number.map_or(0, |number| number.saturating_add(1));
    let names = (0..MAX_NAME_ATTEMPTS).map(|attempt| first.saturating_add(attempt));
    let mut names = names.map(|number| PathBuf::from(format!("..{stamp}.{number:09}")));
    let name = names.find(|name| !dir.join(name).exists());
    name.ok_or(Error::Exhausted { what: "names of a volume's directory", limit: MAX_NAME_ATTEMPTS })
}

fn write_files(home: &Path, payload: &Payload, access: Access) -> Result<()> {
    make_dir(home, access)?;
    for (path, file) in payload.files() {
        let path = Path::new(path);
        let mut parent = home.to_owned();
        for part in path.parent().into_iter().flat_map(Path::components) {
            parent.push(part);
            make_dir(&parent, access)?;
        }
        write_file(&home.join(path), file, access)?;
    }
    Ok(())
}

fn write_file(path: &Path, projection: &FileProjection, access: Access) -> Result<()> {
    // Nobody else can read it before it has the mode it was asked to have.
    let file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path);
    let mut file = file.map_err(Error::io("create", path))?;
    file.write_all(&projection.data).map_err(Error::io("write", path))?;
    give_to_group(path, access.group)?;
    let mode = Permissions::from_mode(projection.mode);
    file.set_permissions(mode).map_err(Error::io("set the mode of", path))
}

fn point_at(dir: &Path, name: &Path) -> Result<()> {
    let (link, new) = (dir.join(DATA), dir.join(NEW_DATA));
    match fs::remove_file(&new) {
        Err(error) if error.kind() != ErrorKind::NotFound => {
            return Err(Error::io("remove", new)(error));
        }
        _ => {}
    }
    symlink(name, &new).map_err(Error::io("create", &new))?;
    fs::rename(&new, &link).map_err(Error::io("replace", link))
}

/// Makes each visible name a link through `..data`, and removes the links of names that are gone.
fn link_names(dir: &Path, payload: &Payload) -> Result<bool> {
    let names = payload.files().keys().map(|path| path.split('/').next().unwrap_or_default());
    let mut wanted: BTreeMap<&str, PathBuf> =
        names.map(|name| (name, Path::new(DATA).join(name))).collect();
    let mut changed = false;
    for (name, path) in entries(dir)? {
        if name.starts_with("..") {
            continue;
        }
        let target = fs::read_link(&path).ok();
        match wanted.get(name.as_str()) {
            Some(link) if target.as_ref() == Some(link) => _ = wanted.remove(name.as_str()),
            // What is no link is not the writer's, unless it is in the way.
            None if target.is_none() => {}
            _ => {
                remove_all(&path)?;
                changed = true;
            }
        }
    }
    for (name, target) in wanted {
        let path = dir.join(name);
        symlink(target, &path).map_err(Error::io("create", path))?;
        changed = true;
    }
    Ok(changed)
}

/// Removes what earlier versions and earlier crashes left.
fn sweep(dir: &Path, current: &Path) -> Result<bool> {
    let mut changed = false;
    for (name, path) in entries(dir)? {
        if name.starts_with("..") && name != DATA && Path::new(&name) != current {
            remove_all(&path)?;
            changed = true;
        }
    }
    Ok(changed)
}

fn entries(dir: &Path) -> Result<Vec<(String, PathBuf)>> {
    let mut found = Vec::new();
    for entry in fs::read_dir(dir).map_err(Error::io("read", dir))? {
        let entry = entry.map_err(Error::io("read", dir))?;
        found.push((entry.file_name().to_string_lossy().into_owned(), entry.path()));
    }
    found.sort();
    Ok(found)
}

fn remove_all(path: &Path) -> Result<()> {
    let meta = fs::symlink_metadata(path).map_err(Error::io("inspect", path))?;
    let removed = if meta.is_dir() { fs::remove_dir_all(path) } else { fs::remove_file(path) };
    removed.map_err(Error::io("remove", path))
}

/// Makes a directory in one that is not visible yet.
fn make_dir(path: &Path, access: Access) -> Result<()> {
    match DirBuilder::new().mode(0o700).create(path) {
        Err(error) if error.kind() != ErrorKind::AlreadyExists => {
            Err(Error::io("create", path)(error))
        }
        _ => shape(path, access.directory_mode(), access.group),
    }
}

/// Makes a visible directory, so that a crash leaves it whole or not at all. One that is there
/// is left as it is.
pub(super) fn make_visible_dir(path: &Path, mode: u32, group: Option<u32>) -> Result<()> {
    if path.is_dir() {
        return Ok(());
    }
    let mut name = std::ffi::OsString::from("..");
    name.push(path.file_name().unwrap_or_default());
    let new = path.with_file_name(name);
    let made = match DirBuilder::new().mode(0o700).create(&new) {
        Err(error) if error.kind() != ErrorKind::AlreadyExists => {
            Err(Error::io("create", &new)(error))
        }
        _ => shape(&new, mode, group),
    };
    let made = made.and_then(|()| fs::rename(&new, path).map_err(Error::io("create", path)));
    match made {
        // Another pod's volume was quicker with a directory that both need.
        Err(_) if path.is_dir() => {
            let _ = fs::remove_dir(&new);
            Ok(())
        }
        made => made,
    }
}

/// Gives a directory its group and mode, whatever the umask is.
fn shape(path: &Path, mode: u32, group: Option<u32>) -> Result<()> {
    // The group first: giving a directory away takes its set-group-id bit.
    give_to_group(path, group)?;
    fs::set_permissions(path, Permissions::from_mode(mode))
        .map_err(Error::io("set the mode of", path))
}

/// Gives a file or directory to a pod's `fsGroup`. An agent without the right to runs its
/// containers as itself, so they can read what it made.
fn give_to_group(path: &Path, group: Option<u32>) -> Result<()> {
    let Some(group) = group else { return Ok(()) };
    match lchown(path, None, Some(group)) {
        Err(error) if error.kind() == ErrorKind::PermissionDenied => {
            tracing::debug!(path = %path.display(), group, "no right to give a file to a group");
            Ok(())
        }
        given => given.map_err(Error::io("give to a group", path)),
    }
}

#[cfg(test)]
#[path = "writer_tests.rs"]
mod tests;
