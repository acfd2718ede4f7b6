//! The writer against a directory.

use std::os::unix::fs::MetadataExt as _;

use super::*;

const SHARED: Access = Access { group: None };

fn payload(files: &[(&str, &str, u32)]) -> Payload {
    let mut payload = Payload::default();
    for (path, data, mode) in files {
        let file = FileProjection::new(data.to_string(), *mode);
        payload.put(path, file, "f").unwrap();
    }
    payload
}

fn write(dir: &Path, files: &[(&str, &str, u32)]) -> bool {
    let now = "2026-01-02T03:04:05Z".parse().unwrap();
    write_payload(dir, &payload(files), SHARED, now).unwrap()
}

fn names(dir: &Path) -> String {
    entries(dir).unwrap().into_iter().map(|(name, _)| name).collect::<Vec<_>>().join(" ")
}

fn mode(path: &Path) -> u32 {
    fs::metadata(path).unwrap().permissions().mode() & 0o777
}

#[test]
fn files_are_links_through_data_to_a_dated_directory() {
    let root = tempfile::tempdir().unwrap();
    let dir = root.path().join("v");
    assert!(write(&dir, &[("a", "1", 0o644), ("d/b", "2", 0o400), ("d/e/c", "", 0o777)]));
    assert_eq!(names(&dir), "..2026_01_02_03_04_05.000000000 ..data a d");
    assert_eq!(fs::read_link(dir.join("a")).unwrap(), Path::new("..data/a"));
    let data = fs::read_link(dir.join("..data")).unwrap();
    assert_eq!(data, Path::new("..2026_01_02_03_04_05.000000000"));
    assert_eq!(fs::read_to_string(dir.join("d/b")).unwrap(), "2");
    assert_eq!((mode(&dir.join("d/b")), mode(&dir.join("d/e/c"))), (0o400, 0o777));
    assert_eq!((mode(&dir), mode(&dir.join("d"))), (0o755, 0o755));
}

#[test]
fn nothing_is_written_when_nothing_differs() {
    let root = tempfile::tempdir().unwrap();
    let dir = root.path().join("v");
    let files = [("a", "1", 0o644), ("d/b", "2", 0o600)];
    assert!(write(&dir, &files));
    let before = fs::metadata(dir.join("a")).unwrap().ino();
    assert!(!write(&dir, &files));
    assert_eq!(fs::metadata(dir.join("a")).unwrap().ino(), before);
    assert!(write(&dir, &[("a", "1", 0o640), ("d/b", "2", 0o600)]), "a mode differs");
    assert!(write(&dir, &[("a", "2", 0o640), ("d/b", "2", 0o600)]), "a content differs");
    assert!(write(&dir, &[("a", "2", 0o640)]), "a file is gone");
    assert!(write(&dir, &[("a", "2", 0o640), ("c", "", 0o640)]), "a file is new");
}

#[test]
fn an_update_replaces_all_files_at_once_and_leaves_nothing_behind() {
    let root = tempfile::tempdir().unwrap();
    let dir = root.path().join("v");
    write(&dir, &[("a", "1", 0o644), ("gone/x", "1", 0o644)]);
    write(&dir, &[("a", "2", 0o644), ("new", "2", 0o644)]);
    assert_eq!(names(&dir), "..2026_01_02_03_04_05.000000001 ..data a new");
    assert_eq!(fs::read_to_string(dir.join("a")).unwrap(), "2");
    write(&dir, &[]);
    assert_eq!(names(&dir), "..2026_01_02_03_04_05.000000002 ..data");
}

#[test]
fn a_reader_sees_one_version_during_updates() {
    let root = tempfile::tempdir().unwrap();
    let dir = root.path().join("v");
    write(&dir, &[("a", "0", 0o644), ("b", "0", 0o644)]);
    let versions = 200;
    std::thread::scope(|scope| {
        let writer = scope.spawn(|| {
            for version in 1..=versions {
                let text = version.to_string();
                write(&dir, &[("a", &text, 0o644), ("b", &text, 0o644)]);
            }
        });
        while !writer.is_finished() {
            // A reader that pins the directory sees both files of one version, or that it is gone.
            let Ok(pinned) = fs::canonicalize(dir.join("..data")) else { continue };
            let read = |name: &str| fs::read_to_string(pinned.join(name)).ok();
            if let (Some(a), Some(b)) = (read("a"), read("b")) {
                assert_eq!(a, b);
            }
        }
        writer.join().unwrap();
    });
    assert_eq!(fs::read_to_string(dir.join("b")).unwrap(), versions.to_string());
}

#[test]
fn what_a_crash_left_half_made_is_finished_n4() {
    let root = tempfile::tempdir().unwrap();
    let dir = root.path().join("v");
    let files = [("a", "1", 0o644), ("b", "2", 0o644)];
    write(&dir, &files);
    // Before the rename: a directory nobody leads to, and the link that was to be renamed.
    fs::create_dir(dir.join("..2026_01_01_00_00_00.000000000")).unwrap();
    symlink("..2026_01_01_00_00_00.000000000", dir.join(NEW_DATA)).unwrap();
    assert!(write(&dir, &files));
    assert_eq!(names(&dir), "..2026_01_02_03_04_05.000000000 ..data a b");
    // After the rename: a name has no link yet.
    fs::remove_file(dir.join("b")).unwrap();
    assert!(write(&dir, &files));
    assert_eq!(fs::read_to_string(dir.join("b")).unwrap(), "2");
    // A link that leads nowhere.
    fs::remove_dir_all(dir.join("..2026_01_02_03_04_05.000000000")).unwrap();
    assert!(write(&dir, &files));
    assert_eq!(fs::read_to_string(dir.join("a")).unwrap(), "1");
}

#[test]
fn what_is_in_the_way_of_a_name_is_replaced() {
    let root = tempfile::tempdir().unwrap();
    let dir = root.path().join("v");
    write(&dir, &[("a", "1", 0o644)]);
    fs::remove_file(dir.join("a")).unwrap();
    fs::write(dir.join("a"), "forged").unwrap();
    fs::write(dir.join("foreign"), "").unwrap();
    assert!(write(&dir, &[("a", "1", 0o644)]));
    assert_eq!(fs::read_to_string(dir.join("a")).unwrap(), "1");
    assert!(dir.join("foreign").exists());
}
