//! Cases of compaction, status and quota.

use super::Suite;
use super::subject::{delete, get, keys, put, revision};
use crate::{Error, KeyRange, RangeOptions, Store, StoreExt, StoreStatus};

async fn status(store: &dyn Store) -> StoreStatus {
    store.status().await.expect("the status can be read")
}

/// S8.
pub(super) async fn over_quota_only_writes_fail(suite: &Suite) {
    let store = suite.fresh().await;
    let quota = suite.capabilities().quota_bytes.expect("the capability is declared");
    let chunk = usize::try_from(quota / 16).expect("a quota is small").max(1);
    let mut written = 0;
    let refused = loop {
        match store.put(format!("fill/{written}"), vec![b'x'; chunk]).await {
            Ok(_) => written += 1,
            Err(error) => break error,
        }
        assert!(written <= 32, "the quota was passed");
    };
    match refused {
        Error::OverQuota { quota: named, .. } => assert_eq!(named, quota),
        other => panic!("over quota a write gets a clear error, not {other}"),
    }
    assert!(written >= 8, "half of the quota can be used");
    let before = revision(&*store).await;
    assert!(store.put("fill/0", vec![b'y'; chunk]).await.is_err(), "it stays refused");
    assert_eq!(revision(&*store).await, before, "a refused write changes nothing");
    // Reads, deletes and compaction work, and make room without a restart.
    assert_eq!(get(&*store, "fill/0").await.map(|r| r.value.bytes.len()), Some(chunk));
    for n in 0..written / 2 {
        let gone = store.delete(format!("fill/{n}")).await.expect("a delete works over quota");
        assert!(gone.is_some());
    }
    let now = revision(&*store).await;
    store.compact(now).await.expect("compaction works over quota");
    store.put("fill/0", vec![b'z'; chunk]).await.expect("there is room again");
}

pub(super) async fn compaction_keeps_the_present(suite: &Suite) {
    let store = suite.fresh().await;
    for n in 0..3 {
        put(&*store, "kept", &n.to_string()).await;
        put(&*store, "gone", &n.to_string()).await;
    }
    delete(&*store, "gone").await;
    let at = put(&*store, "other", "x").await;
    put(&*store, "kept", "later").await;
    let read = async |options: RangeOptions| {
        store.range(KeyRange::all(), options).await.expect("a kept revision is readable")
    };
    let (now, then) =
        (read(RangeOptions::default()).await, read(RangeOptions::default().at(at)).await);
    assert_eq!(keys(&then.records), ["kept", "other"]);
    store.compact(at).await.expect("compaction succeeds");
    assert_eq!(read(RangeOptions::default()).await, now);
    assert_eq!(read(RangeOptions::default().at(at)).await, then);
    let again = put(&*store, "gone", "x").await;
    let record = get(&*store, "gone").await.expect("it was written again");
    assert_eq!((record.created, record.version), (again, 1));
}

/// S5.
pub(super) async fn compaction_at_a_deletion_keeps_it(suite: &Suite) {
    let store = suite.fresh().await;
    put(&*store, "compacted/gone", "1").await;
    put(&*store, "compacted/kept", "1").await;
    let at = delete(&*store, "compacted/gone").await;
    store.compact(at).await.expect("compaction succeeds");
    assert_eq!(get(&*store, "compacted/gone").await, None);
    let then = store.range(KeyRange::all(), RangeOptions::default().at(at)).await;
    assert_eq!(keys(&then.expect("the revision is kept").records), ["compacted/kept"]);
    let again = put(&*store, "compacted/gone", "2").await;
    let record = get(&*store, "compacted/gone").await.expect("it was written again");
    assert_eq!((record.created, record.version), (again, 1));
}

pub(super) async fn compaction_is_idempotent(suite: &Suite) {
    let store = suite.fresh().await;
    let first = put(&*store, "a", "1").await;
    let second = put(&*store, "a", "2").await;
    for through in [second, second, first] {
        store.compact(through).await.expect("compacting again succeeds");
        assert_eq!(status(&*store).await.compacted, second);
    }
    assert_eq!(revision(&*store).await, second, "compaction is no write");
}

pub(super) async fn compaction_of_the_future_is_refused(suite: &Suite) {
    let store = suite.fresh().await;
    let first = put(&*store, "a", "1").await;
    let second = put(&*store, "a", "2").await;
    match store.compact(second.next()).await {
        Err(Error::Future { requested, current }) => {
            assert_eq!((requested, current), (second.next(), second));
        }
        other => panic!("the future was compacted: {other:?}"),
    }
    let old = store.range(KeyRange::all(), RangeOptions::default().at(first)).await;
    assert_eq!(old.expect("nothing was compacted").records[0].value.bytes, "1");
}

/// S8.
pub(super) async fn compaction_returns_memory(suite: &Suite) {
    let store = suite.fresh().await;
    let empty = status(&*store).await.bytes;
    if suite.capabilities().coarse_bytes {
        return space_is_used_again(&*store).await;
    }
    let value = "v".repeat(1000);
    for _ in 0..40 {
        put(&*store, "a", &value).await;
    }
    put(&*store, "b", &value).await;
    let full = status(&*store).await.bytes;
    assert!(full >= empty + 41_000, "history is counted: {full}");
    let now = delete(&*store, "b").await;
    store.compact(now).await.expect("compaction succeeds");
    let kept = status(&*store).await.bytes;
    assert!(kept >= empty + 1000 && kept < empty + 10_000, "history is freed: {kept}");
}

/// What is written over and over, and compacted, does not grow.
async fn space_is_used_again(store: &dyn Store) {
    let value = "v".repeat(1000);
    let round = async || {
        for _ in 0..40 {
            put(store, "a", &value).await;
        }
        store.compact(revision(store).await).await.expect("compaction succeeds");
    };
    for _ in 0..5 {
        round().await;
    }
    let early = status(store).await.bytes;
    for _ in 0..45 {
        round().await;
    }
    let late = status(store).await.bytes;
    // The other rounds wrote 1.8 MB.
    assert!(late < early + 400_000, "history is freed: {early}, then {late}");
}

pub(super) async fn status_starts_at_revision_one(suite: &Suite) {
    let store = suite.fresh().await;
    let status = status(&*store).await;
    assert_eq!(status.revision.0, 1);
    assert_eq!(revision(&*store).await, status.revision);
    assert_eq!((status.compacted.0, status.keys, status.watchers), (0, 0, 0));
    assert_eq!(put(&*store, "a", "1").await.0, 2);
}

pub(super) async fn status_follows_writes(suite: &Suite) {
    let store = suite.fresh().await;
    put(&*store, "a", "1").await;
    put(&*store, "a", "2").await;
    let at = put(&*store, "b", "1").await;
    let seen = status(&*store).await;
    assert_eq!((seen.revision, seen.keys), (at, 2));
    assert!(seen.bytes > 0 && seen.healthy());
    let gone = delete(&*store, "a").await;
    store.compact(at).await.expect("compaction succeeds");
    let seen = status(&*store).await;
    assert_eq!((seen.revision, seen.compacted, seen.keys), (gone, at, 1));
}
