//! What an operator does with a journal: backups are whole, restores go forward, damage is named.

#![allow(clippy::unwrap_used, reason = "tests fail by panicking")]

use std::path::Path;

use kstore::journal::{RestoreOptions, backup, inspect, restore, verify};
use kstore::{
    Error, JournalOptions, JournalStore, KeyRange, Op, Store, StoreExt, Txn, WatchOptions,
};

fn quiet() -> impl FnMut(u64, u64) {
    |done, all| assert!(done <= all, "{done} of {all}")
}

fn options() -> JournalOptions {
    JournalOptions::default().segment_bytes(64 << 10).snapshot_bytes(256 << 10)
}

async fn filled(directory: &Path) -> JournalStore {
    let store = JournalStore::with(directory, options()).unwrap();
    for n in 0..1000 {
        store.put(format!("k{:03}", n % 300), format!("{n}").repeat(50)).await.unwrap();
    }
    let lease = store.leases().unwrap().grant(std::time::Duration::from_secs(600)).await.unwrap();
    let held = Txn::default().and_then(Op::put_with_lease("held", "1", lease));
    store.txn(held).await.unwrap();
    store.delete("k007").await.unwrap();
    store
}

/// S3, S12: what was backed up while the store serves is one revision, and comes back as it was.
#[tokio::test]
async fn a_backup_is_one_revision_and_comes_back_whole() {
    let directory = tempfile::tempdir().unwrap();
    let [data, file, again] = ["data", "backup", "again"].map(|name| directory.path().join(name));
    let store = filled(&data).await;
    let (revision, digest) = store.digest();
    let writer = tokio::spawn({
        let store = store.clone();
        async move {
            for n in 0..200 {
                store.put(format!("later{n}"), "1").await.unwrap();
            }
        }
    });
    let written = store.backup(&file).await.unwrap();
    assert!(written.revision >= revision);
    writer.await.unwrap();
    let shown = store.list(KeyRange::all()).await.unwrap();
    restore(&file, &again, &RestoreOptions::default(), &mut quiet()).unwrap();
    let restored = JournalStore::open(&again).unwrap();
    assert_eq!(restored.status().await.unwrap().revision, written.revision);
    let page = restored.list(KeyRange::all()).await.unwrap();
    let expected = shown.records.iter().filter(|record| record.modified <= written.revision);
    assert_eq!(page.records, expected.cloned().collect::<Vec<_>>());
    if written.revision == revision {
        assert_eq!(restored.digest(), (revision, digest));
    }
    let held = page.records.iter().find(|record| record.key == "held").unwrap();
    let left = restored.leases().unwrap().time_to_live(held.lease.unwrap()).await.unwrap();
    assert_eq!(left.keys, ["held"]);
}

/// S3: whoever watched the old cluster beyond the backup sees no revision again.
#[tokio::test]
async fn a_bumped_restore_goes_on_behind_what_watchers_saw() {
    let directory = tempfile::tempdir().unwrap();
    let [data, file, again] = ["data", "backup", "again"].map(|name| directory.path().join(name));
    let store = filled(&data).await;
    let written = store.backup(&file).await.unwrap();
    let seen = store.put("after the backup", "1").await.unwrap();
    restore(&file, &again, &RestoreOptions::default().bump(1000), &mut quiet()).unwrap();
    let restored = JournalStore::open(&again).unwrap();
    let revision = restored.put("new", "1").await.unwrap();
    assert_eq!(revision.0, written.revision.0 + 1001);
    let late = restored.watch(KeyRange::all(), WatchOptions::default().after(seen)).await;
    assert!(matches!(late, Err(Error::Compacted { .. })), "{late:?}");
    drop(restored);
    // And it stays so when it is opened again.
    let restored = JournalStore::open(&again).unwrap();
    assert_eq!(restored.put("new", "2").await.unwrap().0, revision.0 + 1);
}

/// S12: what is read from the files is what the store holds, while it is open and afterwards.
#[tokio::test]
async fn a_directory_is_inspected_and_backed_up_while_it_is_open() {
    let directory = tempfile::tempdir().unwrap();
    let [data, file, again] = ["data", "backup", "again"].map(|name| directory.path().join(name));
    let store = filled(&data).await;
    let (revision, digest) = store.digest();
    for _ in 0..2 {
        let found = inspect(&data).unwrap();
        assert_eq!((found.revision, found.digest, found.keys), (revision, digest, 300));
        assert!(found.logs > 0 && found.disk_bytes > 64 << 10, "{found:?}");
    }
    let written = backup(&data, &file, &mut quiet()).unwrap();
    assert_eq!((written.revision, written.records), (revision, 300));
    assert!(matches!(JournalStore::open(&data), Err(Error::InUse { .. })));
    drop(store);
    assert_eq!(inspect(&data).unwrap().digest, digest);
    restore(&file, &again, &RestoreOptions::default(), &mut quiet()).unwrap();
    assert_eq!(inspect(&again).unwrap().digest, digest);
}

/// S8: a snapshot that is asked for gives the disk back.
#[tokio::test]
async fn saving_gives_the_disk_back() {
    let directory = tempfile::tempdir().unwrap();
    let data = directory.path().join("data");
    let store = JournalStore::with(&data, options().snapshot_bytes(u64::MAX)).unwrap();
    for n in 0..1000 {
        store.put("k", vec![7; 1000 + n]).await.unwrap();
    }
    let before = inspect(&data).unwrap();
    store.compact(before.revision).await.unwrap();
    store.save().await.unwrap();
    let after = inspect(&data).unwrap();
    assert_eq!((after.revision, after.digest), (before.revision, before.digest));
    assert!(after.disk_bytes * 4 < before.disk_bytes, "{before:?} {after:?}");
    assert!(after.bytes < 4096, "{after:?}");
}

/// A snapshot that is asked for is made however much is written meanwhile, and a backup whose
/// caller gives up leaves nothing behind.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn saving_goes_on_under_load_and_a_dropped_backup_leaves_nothing() {
    let directory = tempfile::tempdir().unwrap();
    let data = directory.path().join("data");
    let store = filled(&data).await;
    let writers: Vec<_> = (0..16)
        .map(|writer| {
            let store = store.clone();
            tokio::spawn(async move {
                for n in 0..u64::MAX {
                    store.put(format!("w{writer}"), n.to_string()).await.unwrap();
                }
            })
        })
        .collect();
    let saved = tokio::time::timeout(std::time::Duration::from_secs(60), store.save()).await;
    saved.expect("it is not put off for ever").unwrap();
    let file = directory.path().join("backup");
    drop(futures::FutureExt::now_or_never(store.backup(&file)));
    writers.iter().for_each(|writer| writer.abort());
    // Its thread sees that nobody waits, or had finished before; unfinished it is not left.
    let unfinished = directory.path().join("backup.new");
    tokio::time::timeout(std::time::Duration::from_secs(60), async {
        while unfinished.exists() {
            tokio::task::yield_now().await;
        }
    })
    .await
    .expect("it is removed");
}

/// S10: damage is named with file and offset, all of it, and nothing is changed.
#[tokio::test]
async fn damage_is_named_with_file_and_offset() {
    let directory = tempfile::tempdir().unwrap();
    let data = directory.path().join("data");
    let store = filled(&data).await;
    store.save().await.unwrap();
    store.put("k", "1").await.unwrap();
    drop(store);
    let clean = verify(&data, &mut quiet()).unwrap();
    assert!(clean.damage.is_empty() && clean.files >= 2 && clean.frames >= 2, "{clean:?}");
    let mut names: Vec<_> = std::fs::read_dir(&data)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .filter(|name| name != "lock")
        .collect();
    names.sort();
    let (log, snapshot) = (&names[0], names.last().unwrap());
    for (name, at) in [(log, 600), (snapshot, 700)] {
        let mut bytes = std::fs::read(data.join(name)).unwrap();
        bytes[at] ^= 4;
        std::fs::write(data.join(name), bytes).unwrap();
    }
    let found = verify(&data, &mut quiet()).unwrap();
    let mut texts: Vec<_> = found.damage.iter().map(ToString::to_string).collect();
    texts.sort();
    assert_eq!(texts.len(), 2, "{texts:?}");
    for (text, name) in texts.iter().zip([log, snapshot]) {
        assert!(text.contains(name.as_str()) && text.contains("at byte 512"), "{text}");
    }
    assert!(matches!(inspect(&data), Err(Error::Damaged { .. })));
    let copy = directory.path().join("copy");
    assert!(matches!(backup(&data, &copy, &mut quiet()), Err(Error::Damaged { .. })));
    assert!(!copy.exists());
}

#[tokio::test]
async fn wrong_places_are_refused_with_a_remedy() {
    let directory = tempfile::tempdir().unwrap();
    let [data, file, none] = ["data", "backup", "none"].map(|name| directory.path().join(name));
    let store = filled(&data).await;
    store.backup(&file).await.unwrap();
    let used = restore(&file, &data, &RestoreOptions::default(), &mut quiet()).unwrap_err();
    assert!(matches!(used, Error::InUse { .. }), "{used}");
    drop(store);
    let full = restore(&file, &data, &RestoreOptions::default(), &mut quiet()).unwrap_err();
    assert!(full.to_string().contains("is not empty: name a new directory"), "{full}");
    let missing = inspect(&none).unwrap_err();
    assert!(missing.to_string().contains("none"), "{missing}");
    assert!(!none.exists(), "looking makes nothing");
    let mut bytes = std::fs::read(&file).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    std::fs::write(&file, bytes).unwrap();
    let damaged = restore(&file, &none, &RestoreOptions::default(), &mut quiet()).unwrap_err();
    assert!(damaged.to_string().contains("backup"), "{damaged}");
}
