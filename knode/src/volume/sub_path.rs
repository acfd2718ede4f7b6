//! `subPath`: a part of a volume, opened so that no link leads out of it (X7).
//!
//! A container may change its volume while a path in it is being resolved, so looking first and
//! opening later is not enough: the kernel does both at once.
//! <https://kubernetes.io/docs/concepts/storage/volumes/#using-subpath>

use std::os::fd::OwnedFd;
use std::path::{Component, Path, PathBuf};

use rustix::fs::{Mode, OFlags, ResolveFlags, fchmod, fstat, mkdirat, open, openat2};
use rustix::io::Errno;

use crate::{Error, Result};

/// How often a path is resolved anew while somebody renames parts of it.
pub const MAX_RESOLVE_ATTEMPTS: u32 = 64;

/// Opens `sub_path` in the volume at `root`; directories that are missing are made with the
/// volume's mode. Links in the volume are followed while they stay in it. The descriptor is good
/// for its path (`O_PATH`) alone.
///
/// # Errors
/// [`Io`](Error::Io): `EXDEV` for a link that leads out, `ELOOP` for one that was put where a
/// directory was being made, `EAGAIN` if somebody never stopped renaming.
pub fn open_sub_path(root: &Path, sub_path: &Path) -> Result<OwnedFd> {
    let fail = |errno: Errno| Error::io("open", root.join(sub_path))(errno.into());
    let parts = parts(sub_path).ok_or(Errno::XDEV).map_err(fail)?;
    let home = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let home = open(root, home, Mode::empty()).map_err(fail)?;
    match open_beneath(&home, &parts, OFlags::empty()) {
        Err(Errno::NOENT) => make_beneath(home, &parts).map_err(fail),
        opened => opened.map_err(fail),
    }
}

/// Where an open descriptor is, without links.
pub(super) fn real_path(descriptor: &OwnedFd) -> Result<PathBuf> {
    let link = descriptor_path("self", descriptor);
    std::fs::read_link(&link).map_err(Error::io("read the link", link))
}

/// The path of an open descriptor of the process `pid`, good while it is open.
pub(super) fn descriptor_path(pid: &str, descriptor: &OwnedFd) -> PathBuf {
    use std::os::fd::AsRawFd as _;
    PathBuf::from(format!("/proc/{pid}/fd/{}", descriptor.as_raw_fd()))
}

/// The names of a path; none if it is absolute or climbs.
fn parts(path: &Path) -> Option<Vec<&Path>> {
    let parts = path.components().filter(|part| !matches!(part, Component::CurDir));
    parts
        .map(|part| match part {
            Component::Normal(name) => Some(Path::new(name)),
            _ => None,
        })
        .collect()
}

fn open_beneath(dir: &OwnedFd, parts: &[&Path], flags: OFlags) -> rustix::io::Result<OwnedFd> {
    let path: PathBuf = match parts {
        [] => PathBuf::from("."),
        parts => parts.iter().collect(),
    };
    let flags = flags | OFlags::PATH | OFlags::CLOEXEC;
    let stay = ResolveFlags::BENEATH | ResolveFlags::NO_MAGICLINKS;
    retry(|| openat2(dir, &path, flags, Mode::empty(), stay))
}

/// The kernel asks for another try when it saw a rename.
fn retry(open: impl Fn() -> rustix::io::Result<OwnedFd>) -> rustix::io::Result<OwnedFd> {
    for _ in 1..MAX_RESOLVE_ATTEMPTS {
        match open() {
            Err(Errno::AGAIN | Errno::INTR) => {}
            opened => return opened,
        }
    }
    open()
}

/// Makes what is missing of a path, one directory at a time, following no link among those.
fn make_beneath(home: OwnedFd, parts: &[&Path]) -> rustix::io::Result<OwnedFd> {
    let mode = Mode::from_raw_mode(fstat(&home)?.st_mode & 0o777);
    let (mut dir, mut made) = (home, 0);
    for there in (1..parts.len()).rev() {
        match open_beneath(&dir, &parts[..there], OFlags::DIRECTORY) {
            Err(Errno::NOENT) => {}
            Err(errno) => return Err(errno),
            Ok(found) => {
                (dir, made) = (found, there);
                break;
            }
        }
    }
    for part in &parts[made..] {
        dir = make_one(&dir, part, mode)?;
    }
    Ok(dir)
}

fn make_one(dir: &OwnedFd, name: &Path, mode: Mode) -> rustix::io::Result<OwnedFd> {
    let fresh = match mkdirat(dir, name, mode) {
        Ok(()) => true,
        Err(Errno::EXIST) => false,
        Err(errno) => return Err(errno),
    };
    let stay = ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS;
    let access = if fresh { OFlags::RDONLY } else { OFlags::PATH };
    let flags = access | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let made = retry(|| openat2(dir, name, flags, Mode::empty(), stay))?;
    if fresh {
        // The umask took bits away.
        fchmod(&made, mode)?;
    }
    Ok(made)
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::{PermissionsExt as _, symlink};
    use std::sync::atomic::{AtomicBool, Ordering};

    use super::*;

    /// A volume beside something that must stay out of reach.
    fn volume() -> (tempfile::TempDir, PathBuf, PathBuf) {
        let dir = tempfile::tempdir().unwrap();
        let home = fs::canonicalize(dir.path()).unwrap();
        let (root, outside) = (home.join("volume"), home.join("outside"));
        fs::create_dir_all(root.join("a/b")).unwrap();
        fs::create_dir(&outside).unwrap();
        fs::write(root.join("a/file"), "in").unwrap();
        fs::write(outside.join("secret"), "out").unwrap();
        (dir, root, outside)
    }

    fn opened(root: &Path, sub_path: &str) -> std::result::Result<PathBuf, Errno> {
        match open_sub_path(root, Path::new(sub_path)) {
            Ok(descriptor) => Ok(real_path(&descriptor).unwrap()),
            Err(Error::Io { source, .. }) => Err(Errno::from_io_error(&source).unwrap()),
            Err(error) => panic!("{error}"),
        }
    }

    #[test]
    fn paths_and_links_in_the_volume_are_followed() {
        let (_dir, root, _) = volume();
        symlink("a/b", root.join("link")).unwrap();
        symlink("../a", root.join("a/self")).unwrap();
        for (sub_path, expect) in [
            (".", ""),
            ("a", "a"),
            ("./a//b/", "a/b"),
            ("a/file", "a/file"),
            ("link", "a/b"),
            ("a/self/self/file", "a/file"),
        ] {
            let expect = if expect.is_empty() { root.clone() } else { root.join(expect) };
            assert_eq!(opened(&root, sub_path).unwrap(), expect, "{sub_path}");
        }
    }

    #[test]
    fn what_leads_out_of_the_volume_is_refused_x7() {
        let (_dir, root, outside) = volume();
        symlink(&outside, root.join("absolute")).unwrap();
        symlink("../outside", root.join("climbing")).unwrap();
        symlink("../../outside/secret", root.join("a/deep")).unwrap();
        symlink("/proc/self/root", root.join("magic")).unwrap();
        symlink("nowhere", root.join("dangling")).unwrap();
        for (sub_path, expect) in [
            ("absolute", Errno::XDEV),
            ("absolute/secret", Errno::XDEV),
            ("absolute/new", Errno::XDEV),
            ("climbing/secret", Errno::XDEV),
            ("a/deep", Errno::XDEV),
            ("magic", Errno::XDEV),
            ("../outside", Errno::XDEV),
            ("/a", Errno::XDEV),
            ("a/../a", Errno::XDEV),
            ("a/file/x", Errno::NOTDIR),
            ("dangling", Errno::LOOP),
            ("dangling/x", Errno::LOOP),
        ] {
            let found = opened(&root, sub_path);
            // A link where a directory must be made may also be told as "not a directory".
            let link = expect == Errno::LOOP && found == Err(Errno::NOTDIR);
            assert!(found == Err(expect) || link, "{sub_path}: {found:?}");
        }
        assert_eq!(fs::read_dir(&outside).unwrap().count(), 1, "something was made outside");
    }

    #[test]
    fn missing_directories_are_made_with_the_volumes_mode() {
        let (_dir, root, _) = volume();
        fs::set_permissions(&root, fs::Permissions::from_mode(0o777)).unwrap();
        assert_eq!(opened(&root, "a/x/y").unwrap(), root.join("a/x/y"));
        let mode = |path: &str| fs::metadata(root.join(path)).unwrap().permissions().mode();
        assert_eq!((mode("a/x") & 0o777, mode("a/x/y") & 0o777), (0o777, 0o777));
        assert_eq!(opened(&root, "top").unwrap(), root.join("top"));
        assert_eq!(opened(&root, "top").unwrap(), root.join("top"));
    }

    #[test]
    fn a_container_that_swaps_links_never_gets_out_x7() {
        let (_dir, root, outside) = volume();
        let (stop, link, other) = (AtomicBool::new(false), root.join("x"), root.join("y"));
        fs::create_dir(&link).unwrap();
        fs::write(link.join("secret"), "in").unwrap();
        symlink("../outside", &other).unwrap();
        let (mut inside, mut refused) = (0, 0);
        std::thread::scope(|scope| {
            scope.spawn(|| {
                use rustix::fs::{CWD, RenameFlags, renameat_with};
                while !stop.load(Ordering::Relaxed) {
                    renameat_with(CWD, &link, CWD, &other, RenameFlags::EXCHANGE).unwrap();
                }
            });
            // Until the race was seen from both sides, and often enough.
            for round in 0..200_000 {
                let sub_path = if round % 2 == 0 { "x/secret" } else { "x/made/new" };
                match open_sub_path(&root, Path::new(sub_path)) {
                    Ok(descriptor) => {
                        let path = real_path(&descriptor).unwrap();
                        assert!(path.starts_with(&root), "{}", path.display());
                        inside += 1;
                    }
                    Err(_) => refused += 1,
                }
                if inside > 1000 && refused > 1000 {
                    break;
                }
            }
            stop.store(true, Ordering::Relaxed);
        });
        assert!(inside > 0 && refused > 0, "no race: {inside} inside, {refused} refused");
        assert_eq!(fs::read_dir(&outside).unwrap().count(), 1, "something was made outside");
    }
}
