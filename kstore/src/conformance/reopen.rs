//! Cases of stores that are closed and opened again.

use std::time::Duration;

use super::Suite;
use super::subject::{Subject, delete, drain, events, get, open, put, revision};
use crate::{
    Error, KeyRange, Op, RangeOptions, Record, Revision, StoreExt, Txn, WatchOptions, WatchStream,
};

async fn all(store: &Subject) -> (Revision, Vec<Record>) {
    let page = store.list(KeyRange::all()).await.expect("a list succeeds");
    (page.revision, page.records)
}

/// Some history: keys that were written again, deleted, written several at once.
async fn fill(store: &Subject) {
    for n in 0..60 {
        put(&**store, format!("reopen/{}", n % 7), &format!("{n}").repeat(n)).await;
    }
    delete(&**store, "reopen/3").await;
    let both = Txn::default().and_then(Op::put("reopen/x", "1")).and_then(Op::put("reopen/y", ""));
    store.txn(both).await.expect("a txn succeeds");
}

/// S1, S12.
pub(super) async fn acknowledged_writes_survive_reopening(suite: &Suite) {
    let mut store = suite.fresh().await;
    for _ in 0..3 {
        fill(&store).await;
        let before = all(&store).await;
        store = suite.reopen(store).await;
        let after = all(&store).await;
        assert_eq!(after.1, before.1);
        assert!(after.0 >= before.0, "{} is before {}", after.0, before.0);
    }
}

/// S3.
pub(super) async fn revision_goes_on_after_reopening(suite: &Suite) {
    let mut store = suite.fresh().await;
    let mut last = revision(&*store).await;
    for n in 0..4 {
        let written = put(&*store, "reopen/a", &n.to_string()).await;
        assert!(written > last, "{written} does not follow {last}");
        last = written;
        if n % 2 == 0 {
            last = store.put("reopen/b", "x").await.expect("a put succeeds");
            delete(&*store, "reopen/b").await;
            last = last.next();
        }
        store = suite.reopen(store).await;
        let now = revision(&*store).await;
        assert!(now >= last, "{now} is before {last}");
    }
    let stale = store.create("reopen/a", "x").await;
    assert!(matches!(stale, Err(Error::Conflict { .. })), "{stale:?}");
}

/// S6.
pub(super) async fn watch_after_reopening_misses_nothing(suite: &Suite) {
    let store = suite.fresh().await;
    let before = put(&*store, "reopen/a", "1").await;
    put(&*store, "reopen/a", "2").await;
    let store = suite.reopen(store).await;
    let now = revision(&*store).await;
    let options = WatchOptions::default().after(before);
    let mut watch: WatchStream = match store.watch(KeyRange::all(), options).await {
        Ok(watch) => watch,
        Err(Error::Compacted { .. }) => {
            open(&*store, &KeyRange::all(), WatchOptions::default().after(now)).await
        }
        Err(error) => panic!("a watch after reopening opens or is too old: {error}"),
    };
    let last = put(&*store, "reopen/a", "3").await;
    let told = events(&drain(&mut watch, last).await);
    let told: Vec<_> = told.iter().map(|event| event.record.value.bytes.clone()).collect();
    assert!(told == ["2", "3"] || told == ["3"], "{told:?}");
}

/// S5.
pub(super) async fn compaction_survives_reopening(suite: &Suite) {
    let store = suite.fresh().await;
    let first = put(&*store, "reopen/a", "1").await;
    put(&*store, "reopen/a", "2").await;
    let third = put(&*store, "reopen/a", "3").await;
    store.compact(third).await.expect("compaction succeeds");
    let store = suite.reopen(store).await;
    let old = store.range(KeyRange::all(), RangeOptions::default().at(first)).await;
    assert!(matches!(old, Err(Error::Compacted { .. })), "{old:?}");
    let record = get(&*store, "reopen/a").await.expect("the present is there");
    assert_eq!((record.modified, record.version), (third, 3));
}

/// S1.
pub(super) async fn leases_survive_reopening(suite: &Suite) {
    let store = suite.fresh().await;
    let leases = store.leases().expect("the capability is declared");
    let lease = leases.grant(Duration::from_secs(600)).await.expect("a grant succeeds");
    for key in ["reopen/a", "reopen/b"] {
        let txn = Txn::default().and_then(Op::put_with_lease(key, "x", lease));
        store.txn(txn).await.expect("an attached put succeeds");
    }
    let store = suite.reopen(store).await;
    let leases = store.leases().expect("the capability is declared");
    let left = leases.time_to_live(lease).await.expect("the lease is there");
    assert_eq!(left.keys, ["reopen/a", "reopen/b"]);
    let other = leases.grant(Duration::from_secs(600)).await.expect("a grant succeeds");
    assert_ne!(other, lease, "no lease is granted twice");
    leases.revoke(lease).await.expect("it can be revoked");
    assert!(all(&store).await.1.is_empty());
}
