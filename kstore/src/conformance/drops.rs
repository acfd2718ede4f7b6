//! Cases of futures that are dropped: at every poll, until one is left to end.

use std::future::poll_fn;
use std::pin::pin;
use std::task::Poll;
use std::time::Duration;

use bytes::Bytes;
use futures::StreamExt;

use super::Suite;
use super::subject::{drain, events, get, open, put, revision, soon};
use crate::{KeyRange, Op, RangeOptions, Revision, StoreExt, Txn, WatchOptions};

/// A future that is pending this often is taken to be stuck.
const MOST_POLLS: usize = 1000;

/// Polls `future` until it ends or was pending `polls` times, and drops it.
async fn poll_at_most<T>(future: impl Future<Output = T>, polls: usize) -> Option<T> {
    let mut future = pin!(future);
    let mut left = polls;
    poll_fn(|cx| {
        if left == 0 {
            return Poll::Ready(None);
        }
        left -= 1;
        match future.as_mut().poll(cx) {
            Poll::Ready(output) => Poll::Ready(Some(output)),
            Poll::Pending if left == 0 => Poll::Ready(None),
            Poll::Pending => Poll::Pending,
        }
    })
    .await
}

/// Lets what a dropped future may have left behind come to its end.
async fn settle() {
    tokio::time::sleep(Duration::from_millis(5)).await;
}

pub(super) async fn dropped_range_changes_nothing(suite: &Suite) {
    let store = suite.fresh().await;
    put(&*store, "a", "1").await;
    let page = store.list(KeyRange::all()).await.expect("a list succeeds");
    for polls in 0..MOST_POLLS {
        let read = store.range(KeyRange::all(), RangeOptions::default());
        let read = poll_at_most(read, polls).await;
        let again = soon("a read after a dropped read", store.list(KeyRange::all())).await;
        assert_eq!(again.expect("a list succeeds"), page);
        if read.is_some() {
            return;
        }
    }
    panic!("a range read never ended");
}

pub(super) async fn dropped_txn_is_whole_or_absent(suite: &Suite) {
    let store = suite.fresh().await;
    for polls in 0..MOST_POLLS {
        let keys = [Bytes::from(format!("{polls}/a")), Bytes::from(format!("{polls}/b"))];
        let txn = Txn::default()
            .and_then(Op::put(keys[0].clone(), "x"))
            .and_then(Op::put(keys[1].clone(), "x"));
        let done = poll_at_most(store.txn(txn), polls).await;
        settle().await;
        let [a, b] = [get(&*store, keys[0].clone()).await, get(&*store, keys[1].clone()).await];
        let (a, b) = (a.map(|record| record.modified), b.map(|record| record.modified));
        assert_eq!(a, b, "dropped after {polls} polls a txn is half done");
        if let Some(result) = done {
            assert_eq!(a, Some(result.expect("the txn succeeds").revision));
            return;
        }
        // The store goes on.
        soon("a write after a dropped txn", put(&*store, "next", "x")).await;
    }
    panic!("a txn never ended");
}

pub(super) async fn dropped_compaction_is_harmless(suite: &Suite) {
    let store = suite.fresh().await;
    for polls in 0..MOST_POLLS {
        put(&*store, "a", "old").await;
        let at = put(&*store, "a", &polls.to_string()).await;
        let done = poll_at_most(store.compact(at), polls).await;
        settle().await;
        let record = get(&*store, "a").await.expect("the present is kept");
        assert_eq!((record.modified, &record.value.bytes[..]), (at, polls.to_string().as_bytes()));
        if done.is_some() {
            let status = store.status().await.expect("the status can be read");
            assert_eq!(status.compacted, at);
            return;
        }
    }
    panic!("a compaction never ended");
}

pub(super) async fn dropped_next_loses_nothing(suite: &Suite) {
    let store = suite.fresh().await;
    let after = revision(&*store).await;
    let options = WatchOptions::default().after(after);
    let mut watch = open(&*store, &KeyRange::prefix("k/"), options).await;
    let (mut written, mut told) = (Vec::new(), Vec::new());
    for n in 0..60_usize {
        written.push(put(&*store, format!("k/{}", n % 4), "x").await);
        if n % 3 == 0 {
            tokio::task::yield_now().await;
        }
        if let Some(batch) = poll_at_most(watch.next(), n % 5).await {
            told.push(batch.expect("the watch goes on").expect("the watch is healthy"));
        }
    }
    let last = written.last().copied().unwrap_or_default();
    told.extend(drain(&mut watch, last).await);
    let told: Vec<Revision> = events(&told).iter().map(|event| event.record.modified).collect();
    assert_eq!(told, written);
}
