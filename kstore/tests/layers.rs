//! Layers are stores: they pass the suite, and do what they are for.

use std::sync::Arc;
use std::time::Duration;

use futures::StreamExt;
use kcore::random::Random;
use kstore::conformance::{Capabilities, suite};
use kstore::history::{Action, Recorder, check_linearizable};
use kstore::{
    Bytes, Error, Faults, FaultyStore, KeyRange, LimitedStore, Limits, MemoryOptions, MemoryStore,
    MeteredStore, Store, StoreExt, WatchBatch, WatchOptions,
};
use prometheus_client::registry::Registry;

const QUOTA: u64 = 1 << 20;
const BACKLOG: usize = 256;

fn capabilities() -> Capabilities {
    Capabilities::default().virtual_time().leases().quota(QUOTA).watch_backlog(BACKLOG)
}

fn memory() -> MemoryStore {
    let options = MemoryOptions::default().quota_bytes(QUOTA).watch_backlog(BACKLOG);
    MemoryStore::with_options(options)
}

suite!(metered_store, capabilities(), || async {
    let mut registry = Registry::default();
    let store = MeteredStore::new(memory(), &mut registry);
    (registry, store)
});

suite!(faulty_store_without_faults, capabilities(), || async {
    ((), FaultyStore::new(memory(), Random::seeded(1), Faults::default()))
});

suite!(limited_store_without_limits, capabilities(), || async {
    ((), LimitedStore::new(memory(), Limits::default()))
});

// Over a store that has limits of its own, and ones that are out of reach: here the layer's count.
suite!(limited_store, capabilities().max_value_bytes(64 << 10), || async {
    let inner = MemoryStore::with_options(MemoryOptions::default().watch_backlog(BACKLOG));
    let limits = Limits::default()
        .requests(2000.0, 100)
        .longest_wait(Duration::from_secs(60))
        .max_value_bytes(64 << 10)
        .quota_bytes(QUOTA)
        .watchers(1000);
    ((), Arc::new(LimitedStore::new(inner, limits)))
});

// Delays are no faults: a store that takes its time keeps the whole contract, and its futures are
// pending, so this is where dropping them at every poll bites.
suite!(slow_store, capabilities(), || async {
    let faults = Faults::default().delay(0.5, Duration::from_millis(3));
    ((), FaultyStore::new(memory(), Random::seeded(1), faults))
});

fn faulty(seed: u64) -> FaultyStore<MemoryStore> {
    let faults =
        Faults::default().before(0.15).after(0.15).delay(0.5, Duration::from_millis(5)).cut(0.3);
    FaultyStore::new(memory(), Random::seeded(seed), faults)
}

/// S11.
#[tokio::test(start_paused = true)]
async fn histories_stay_linearizable_under_faults() {
    let mut unknown = 0;
    for seed in 0..20 {
        let store = Arc::new(faulty(seed));
        let (recorder, random) = (Recorder::default(), Random::seeded(seed));
        let clients = (0..4).map(|client| {
            let (store, recorder, random) = (Arc::clone(&store), recorder.clone(), random.fork());
            tokio::spawn(async move {
                for n in 0..12 {
                    let key = Bytes::from(format!("k{}", random.below(2)));
                    let value = Bytes::from(format!("{client}.{n}"));
                    let called = recorder.tick();
                    if random.chance(0.5) {
                        let write = Action::Write(Some(value.clone()));
                        match store.put(key.clone(), value).await {
                            Ok(_) => recorder.returned(key, called, write),
                            Err(_) => recorder.unknown(key, called, write),
                        }
                    } else if let Ok(record) = store.get(key.clone()).await {
                        let seen = record.map(|record| record.value.bytes);
                        recorder.returned(key, called, Action::Read(seen));
                    }
                }
            })
        });
        futures::future::join_all(clients).await.into_iter().for_each(|joined| joined.unwrap());
        let history = recorder.operations();
        unknown += history.iter().filter(|operation| operation.returned.is_none()).count();
        check_linearizable(&history).unwrap_or_else(|violation| panic!("{seed}: {violation}"));
    }
    assert!(unknown > 50, "faults happened");
}

#[tokio::test(start_paused = true)]
async fn requests_beyond_the_rate_wait_in_order_and_then_are_refused() {
    let limits = Limits::default().requests(100.0, 10).longest_wait(Duration::from_millis(500));
    let store = LimitedStore::new(memory(), limits);
    let start = tokio::time::Instant::now();
    let puts = (0..100).map(|n| store.put(format!("k{n}"), "1"));
    let results = futures::future::join_all(puts).await;
    // Ten at once, fifty in the half second that is waited for at most.
    let taken = results.iter().take_while(|result| result.is_ok()).count();
    assert_eq!(taken, 60);
    assert_eq!(start.elapsed().as_millis(), 500);
    let refused = results.last().unwrap().as_ref().unwrap_err();
    assert!(matches!(refused, Error::Busy { .. }) && !refused.is_ambiguous(), "{refused}");
    assert_eq!(store.inner().status().await.unwrap().keys, 60);
    let revisions: Vec<_> = results.into_iter().flatten().collect();
    assert!(revisions.is_sorted(), "in the order in which they came");
}

#[tokio::test]
async fn watches_beyond_the_limit_are_refused_until_one_closes() {
    let store = LimitedStore::new(memory(), Limits::default().watchers(2));
    let open = || store.watch(KeyRange::all(), WatchOptions::default());
    let (first, _second) = (open().await.unwrap(), open().await.unwrap());
    let refused = open().await.unwrap_err();
    assert!(refused.to_string().contains("too many watches are open"), "{refused}");
    drop(first);
    open().await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_watch_that_is_cut_resumes_without_a_gap() {
    let store = faulty(3);
    let mut seen = store.inner().revision().await.unwrap();
    let (mut told, mut written, mut cuts) = (Vec::new(), Vec::new(), 0);
    for n in 0..100 {
        written.push(store.inner().put(format!("k{}", n % 3), "x").await.unwrap());
        if n % 10 != 9 {
            continue;
        }
        while seen < written[n] {
            let options = WatchOptions::default().after(seen);
            let Ok(mut watch) = store.watch(KeyRange::all(), options).await else { continue };
            match watch.next().await.unwrap() {
                Ok(WatchBatch::Events { revision, events }) => {
                    told.extend(events.iter().map(|event| event.record.modified));
                    seen = revision;
                }
                Ok(WatchBatch::Progress(_)) => {}
                Err(error) => {
                    assert!(matches!(error, Error::Unavailable { .. }));
                    assert!(watch.next().await.is_none(), "a cut watch ends");
                    cuts += 1;
                }
            }
        }
    }
    assert_eq!(told, written);
    assert!(cuts > 0, "watches were cut");
}

#[tokio::test(start_paused = true)]
async fn one_seed_gives_one_sequence_of_faults() {
    let mut runs = Vec::new();
    for _ in 0..2 {
        let store = faulty(9);
        let mut outcomes = Vec::new();
        for n in 0..50 {
            outcomes.push(store.put("k", n.to_string()).await.is_ok());
        }
        runs.push(outcomes);
    }
    assert_eq!(runs[0], runs[1]);
    assert!(runs[0].contains(&true) && runs[0].contains(&false));
}

#[tokio::test]
async fn metrics_tell_what_the_store_did() {
    let mut registry = Registry::default();
    let store = MeteredStore::new(memory(), &mut registry);
    store.put("a", "1").await.unwrap();
    store.put("b", "1").await.unwrap();
    store.create("a", "2").await.unwrap_err();
    store.delete("b").await.unwrap();
    store.get("a").await.unwrap();
    store.compact(kstore::Revision(99)).await.unwrap_err();
    store.compact(kstore::Revision(3)).await.unwrap();
    store.status().await.unwrap();
    let mut watch = store.watch(KeyRange::all(), WatchOptions::default()).await.unwrap();
    store.put("c", "1").await.unwrap();
    watch.next().await.unwrap().unwrap();
    let text = |registry: &Registry| {
        let mut text = String::new();
        prometheus_client::encoding::text::encode(&mut text, registry).unwrap();
        text
    };
    let seen = text(&registry);
    for line in [
        "store_mvcc_put_total 3",
        "store_mvcc_delete_total 1",
        "store_mvcc_txn_conflicts_total 1",
        "store_mvcc_range_keys_total 1",
        "store_watch_events_total 1",
        "store_client_received_bytes_total 8",
        "store_client_sent_bytes_total 4",
        "store_watchers 1",
        "store_mvcc_current_revision 5",
        "store_mvcc_compact_revision 3",
        "store_mvcc_keys_total 1",
        "store_request_duration_seconds_count{operation=\"txn\"} 5",
        "store_request_errors_total{operation=\"compact\",reason=\"future\"} 1",
    ] {
        assert!(seen.lines().any(|seen| seen == line), "{line} is not in\n{seen}");
    }
    drop(watch);
    assert!(text(&registry).lines().any(|seen| seen == "store_watchers 0"));
}
