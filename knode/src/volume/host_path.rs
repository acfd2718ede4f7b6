//! `hostPath`: something of the host, checked before it is shown.
//!
//! <https://kubernetes.io/docs/concepts/storage/volumes/#hostpath-volume-types>

use std::fs::{self, DirBuilder, OpenOptions, Permissions};
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::fs::{DirBuilderExt as _, FileTypeExt as _, OpenOptionsExt as _};
use std::path::Path;

use crate::{Error, Result};

/// What must be at the path.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum HostPathType {
    /// Anything; nothing is checked.
    #[default]
    Unset,
    /// A directory, made with 0755 if nothing is there.
    DirectoryOrCreate,
    /// A directory.
    Directory,
    /// A file, made empty with 0644 if nothing is there; its directory must be there.
    FileOrCreate,
    /// A file.
    File,
    /// A Unix socket.
    Socket,
    /// A character device.
    CharDevice,
    /// A block device.
    BlockDevice,
}

impl HostPathType {
    pub(super) fn parse(text: &str) -> Result<Self, String> {
        Ok(match text {
            "" => Self::Unset,
            "DirectoryOrCreate" => Self::DirectoryOrCreate,
            "Directory" => Self::Directory,
            "FileOrCreate" => Self::FileOrCreate,
            "File" => Self::File,
            "Socket" => Self::Socket,
            "CharDevice" => Self::CharDevice,
            "BlockDevice" => Self::BlockDevice,
            other => return Err(format!("{other} is an invalid volume type")),
        })
    }

    /// Checks that `path` is what it must be, after making it where that is asked for.
    pub(super) fn ensure(self, path: &Path) -> Result<()> {
        match self {
            Self::DirectoryOrCreate if !path.exists() => make_directory(path)?,
            Self::FileOrCreate if !path.exists() => make_file(path)?,
            _ => {}
        }
        let kind = fs::metadata(path).ok().map(|meta| meta.file_type());
        let is = |check: fn(&fs::FileType) -> bool| kind.as_ref().is_some_and(check);
        let (good, what) = match self {
            Self::Unset => (true, ""),
            Self::DirectoryOrCreate | Self::Directory => (is(fs::FileType::is_dir), "a directory"),
            Self::FileOrCreate | Self::File => (is(fs::FileType::is_file), "a file"),
            Self::Socket => (is(|kind| kind.is_socket()), "a socket file"),
            Self::CharDevice => (is(|kind| kind.is_char_device()), "a character device"),
            Self::BlockDevice => (is(|kind| kind.is_block_device()), "a block device"),
        };
        if good {
            return Ok(());
        }
        let reason = format!("hostPath type check failed: {} is not {what}", path.display());
        Err(Error::InvalidConfig { field: "hostPath".into(), reason })
    }
}

fn make_directory(path: &Path) -> Result<()> {
    let made = DirBuilder::new().recursive(true).mode(0o755).create(path);
    made.map_err(Error::io("create", path))
}

fn make_file(path: &Path) -> Result<()> {
    let file = OpenOptions::new().append(true).create(true).mode(0o644).open(path);
    let file = file.map_err(Error::io("create", path))?;
    file.set_permissions(Permissions::from_mode(0o644)).map_err(Error::io("set the mode of", path))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_type_takes_what_it_names_and_nothing_else() {
        let dir = tempfile::tempdir().unwrap();
        let (file, socket) = (dir.path().join("file"), dir.path().join("socket"));
        fs::write(&file, "").unwrap();
        let _listener = std::os::unix::net::UnixListener::bind(&socket).unwrap();
        let null = Path::new("/dev/null");
        let absent = dir.path().join("absent");
        let all = ["Directory", "File", "Socket", "CharDevice", "BlockDevice"];
        for (path, good) in [
            (dir.path(), "Directory"),
            (&*file, "File"),
            (&*socket, "Socket"),
            (null, "CharDevice"),
            (&*absent, "nothing"),
        ] {
            for name in all {
                let checked = HostPathType::parse(name).unwrap().ensure(path);
                assert_eq!(checked.is_ok(), name == good, "{name} {}", path.display());
            }
            HostPathType::Unset.ensure(path).unwrap();
        }
        let error = HostPathType::BlockDevice.ensure(null).unwrap_err().to_string();
        let expect = "hostPath: hostPath type check failed: /dev/null is not a block device";
        assert_eq!(error, expect);
        assert_eq!(HostPathType::parse("X").unwrap_err(), "X is an invalid volume type");
    }

    #[test]
    fn what_may_be_made_is_made_once() {
        let dir = tempfile::tempdir().unwrap();
        let (deep, file) = (dir.path().join("a/b"), dir.path().join("f"));
        HostPathType::DirectoryOrCreate.ensure(&deep).unwrap();
        HostPathType::DirectoryOrCreate.ensure(&deep).unwrap();
        HostPathType::FileOrCreate.ensure(&file).unwrap();
        fs::write(&file, "kept").unwrap();
        HostPathType::FileOrCreate.ensure(&file).unwrap();
        assert_eq!(fs::read_to_string(&file).unwrap(), "kept");
        HostPathType::DirectoryOrCreate.ensure(&file).unwrap_err();
        HostPathType::FileOrCreate.ensure(&dir.path().join("no/f")).unwrap_err();
    }
}
