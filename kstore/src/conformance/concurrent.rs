//! Cases of [`Store::txn`](crate::Store::txn) by many clients at once.

use std::sync::Arc;

use bytes::Bytes;
use futures::future::join_all;
use kcore::random::Random;

use super::Suite;
use super::recording::{linear_history, yield_randomly};
use super::subject::{get, put, revision};
use crate::history::check_linearizable;
use crate::{Error, Op, Revision, StoreExt, Txn};

/// Clients that act at once.
const CLIENTS: u64 = 6;

/// Interleavings tried by each case.
const SEEDS: u64 = 12;

/// S4.
pub(super) async fn concurrent_creates_have_one_winner(suite: &Suite) {
    let store = suite.fresh().await;
    for seed in 0..SEEDS {
        let key = Bytes::from(format!("creates/{seed}"));
        let random = Random::seeded(seed);
        let clients = (0..CLIENTS).map(|client| {
            let (store, key, random) = (Arc::clone(&store.store), key.clone(), random.fork());
            tokio::spawn(async move {
                yield_randomly(&random).await;
                (client, store.create(key, client.to_string()).await)
            })
        });
        let mut winners = Vec::new();
        let mut refused = Vec::new();
        for joined in join_all(clients).await {
            match joined.expect("a client ends") {
                (client, Ok(revision)) => winners.push((client.to_string(), revision)),
                (_, Err(Error::Conflict { current, .. })) => refused.push(current),
                (client, Err(other)) => panic!("client {client} failed: {other}"),
            }
        }
        assert_eq!(winners.len(), 1, "seed {seed}: winners {winners:?}");
        let record = get(&*store, key).await.expect("the winner's record is there");
        assert_eq!(record.value.bytes, winners[0].0);
        assert_eq!((record.modified, record.version), (winners[0].1, 1));
        for current in refused {
            assert_eq!(current.as_deref(), Some(&record), "the refused are told who won");
        }
    }
}

/// S4.
pub(super) async fn concurrent_swaps_have_one_winner(suite: &Suite) {
    let store = suite.fresh().await;
    for seed in 0..SEEDS {
        let key = Bytes::from(format!("swaps/{seed}"));
        put(&*store, key.clone(), "0").await;
        let random = Random::seeded(seed);
        let clients = (0..CLIENTS).map(|_| {
            let (store, key, random) = (Arc::clone(&store.store), key.clone(), random.fork());
            tokio::spawn(async move {
                // Each adds one, retrying until its swap wins.
                let mut current = get(&*store, key.clone()).await.expect("the counter exists");
                loop {
                    yield_randomly(&random).await;
                    let text = String::from_utf8_lossy(&current.value.bytes).into_owned();
                    let next = text.parse::<u64>().expect("a number") + 1;
                    let swap =
                        store.compare_and_swap(key.clone(), current.modified, next.to_string());
                    match swap.await {
                        Ok(_) => break,
                        Err(Error::Conflict { current: Some(seen), .. }) => current = *seen,
                        Err(other) => panic!("a swap failed: {other}"),
                    }
                }
            })
        });
        for joined in join_all(clients).await {
            joined.expect("a client ends");
        }
        let record = get(&*store, key).await.expect("the counter exists");
        assert_eq!(record.value.bytes, CLIENTS.to_string(), "seed {seed}: an update was lost");
        assert_eq!(record.version, CLIENTS + 1);
    }
}

/// S3.
pub(super) async fn revision_never_decreases_or_repeats(suite: &Suite) {
    let store = suite.fresh().await;
    let mut last = revision(&*store).await;
    let mut advance = |revision: Revision, writes: bool| {
        match writes {
            true => assert!(revision > last, "{revision} does not follow {last}"),
            false => assert!(revision >= last, "{revision} is before {last}"),
        }
        last = revision;
    };
    for round in 0..20_u64 {
        advance(put(&*store, format!("revisions/{}", round % 3), "x").await, true);
        let stale = store.create("revisions/0", "x").await;
        assert!(matches!(stale, Err(Error::Conflict { .. })));
        advance(revision(&*store).await, false);
        if round % 5 == 4 {
            let txn = Txn::default().and_then(Op::delete("revisions/1"));
            advance(store.txn(txn).await.expect("a delete succeeds").revision, true);
            store.compact(revision(&*store).await).await.expect("compaction succeeds");
            advance(revision(&*store).await, false);
        }
    }
    // Of many writers at once, each gets a revision of its own.
    let writers = (0..CLIENTS).map(|client| {
        let store = Arc::clone(&store.store);
        tokio::spawn(async move {
            let mut revisions = Vec::new();
            for n in 0..10_u64 {
                let key = format!("revisions/{client}/{}", n % 2);
                revisions.push(store.put(key, "x").await.expect("a put succeeds"));
                tokio::task::yield_now().await;
            }
            revisions
        })
    });
    let mut all = Vec::new();
    for joined in join_all(writers).await {
        let revisions = joined.expect("a writer ends");
        assert!(revisions.is_sorted(), "one writer's revisions grow: {revisions:?}");
        all.extend(revisions);
    }
    let count = all.len();
    all.sort();
    all.dedup();
    assert_eq!(all.len(), count, "a revision was given twice");
    assert!(all[0] > last);
}

/// S11.
pub(super) async fn histories_are_linearizable_per_key(suite: &Suite) {
    for seed in 0..SEEDS {
        let store = suite.fresh().await;
        let history = linear_history(&store.store, seed).await;
        if let Err(violation) = check_linearizable(&history) {
            panic!("seed {seed}: {violation}");
        }
    }
}
