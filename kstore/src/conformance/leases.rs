//! Cases of [`Leases`](crate::Leases).

use std::time::Duration;

use bytes::Bytes;

use super::Suite;
use super::subject::{Subject, drain, events, get, keys, open, put, revision};
use crate::{
    Error, EventKind, KeyRange, LeaseId, Leases, Op, Revision, Store, StoreExt, Txn, WatchOptions,
};

/// The time to live of the leases here.
const TTL: Duration = Duration::from_secs(1);

/// Past the end of a lease, with room for a backend that looks once a second.
const PAST: Duration = Duration::from_millis(2500);

fn leases(store: &Subject) -> &dyn Leases {
    store.leases().expect("the capability is declared")
}

async fn attach(store: &dyn Store, key: &'static str, lease: LeaseId) -> Revision {
    let txn = Txn::default().and_then(Op::put_with_lease(key, "x", lease));
    store.txn(txn).await.expect("an attached put succeeds").revision
}

async fn listed(store: &dyn Store) -> Vec<String> {
    keys(&store.list(KeyRange::all()).await.expect("a list succeeds").records)
}

pub(super) async fn leases_are_there_if_declared(suite: &Suite) {
    let store = suite.fresh().await;
    assert_eq!(store.leases().is_some(), suite.capabilities().leases);
}

pub(super) async fn lease_expires_with_its_keys(suite: &Suite) {
    let store = suite.fresh().await;
    put(&*store, "free", "x").await;
    let lease = leases(&store).grant(TTL).await.expect("a grant succeeds");
    attach(&*store, "a", lease).await;
    let before = attach(&*store, "b", lease).await;
    assert_eq!(get(&*store, "a").await.and_then(|record| record.lease), Some(lease));
    let mut watch = open(&*store, &KeyRange::all(), WatchOptions::default()).await;
    // The watcher hears of it although nobody asks the store anything.
    let heard = tokio::spawn(async move {
        let batch = super::subject::next(&mut watch).await;
        (events(&[batch]), watch)
    });
    tokio::time::sleep(PAST).await;
    let (told, _watch) = heard.await.expect("the watcher ends");
    assert_eq!(listed(&*store).await, ["free"]);
    let told: Vec<_> = told.iter().map(|e| (e.kind, e.record.modified)).collect();
    assert_eq!(told, [(EventKind::Delete, before.next()); 2], "both go at one revision");
    assert_eq!(revision(&*store).await, before.next());
}

pub(super) async fn lease_belongs_to_the_last_put(suite: &Suite) {
    let store = suite.fresh().await;
    let first = leases(&store).grant(TTL).await.expect("a grant succeeds");
    let second = leases(&store).grant(TTL * 100).await.expect("a grant succeeds");
    for key in ["moved", "detached", "attached", "deleted"] {
        attach(&*store, key, first).await;
    }
    attach(&*store, "moved", second).await;
    put(&*store, "detached", "x").await;
    store.delete("deleted").await.expect("a delete succeeds");
    put(&*store, "deleted", "again").await;
    leases(&store).revoke(first).await.expect("a revoke succeeds");
    assert_eq!(listed(&*store).await, ["deleted", "detached", "moved"]);
    leases(&store).revoke(second).await.expect("a revoke succeeds");
    assert_eq!(listed(&*store).await, ["deleted", "detached"]);
}

pub(super) async fn lease_is_kept_alive(suite: &Suite) {
    let store = suite.fresh().await;
    let lease = leases(&store).grant(TTL).await.expect("a grant succeeds");
    attach(&*store, "a", lease).await;
    for _ in 0..5 {
        tokio::time::sleep(TTL / 2).await;
        let granted = leases(&store).keep_alive(lease).await.expect("a renewal succeeds");
        assert_eq!(granted, TTL);
    }
    assert_eq!(listed(&*store).await, ["a"]);
    tokio::time::sleep(PAST).await;
    assert!(listed(&*store).await.is_empty());
}

pub(super) async fn lease_revoke_deletes_its_keys(suite: &Suite) {
    let store = suite.fresh().await;
    let lease = leases(&store).grant(TTL * 100).await.expect("a grant succeeds");
    attach(&*store, "a", lease).await;
    let before = attach(&*store, "b", lease).await;
    let mut watch = open(&*store, &KeyRange::all(), WatchOptions::default()).await;
    leases(&store).revoke(lease).await.expect("a revoke succeeds");
    let told = events(&drain(&mut watch, before.next()).await);
    let told: Vec<_> = told.iter().map(|e| (e.kind, e.record.modified)).collect();
    assert_eq!(told, [(EventKind::Delete, before.next()); 2]);
    assert!(listed(&*store).await.is_empty());
}

pub(super) async fn lease_lists_its_keys(suite: &Suite) {
    let store = suite.fresh().await;
    let lease = leases(&store).grant(TTL * 100).await.expect("a grant succeeds");
    for key in ["b", "a", "c"] {
        attach(&*store, key, lease).await;
    }
    put(&*store, "c", "free").await;
    let status = leases(&store).time_to_live(lease).await.expect("the lease is there");
    assert_eq!((status.lease, status.granted), (lease, TTL * 100));
    assert!(status.remaining <= TTL * 100 && status.remaining > TTL * 90);
    assert_eq!(status.keys, [Bytes::from("a"), Bytes::from("b")]);
}

pub(super) async fn unknown_lease_is_refused(suite: &Suite) {
    let store = suite.fresh().await;
    let lease = leases(&store).grant(TTL * 100).await.expect("a grant succeeds");
    leases(&store).revoke(lease).await.expect("a revoke succeeds");
    let before = revision(&*store).await;
    let gone =
        |error: Error| assert!(matches!(error, Error::LeaseNotFound { lease: l } if l == lease));
    gone(leases(&store).keep_alive(lease).await.expect_err("the lease is gone"));
    gone(leases(&store).revoke(lease).await.expect_err("the lease is gone"));
    gone(leases(&store).time_to_live(lease).await.expect_err("the lease is gone"));
    let txn =
        Txn::default().and_then(Op::put("a", "x")).and_then(Op::put_with_lease("b", "x", lease));
    gone(store.txn(txn).await.expect_err("the lease is gone"));
    assert_eq!(revision(&*store).await, before);
    assert!(listed(&*store).await.is_empty());
}

pub(super) async fn leases_are_listed_while_they_live(suite: &Suite) {
    let store = suite.fresh().await;
    let all = async || leases(&store).list().await.expect("leases are listed");
    assert!(all().await.is_empty());
    let first = leases(&store).grant(TTL).await.expect("a grant succeeds");
    let second = leases(&store).grant(TTL * 100).await.expect("a grant succeeds");
    let third = leases(&store).grant(TTL * 100).await.expect("a grant succeeds");
    let mut expect = [first, second, third];
    expect.sort_unstable();
    assert_eq!(all().await, expect);
    leases(&store).revoke(second).await.expect("a revoke succeeds");
    tokio::time::sleep(PAST).await;
    assert_eq!(all().await, [third], "one was revoked, one has expired");
}
