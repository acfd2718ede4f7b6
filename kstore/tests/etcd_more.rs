//! What the store over etcd owes beyond the suite: pages, failing members, certificates, watches
//! that move.
#![cfg(feature = "etcd")]
#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "a test says what it did")]

mod real_etcd;

use std::time::Duration;

use futures::StreamExt;
use kstore::{
    Compare, Error, EtcdOptions, EtcdStore, KeyRange, Op, Operator, RangeOptions, Revision, Store,
    StoreExt, Txn, WatchBatch, WatchOptions,
};
use real_etcd::Etcd;

/// How long a test waits for what has to come.
const PATIENCE: Duration = Duration::from_secs(30);

async fn soon<T>(future: impl Future<Output = T>) -> T {
    tokio::time::timeout(PATIENCE, future).await.expect("it comes in time")
}

async fn one() -> Option<(Etcd, EtcdStore)> {
    let etcd = Etcd::one().await?;
    let store = EtcdStore::connect(etcd.options()).await.unwrap();
    Some((etcd, store))
}

/// The error with everything below it.
fn whole(error: &Error) -> String {
    let mut text = error.to_string();
    let mut source = std::error::Error::source(error);
    while let Some(error) = source {
        text += &format!(": {error}");
        source = error.source();
    }
    text
}

/// S5.
#[tokio::test]
async fn ranges_larger_than_a_message_come_in_pages_of_one_revision() {
    let Some((_etcd, store)) = one().await else { return };
    let value = vec![b'x'; 300 << 10];
    for n in 0..40 {
        store.put(format!("big/{n:02}"), value.clone()).await.unwrap();
    }
    for n in 0..1200 {
        store.put(format!("small/{n:04}"), "x").await.unwrap();
    }
    let page = store.list(KeyRange::all()).await.unwrap();
    assert_eq!((page.records.len(), page.count, page.more), (1240, 1240, false));
    assert!(page.records.is_sorted_by(|a, b| a.key < b.key));
    assert!(page.records[..40].iter().all(|record| record.value.bytes == value));
    let limited = RangeOptions::default().limit(1100);
    let page = store.range(KeyRange::prefix("small/"), limited).await.unwrap();
    assert_eq!((page.records.len(), page.count, page.more), (1100, 1200, true));
    let before = page.revision;
    store.put("small/0000", "y").await.unwrap();
    let old = store.range(KeyRange::all(), RangeOptions::default().at(before)).await.unwrap();
    assert_eq!((old.records.len(), old.revision), (1240, before));
    assert_eq!(old.records[40].value.bytes, "x");
}

/// etcd says of no absent key that its value compares; the contract says it is empty.
#[tokio::test]
async fn values_of_absent_keys_compare_as_empty_ones() {
    let Some((_etcd, store)) = one().await else { return };
    store.put("there", "x").await.unwrap();
    for (compare, expect) in [
        (Compare::value("absent", ""), true),
        (Compare::value("absent", "x").operator(Operator::NotEqual), true),
        (Compare::value("absent", "x").operator(Operator::Less), true),
        (Compare::value("absent", "x"), false),
        (Compare::value("", "x").operator(Operator::Less), true),
        (Compare::value("there", "y").operator(Operator::Less), true),
        (Compare::value("there", "x").operator(Operator::NotEqual), false),
    ] {
        let txn = Txn::default()
            .when(compare.clone())
            .and_then(Op::put("k", "then"))
            .or_else(Op::delete("k"));
        let result = store.txn(txn).await.unwrap();
        assert_eq!(result.succeeded, expect, "{compare:?}");
        let left = store.get("k").await.unwrap().is_some();
        assert_eq!((left, result.current.len()), (expect, usize::from(!expect)));
    }
}

#[tokio::test]
async fn etcds_own_limits_are_errors_of_the_contract() {
    let Some((etcd, _)) = one().await else { return };
    let options = etcd.options().max_value_bytes(usize::MAX).max_txn_ops(usize::MAX);
    let store = EtcdStore::connect(options).await.unwrap();
    let large = store.put("k", vec![0; 1_600_000]).await.unwrap_err();
    assert!(matches!(large, Error::TooLarge { what: "transaction", .. }), "{large:?}");
    let mut txn = Txn::default();
    for n in 0..200 {
        txn = txn.and_then(Op::put(format!("{n}"), "x"));
    }
    let many = store.txn(txn).await.unwrap_err();
    assert!(matches!(many, Error::TooLarge { what: "transaction", size: 200, .. }), "{many:?}");
    assert_eq!(store.revision().await.unwrap(), Revision::FIRST);
}

/// S8.
#[tokio::test]
async fn over_quota_writes_fail_until_room_is_made_and_the_alarm_is_disarmed() {
    let Some(etcd) = Etcd::one_with(&["--quota-backend-bytes", "1048576"]).await else { return };
    let store = EtcdStore::connect(etcd.options()).await.unwrap();
    let mut written = 0;
    let error = loop {
        match store.put("k", vec![b'x'; 100_000]).await {
            Ok(_) => written += 1,
            Err(error) => break error,
        }
        assert!(written < 100, "the quota was passed");
    };
    assert!(matches!(error, Error::OverQuota { quota: 1_048_576, .. }), "{error:?}");
    assert!(store.get("k").await.unwrap().is_some(), "reads work");
    store.delete("k").await.unwrap();
    store.compact(store.revision().await.unwrap()).await.unwrap();
    store.defragment().await.unwrap();
    store.disarm().await.unwrap();
    store.put("k", vec![b'x'; 100_000]).await.unwrap();
}

#[tokio::test]
async fn a_wrong_endpoint_is_named() {
    let quick = |endpoint: &str| {
        let patience = Duration::from_millis(300);
        EtcdOptions::new([endpoint]).timeout(patience).attempt_timeout(patience)
    };
    // Somebody listens there, but is no etcd.
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let mute = format!("http://{}", listener.local_addr().unwrap());
    for endpoint in ["http://127.0.0.1:9", "https://127.0.0.1:9", "127.0.0.1:9", "ftp://x:1", &mute]
    {
        let error = EtcdStore::connect(quick(endpoint)).await.unwrap_err();
        assert!(matches!(error, Error::Unavailable { .. }), "{error:?}");
        assert!(whole(&error).contains(endpoint), "{}", whole(&error));
    }
}

#[tokio::test]
async fn status_and_health_tell_of_the_disk() {
    let Some((etcd, store)) = one().await else { return };
    store.put("a", "1").await.unwrap();
    let status = store.status().await.unwrap();
    assert!(status.sync_latency.is_some() && status.bytes > 0);
    assert_eq!((status.leader, status.quorum), (None, None), "a cluster of one");
    let health = store.health().await.unwrap();
    assert!(health.sync_is_measured && health.sync_p99.is_some(), "{health:?}");
    assert!(health.version.starts_with("3."), "{health:?}");
    // Whatever this disk does, a limit of nothing is passed and warned of.
    let strict = etcd.options().slow_sync(Duration::ZERO);
    let store = EtcdStore::connect(strict).await.unwrap();
    let mut registry = prometheus_client::registry::Registry::default();
    store.register(&mut registry);
    assert!(store.health().await.unwrap().slow);
    let mut text = String::new();
    prometheus_client::encoding::text::encode(&mut text, &registry).unwrap();
    assert!(text.lines().any(|line| line == "etcd_sync_slow 1"), "{text}");
    assert!(text.contains("etcd_sync_p99_seconds"), "{text}");
}

/// S6.
#[tokio::test]
async fn a_watch_moves_to_another_member_without_a_gap() {
    let Some(mut etcd) = Etcd::cluster(3).await else { return };
    let options = etcd.options().timeout(Duration::from_secs(20));
    let store = EtcdStore::connect(options).await.unwrap();
    let range = KeyRange::prefix("k/");
    let options = WatchOptions::default().previous();
    let mut watch = store.watch(range.clone(), options).await.unwrap();
    let (mut written, mut told) = (Vec::new(), Vec::new());
    for round in 0..3 {
        for n in 0..20 {
            let put = async {
                loop {
                    // Whether a write that failed was done is unknown, so each has a key.
                    match store.put(format!("k/{round}/{n}"), "x").await {
                        Ok(revision) => break revision,
                        Err(error) => assert!(error.is_ambiguous(), "{error:?}"),
                    }
                }
            };
            written.push(soon(put).await);
        }
        let last = *written.last().unwrap();
        while told.last() < Some(&last) {
            let batch = soon(watch.next()).await.unwrap().unwrap();
            if let WatchBatch::Events { events, .. } = batch {
                told.extend(events.iter().map(|event| event.record.modified));
            }
        }
        etcd.kill(round);
        etcd.spawn(round);
        etcd.wait().await;
    }
    assert!(told.is_sorted_by(|a, b| a < b), "in order, once: {told:?}");
    assert!(written.iter().all(|revision| told.contains(revision)), "nothing is missing");
    let all = store.list(range).await.unwrap();
    assert_eq!(all.count, 60);
}

/// S11.
#[tokio::test]
async fn without_a_majority_writes_fail_clearly_and_come_back_by_themselves() {
    let Some(mut etcd) = Etcd::cluster(3).await else { return };
    let options = etcd.options().timeout(Duration::from_secs(2));
    let store = EtcdStore::connect(options.attempt_timeout(Duration::from_secs(1))).await.unwrap();
    store.put("a", "1").await.unwrap();
    etcd.kill(0);
    etcd.kill(1);
    let error = soon(async {
        loop {
            if let Err(error) = store.put("a", "2").await {
                break error;
            }
        }
    });
    let error = error.await;
    assert!(error.is_ambiguous() && whole(&error).contains("etcd at http://"), "{error:?}");
    let leaderless = soon(async {
        loop {
            if let Ok(status) = store.status().await
                && status.quorum == Some(false)
            {
                break status;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    });
    assert!(!leaderless.await.healthy());
    etcd.spawn(0);
    let back = soon(async {
        loop {
            if let Ok(revision) = store.put("a", "3").await {
                break revision;
            }
        }
    });
    let back = back.await;
    assert_eq!(store.get("a").await.unwrap().unwrap().modified, back);
    let status = store.status().await.unwrap();
    assert_eq!((status.quorum, status.leader.is_some()), (Some(true), true));
}
