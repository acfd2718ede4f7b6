//! What only a memory store promises.

use std::sync::Arc;
use std::time::Duration;

use futures::StreamExt;
use kcore::random::Random;
use tokio::runtime::Builder;

use crate::history::{Action, Recorder, check_linearizable};
use crate::{
    Bytes, Error, EventKind, KeyRange, MemoryOptions, MemoryStore, Op, RangeOptions, Revision,
    Store, StoreExt, Txn, Value, WatchBatch, WatchOptions, WatchStream,
};

async fn next_events(watch: &mut WatchStream) -> Vec<Revision> {
    match watch.next().await.unwrap().unwrap() {
        WatchBatch::Events { events, .. } => events.iter().map(|e| e.record.modified).collect(),
        WatchBatch::Progress(revision) => panic!("unasked progress at {revision}"),
    }
}

/// S11: clients on real threads.
#[test]
fn histories_of_threads_are_linearizable() {
    for seed in 0..10 {
        let (store, recorder) = (MemoryStore::new(), Recorder::default());
        let random = Random::seeded(seed);
        std::thread::scope(|scope| {
            for client in 0..4 {
                let (store, recorder, random) = (store.clone(), recorder.clone(), random.fork());
                scope.spawn(move || {
                    let runtime = Builder::new_current_thread().build().unwrap();
                    runtime.block_on(act(&store, &recorder, &random, client));
                });
            }
        });
        check_linearizable(&recorder.operations()).unwrap();
    }
}

async fn act(store: &MemoryStore, recorder: &Recorder, random: &Random, client: usize) {
    for n in 0..100 {
        let key = Bytes::from(format!("k{}", random.below(4)));
        let value = Bytes::from(format!("{client}.{n}"));
        let called = recorder.tick();
        match random.below(3) {
            0 => {
                store.put(key.clone(), value.clone()).await.unwrap();
                recorder.returned(key, called, Action::Write(Some(value)));
            }
            1 => match store.create(key.clone(), value.clone()).await {
                Ok(_) => {
                    let swap = Action::Swap { expected: None, value: Some(value) };
                    recorder.returned(key, called, swap);
                }
                Err(Error::Conflict { current, .. }) => {
                    let seen = current.map(|record| record.value.bytes);
                    recorder.returned(key, called, Action::Refused { expected: None, seen });
                }
                Err(other) => panic!("{other}"),
            },
            _ => {
                let seen = store.get(key.clone()).await.unwrap().map(|record| record.value.bytes);
                recorder.returned(key, called, Action::Read(seen));
            }
        }
    }
}

/// S6: watchers on other threads than the writer.
#[test]
fn watchers_on_threads_miss_nothing() {
    let store = MemoryStore::new();
    let last = Revision(1 + 4000);
    std::thread::scope(|scope| {
        for after in [1, 1, 700] {
            let store = store.clone();
            scope.spawn(move || {
                Builder::new_current_thread().enable_time().build().unwrap().block_on(async {
                    let options = WatchOptions::default().after(Revision(after));
                    let mut watch = store.watch(KeyRange::prefix("k"), options).await.unwrap();
                    let mut told = Vec::new();
                    while told.last() != Some(&last) {
                        told.extend(next_events(&mut watch).await);
                    }
                    assert_eq!(told, (after + 1..=last.0).map(Revision).collect::<Vec<_>>());
                });
            });
        }
        Builder::new_current_thread().build().unwrap().block_on(async {
            for n in 0..4000 {
                store.put(format!("k{}", n % 10), "x").await.unwrap();
            }
        });
    });
}

#[tokio::test]
async fn history_is_trimmed_beyond_its_bounds() {
    let options = MemoryOptions::default().retain_revisions(10);
    let store = MemoryStore::with_options(options);
    for n in 0..100 {
        store.put(format!("k{}", n % 2), "x").await.unwrap();
    }
    let status = store.status().await.unwrap();
    assert_eq!(status.compacted, Revision(status.revision.0 - 10));
    let store = MemoryStore::with_options(MemoryOptions::default().retain_bytes(10_000));
    for _ in 0..100 {
        store.put("k", vec![b'x'; 1000]).await.unwrap();
    }
    let status = store.status().await.unwrap();
    assert!(status.bytes < 12_000, "{} bytes", status.bytes);
    let store = MemoryStore::with_options(MemoryOptions::default().retain_all());
    for _ in 0..100 {
        store.put("k", "x").await.unwrap();
    }
    assert_eq!(store.status().await.unwrap().compacted, Revision(0));
}

#[tokio::test]
async fn deleted_keys_leave_nothing_after_compaction() {
    let store = MemoryStore::new();
    for n in 0..50 {
        store.put(format!("k{n}"), "x").await.unwrap();
    }
    store.delete_range(KeyRange::all()).await.unwrap();
    let now = store.revision().await.unwrap();
    store.compact(now).await.unwrap();
    let status = store.status().await.unwrap();
    assert_eq!((status.bytes, status.keys), (0, 0));
    let state = store.core.read();
    assert!(state.is_empty(), "no index keeps a trace");
}

/// S7: a healthy watcher is not harmed by compaction of what it has not read yet.
#[tokio::test]
async fn compaction_takes_nothing_from_an_open_watch() {
    let store = MemoryStore::new();
    let mut watch = store.watch(KeyRange::all(), WatchOptions::default()).await.unwrap();
    store.put("a", "1").await.unwrap();
    store.put("a", "2").await.unwrap();
    store.compact(Revision(3)).await.unwrap();
    assert_eq!(next_events(&mut watch).await, [Revision(2), Revision(3)]);
}

/// S7: bounded in bytes, too.
#[tokio::test]
async fn a_watcher_is_closed_when_too_many_bytes_wait() {
    let options = MemoryOptions::default().watch_backlog_bytes(100_000);
    let store = MemoryStore::with_options(options);
    let mut watch = store.watch(KeyRange::all(), WatchOptions::default()).await.unwrap();
    for _ in 0..200 {
        store.put("a", vec![b'x'; 1000]).await.unwrap();
    }
    assert!(matches!(watch.next().await, Some(Err(Error::TooSlow { .. }))));
    assert!(watch.next().await.is_none());
    assert_eq!(store.status().await.unwrap().watchers, 0);
}

/// S7: what all have read is not kept for them.
#[tokio::test]
async fn rings_forget_what_was_read() {
    let store = MemoryStore::new();
    let mut watch = store.watch(KeyRange::all(), WatchOptions::default()).await.unwrap();
    for _ in 0..1000 {
        store.put("a", "x").await.unwrap();
        next_events(&mut watch).await;
    }
    assert!(store.core.read().index.ring_length(&KeyRange::all()) <= 64);
}

#[tokio::test]
async fn a_watch_that_catches_up_and_is_overtaken_by_compaction_says_so() {
    let store = MemoryStore::new();
    for _ in 0..2000 {
        store.put("a", "x").await.unwrap();
    }
    let options = WatchOptions::default().after(Revision(1));
    let mut watch = store.watch(KeyRange::all(), options).await.unwrap();
    assert!(!next_events(&mut watch).await.is_empty());
    store.compact(Revision(1500)).await.unwrap();
    let error = watch.next().await.unwrap().unwrap_err();
    assert!(matches!(error, Error::Compacted { .. }), "{error}");
    assert!(watch.next().await.is_none());
}

#[tokio::test]
async fn only_watchers_of_the_range_are_woken() {
    let store = MemoryStore::new();
    let mut watch = store.watch(KeyRange::prefix("a/"), WatchOptions::default()).await.unwrap();
    let (waker, wakes) = futures_test_waker();
    let mut cx = std::task::Context::from_waker(&waker);
    assert!(watch.poll_next_unpin(&mut cx).is_pending());
    store.put("b/1", "x").await.unwrap();
    assert_eq!(wakes.count(), 0);
    store.put("a/1", "x").await.unwrap();
    store.put("a/2", "x").await.unwrap();
    assert_eq!(wakes.count(), 1, "who is awake is not woken again");
}

/// A waker that counts.
#[derive(Default)]
struct Wakes(std::sync::atomic::AtomicUsize);

impl Wakes {
    fn count(&self) -> usize {
        self.0.load(std::sync::atomic::Ordering::SeqCst)
    }
}

impl futures::task::ArcWake for Wakes {
    fn wake_by_ref(wakes: &Arc<Self>) {
        wakes.0.fetch_add(1, std::sync::atomic::Ordering::SeqCst);
    }
}

fn futures_test_waker() -> (std::task::Waker, Arc<Wakes>) {
    let wakes = Arc::new(Wakes::default());
    (futures::task::waker(Arc::clone(&wakes)), wakes)
}

#[tokio::test]
async fn attachments_travel_to_readers_and_watchers() {
    let store = MemoryStore::new();
    let mut watch = store.watch(KeyRange::all(), WatchOptions::default()).await.unwrap();
    store.put("a", Value::new("1").attach(Arc::new(1_u32))).await.unwrap();
    let read = store.get("a").await.unwrap().unwrap();
    assert_eq!(read.value.attached::<u32>().as_deref(), Some(&1));
    let batch = watch.next().await.unwrap().unwrap();
    let WatchBatch::Events { events, .. } = batch else { panic!("{batch:?}") };
    assert_eq!(events[0].record.value.attached::<u32>().as_deref(), Some(&1));
}

#[test]
fn a_store_outlives_the_runtime_that_granted_its_leases() {
    let store = MemoryStore::new();
    let leases = |store: &MemoryStore, key: &'static str| {
        let store = store.clone();
        Builder::new_current_thread().enable_time().start_paused(true).build().unwrap().block_on(
            async move {
                let lease = store.leases().unwrap().grant(Duration::from_secs(5)).await.unwrap();
                store
                    .txn(Txn::default().and_then(Op::put_with_lease(key, "x", lease)))
                    .await
                    .unwrap();
                let mut watch =
                    store.watch(KeyRange::single(key), WatchOptions::default()).await.unwrap();
                // Under paused time this waits for the lease's task alone.
                let batch = watch.next().await.unwrap().unwrap();
                let WatchBatch::Events { events, .. } = batch else { panic!("{batch:?}") };
                assert_eq!(events[0].kind, EventKind::Delete);
            },
        );
    };
    leases(&store, "a");
    // Granted in a runtime that goes away before the lease ends: operations still end it.
    let runtime = || Builder::new_current_thread().enable_time().start_paused(true).build();
    runtime().unwrap().block_on(async {
        let lease = store.leases().unwrap().grant(Duration::from_secs(1)).await.unwrap();
        let txn = Txn::default().and_then(Op::put_with_lease("b", "x", lease));
        store.txn(txn).await.unwrap();
    });
    runtime().unwrap().block_on(async {
        assert!(store.get("b").await.unwrap().is_some());
        tokio::time::sleep(Duration::from_secs(2)).await;
        assert_eq!(store.get("b").await.unwrap(), None);
    });
    leases(&store, "c");
}

#[tokio::test]
async fn a_txn_is_bounded() {
    let store = MemoryStore::new();
    let txn = Txn {
        then: vec![Op::range(KeyRange::all(), RangeOptions::default()); 5000],
        ..Txn::default()
    };
    assert!(matches!(store.txn(txn).await, Err(Error::TooLarge { what: "transaction", .. })));
    let key = vec![b'k'; 100_000];
    assert!(matches!(store.put(key, "x").await, Err(Error::TooLarge { what: "key", .. })));
}

#[tokio::test]
async fn a_busy_client_lets_others_run() {
    let store = MemoryStore::new();
    let other = tokio::spawn(async {});
    for _ in 0..1000 {
        store.put("a", "x").await.unwrap();
    }
    assert!(other.is_finished(), "a writer has a budget");
    let mut watch = store.watch(KeyRange::all(), WatchOptions::default()).await.unwrap();
    let other = tokio::spawn(async {});
    for _ in 0..1000 {
        tokio::task::unconstrained(store.put("a", "x")).await.unwrap();
        next_events(&mut watch).await;
        if other.is_finished() {
            return;
        }
    }
    panic!("a watcher never let others run");
}
