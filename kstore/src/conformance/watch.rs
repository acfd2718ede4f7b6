//! Cases of [`Store::watch`](crate::Store::watch) about where it starts and how it ends.

use std::time::Duration;

use futures::StreamExt;

use super::Suite;
use super::subject::{delete, drain, events, next, open, put, revision, soon};
use crate::{Error, EventKind, KeyRange, Revision, Store, WatchBatch, WatchOptions};

pub(super) async fn watch_without_a_start_follows_the_present(suite: &Suite) {
    let store = suite.fresh().await;
    put(&*store, "a", "old").await;
    let mut watch = open(&*store, &KeyRange::all(), WatchOptions::default()).await;
    let created = put(&*store, "b", "new").await;
    let deleted = delete(&*store, "a").await;
    let told = events(&drain(&mut watch, deleted).await);
    let told: Vec<_> =
        told.iter().map(|event| (event.kind, event.record.modified, event.is_create())).collect();
    let expect = [(EventKind::Put, created, true), (EventKind::Delete, deleted, false)];
    assert_eq!(told, expect);
}

/// S6.
pub(super) async fn watch_in_the_future_waits(suite: &Suite) {
    let store = suite.fresh().await;
    let after = Revision(revision(&*store).await.0 + 2);
    let options = WatchOptions::default().after(after);
    let mut watch = open(&*store, &KeyRange::all(), options).await;
    let mut last = Revision(0);
    for n in 0..4 {
        last = put(&*store, format!("k{n}"), "x").await;
    }
    let told = events(&drain(&mut watch, last).await);
    let told: Vec<_> = told.iter().map(|event| event.record.modified).collect();
    assert_eq!(told, [Revision(after.0 + 1), Revision(after.0 + 2)]);
}

/// S6.
pub(super) async fn watch_at_the_compacted_revision_misses_nothing(suite: &Suite) {
    let store = suite.fresh().await;
    put(&*store, "a", "1").await;
    let at = put(&*store, "a", "2").await;
    let deleted = delete(&*store, "a").await;
    let last = put(&*store, "a", "3").await;
    store.compact(at).await.expect("compaction succeeds");
    let options = WatchOptions::default().after(at).previous();
    let mut watch = open(&*store, &KeyRange::single("a"), options).await;
    let told = events(&drain(&mut watch, last).await);
    assert_eq!(told.len(), 2);
    assert_eq!((told[0].kind, told[0].record.modified), (EventKind::Delete, deleted));
    // What was current at the compacted revision is kept, so it is still known here.
    assert_eq!(told[0].previous.as_ref().map(|r| &r.value.bytes[..]), Some(&b"2"[..]));
    assert_eq!((told[1].is_create(), told[1].record.modified), (true, last));
}

/// S5.
pub(super) async fn watch_before_the_compacted_revision_is_refused(suite: &Suite) {
    let store = suite.fresh().await;
    let first = put(&*store, "a", "1").await;
    let second = put(&*store, "a", "2").await;
    put(&*store, "a", "3").await;
    store.compact(second).await.expect("compaction succeeds");
    let options = WatchOptions::default().after(first);
    // Refused at once or by the first item: a remote backend learns of it late.
    let error = match store.watch(KeyRange::all(), options).await {
        Err(error) => error,
        Ok(mut watch) => match soon("the refusal", watch.next()).await {
            Some(Err(error)) => error,
            other => panic!("a compacted revision was watched: {other:?}"),
        },
    };
    assert!(matches!(error, Error::Compacted { compacted, .. } if compacted == second), "{error}");
}

pub(super) async fn watch_answers_progress_requests(suite: &Suite) {
    let store = suite.fresh().await;
    let mut watch = open(&*store, &KeyRange::prefix("quiet/"), WatchOptions::default()).await;
    for _ in 0..3 {
        let last = put(&*store, "loud", "x").await;
        let batches = drain(&mut watch, last).await;
        assert!(events(&batches).is_empty());
    }
}

pub(super) async fn watch_tells_progress_periodically(suite: &Suite) {
    let store = suite.fresh().await;
    let options = WatchOptions::default().progress(Duration::from_millis(200));
    let mut watch = open(&*store, &KeyRange::prefix("quiet/"), options).await;
    let last = put(&*store, "loud", "x").await;
    let mut told = 0;
    while told < 3 {
        match next(&mut watch).await {
            WatchBatch::Progress(revision) if revision >= last => told += 1,
            WatchBatch::Progress(_) => {}
            other => panic!("nothing happened there: {other:?}"),
        }
    }
}

/// S7.
pub(super) async fn slow_watcher_is_closed_and_delays_nobody(suite: &Suite) {
    let store = suite.fresh().await;
    let backlog = suite.capabilities().watch_backlog.expect("the capability is declared");
    let range = KeyRange::prefix("busy/");
    let mut slow = open(&*store, &range, WatchOptions::default()).await;
    let mut quick = open(&*store, &range, WatchOptions::default()).await;
    let mut other = open(&*store, &KeyRange::prefix("calm/"), WatchOptions::default()).await;
    let (mut written, mut told) = (Vec::new(), Vec::new());
    for n in 0..2 * backlog + 2 {
        written.push(put(&*store, format!("busy/{}", n % 7), "x").await);
        if n % (backlog / 4).max(1) == 0 {
            told.extend(events(&drain(&mut quick, written[n]).await));
        }
    }
    let calm = put(&*store, "calm/1", "x").await;
    told.extend(events(&drain(&mut quick, calm).await));
    let told: Vec<_> = told.iter().map(|event| event.record.modified).collect();
    assert_eq!(told, written, "the quick one misses nothing");
    let calm_told = events(&drain(&mut other, calm).await);
    assert_eq!(calm_told.len(), 1, "who has nothing to read is not slow");
    // The slow one gets what it gets without a gap, then the error, then the end.
    let mut got = Vec::new();
    loop {
        match soon("the end of a slow watch", slow.next()).await {
            Some(Ok(batch)) => got.extend(events(&[batch]).iter().map(|e| e.record.modified)),
            Some(Err(Error::TooSlow { .. })) => break,
            end => panic!("a slow watch ends with TooSlow, not {end:?}"),
        }
    }
    assert_eq!(got[..], written[..got.len()], "no gap before the error");
    assert!(got.len() < written.len());
    assert!(soon("the end", slow.next()).await.is_none());
}

/// S7.
pub(super) async fn dropped_watch_is_forgotten(suite: &Suite) {
    let store = suite.fresh().await;
    let ranges = [
        KeyRange::all(),
        KeyRange::prefix("a/"),
        KeyRange::prefix("a/"),
        KeyRange::single("a/1"),
        KeyRange::between("a", "b"),
    ];
    let mut watches = Vec::new();
    for range in &ranges {
        watches.push(open(&*store, range, WatchOptions::default()).await);
    }
    let last = put(&*store, "a/1", "x").await;
    for watch in &mut watches {
        assert_eq!(events(&drain(watch, last).await).len(), 1);
    }
    assert_eq!(watchers(&*store).await, ranges.len() as u64);
    watches.truncate(2);
    let settled = async {
        while watchers(&*store).await != 2 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    soon("the watches are forgotten", settled).await;
    // Those that stay are not disturbed.
    let last = put(&*store, "a/1", "y").await;
    for watch in &mut watches {
        assert_eq!(events(&drain(watch, last).await).len(), 1);
    }
}

async fn watchers(store: &dyn Store) -> u64 {
    store.status().await.expect("the status can be read").watchers
}
