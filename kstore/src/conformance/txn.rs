//! Cases of [`Store::txn`](crate::Store::txn) by one client.

use super::Suite;
use super::subject::{get, keys, put, revision};
use crate::{
    Compare, Error, KeyRange, Op, OpResult, Operator, RangeOptions, Revision, Store, StoreExt, Txn,
    TxnResult,
};

async fn commit(store: &dyn Store, txn: Txn) -> TxnResult {
    store.txn(txn).await.expect("the txn succeeds")
}

/// S3.
pub(super) async fn txn_writes_at_one_revision(suite: &Suite) {
    let store = suite.fresh().await;
    put(&*store, "old/1", "x").await;
    let before = put(&*store, "old/2", "x").await;
    let txn = Txn::default()
        .and_then(Op::put("a", "1"))
        .and_then(Op::delete_range(KeyRange::prefix("old/")))
        .and_then(Op::put("b", "2"));
    let result = commit(&*store, txn).await;
    assert!(result.succeeded);
    assert_eq!(result.revision, before.next());
    assert_eq!(revision(&*store).await, before.next());
    let page = store.list(KeyRange::all()).await.expect("a list succeeds");
    assert_eq!(keys(&page.records), ["a", "b"]);
    assert!(page.records.iter().all(|record| record.modified == result.revision));
}

pub(super) async fn txn_without_effect_keeps_the_revision(suite: &Suite) {
    let store = suite.fresh().await;
    let before = put(&*store, "a", "1").await;
    let txn = Txn::default()
        .and_then(Op::delete("absent"))
        .and_then(Op::delete_range(KeyRange::prefix("none/")))
        .and_then(Op::range(KeyRange::all(), RangeOptions::default()));
    let result = commit(&*store, txn).await;
    assert_eq!((result.succeeded, result.revision), (true, before));
    assert_eq!(result.responses[0], OpResult::Delete { deleted: vec![] });
    assert_eq!(commit(&*store, Txn::default()).await.revision, before);
    assert_eq!(revision(&*store).await, before);
}

pub(super) async fn txn_keeps_the_books(suite: &Suite) {
    let store = suite.fresh().await;
    let first = commit(&*store, Txn::default().and_then(Op::put("a", "1"))).await;
    assert_eq!(first.responses, [OpResult::Put { previous: None }]);
    let created = get(&*store, "a").await.expect("a exists");
    let books = (created.created, created.modified, created.version, created.lease);
    assert_eq!(books, (first.revision, first.revision, 1, None));
    let second = commit(&*store, Txn::default().and_then(Op::put("a", "2"))).await;
    assert_eq!(second.responses, [OpResult::Put { previous: Some(created) }]);
    let updated = get(&*store, "a").await.expect("a exists");
    let books = (updated.created, updated.modified, updated.version, &updated.value.bytes[..]);
    assert_eq!(books, (first.revision, second.revision, 2, &b"2"[..]));
    let gone = commit(&*store, Txn::default().and_then(Op::delete("a"))).await;
    assert_eq!(gone.responses, [OpResult::Delete { deleted: vec![updated] }]);
    assert_eq!(get(&*store, "a").await, None);
    let again = put(&*store, "a", "3").await;
    let record = get(&*store, "a").await.expect("a exists");
    assert_eq!((record.created, record.modified, record.version), (again, again, 1));
}

pub(super) async fn txn_reads_its_own_writes(suite: &Suite) {
    let store = suite.fresh().await;
    put(&*store, "a", "1").await;
    let read = || Op::range(KeyRange::all(), RangeOptions::default());
    let txn = Txn::default()
        .and_then(read())
        .and_then(Op::put("b", "2"))
        .and_then(Op::delete("a"))
        .and_then(read());
    let result = commit(&*store, txn).await;
    let seen = |at: usize| match &result.responses[at] {
        OpResult::Range(page) => keys(&page.records),
        other => panic!("a range answers with a page, not {other:?}"),
    };
    assert_eq!((seen(0), seen(3)), (vec!["a".to_owned()], vec!["b".to_owned()]));
}

/// S4.
pub(super) async fn txn_with_a_failed_compare_changes_nothing(suite: &Suite) {
    let store = suite.fresh().await;
    let old = put(&*store, "a", "1").await;
    let now = put(&*store, "a", "2").await;
    let txn = Txn::default()
        .when(Compare::modified("a", old))
        .when(Compare::absent("b"))
        .and_then(Op::put("a", "3"))
        .and_then(Op::put("b", "3"));
    let result = commit(&*store, txn.clone()).await;
    assert_eq!((result.succeeded, result.revision), (false, now));
    assert_eq!(result.current, [get(&*store, "a").await, None]);
    assert!(result.responses.is_empty());
    let page = store.list(KeyRange::all()).await.expect("a list succeeds");
    assert_eq!((page.revision, keys(&page.records)), (now, vec!["a".to_owned()]));
    assert_eq!(page.records[0].value.bytes, "2");
    // The other branch is done instead.
    let result = commit(&*store, txn.or_else(Op::put("c", "x"))).await;
    assert_eq!((result.succeeded, result.revision), (false, now.next()));
    assert_eq!(result.responses, [OpResult::Put { previous: None }]);
    match store.delete_if("a", old).await {
        Err(Error::Conflict { current: Some(current), .. }) => assert_eq!(current.modified, now),
        other => panic!("a stale delete was not refused: {other:?}"),
    }
}

pub(super) async fn txn_compares_each_target(suite: &Suite) {
    use Operator::{Equal, Greater, Less, NotEqual};
    let store = suite.fresh().await;
    let created = put(&*store, "k", "a").await;
    let modified = put(&*store, "k", "b").await;
    let (zero, later) = (Revision(0), modified.next());
    let table = [
        (Compare::version("k", 2), [true, false, false, false]),
        (Compare::version("k", 1), [false, true, false, true]),
        (Compare::version("k", 3), [false, true, true, false]),
        (Compare::created("k", created), [true, false, false, false]),
        (Compare::created("k", modified), [false, true, true, false]),
        (Compare::modified("k", modified), [true, false, false, false]),
        (Compare::modified("k", created), [false, true, false, true]),
        (Compare::modified("k", later), [false, true, true, false]),
        (Compare::value("k", "b"), [true, false, false, false]),
        (Compare::value("k", "a"), [false, true, false, true]),
        (Compare::value("k", "ba"), [false, true, true, false]),
        (Compare::absent("none"), [true, false, false, false]),
        (Compare::version("none", 1), [false, true, true, false]),
        (Compare::created("none", zero), [true, false, false, false]),
        (Compare::modified("none", zero), [true, false, false, false]),
        (Compare::modified("none", created), [false, true, true, false]),
    ];
    for (compare, holds) in table {
        for (operator, holds) in [Equal, NotEqual, Less, Greater].into_iter().zip(holds) {
            let compare = compare.clone().operator(operator);
            let result = commit(&*store, Txn::default().when(compare.clone())).await;
            assert_eq!(result.succeeded, holds, "{compare:?}");
        }
    }
}

pub(super) async fn txn_refuses_duplicate_keys(suite: &Suite) {
    let store = suite.fresh().await;
    let before = put(&*store, "a/1", "x").await;
    let refused = [
        vec![Op::put("k", "1"), Op::put("k", "2")],
        vec![Op::put("a/2", "1"), Op::delete_range(KeyRange::prefix("a/"))],
        vec![Op::delete("k"), Op::put("k", "1")],
    ];
    for ops in refused {
        let txn = Txn { then: ops.clone(), ..Txn::default() };
        let result = store.txn(txn).await;
        assert!(matches!(result, Err(Error::DuplicateKey { .. })), "{ops:?}: {result:?}");
        // The branch that is not taken is checked, too.
        let txn = Txn { otherwise: ops.clone(), ..Txn::default() };
        let result = store.txn(txn).await;
        assert!(matches!(result, Err(Error::DuplicateKey { .. })), "{ops:?}: {result:?}");
    }
    assert_eq!(revision(&*store).await, before);
    let twice = Txn::default().and_then(Op::delete("a/1")).and_then(Op::delete("a/1"));
    let result = commit(&*store, twice).await;
    assert_eq!(result.responses[1], OpResult::Delete { deleted: vec![] });
}

pub(super) async fn txn_refuses_the_empty_key(suite: &Suite) {
    let store = suite.fresh().await;
    let before = revision(&*store).await;
    let txn = Txn::default().and_then(Op::put("a", "1")).and_then(Op::put("", "1"));
    assert!(matches!(store.txn(txn).await, Err(Error::EmptyKey)));
    assert_eq!(revision(&*store).await, before);
    assert_eq!(get(&*store, "a").await, None);
}

pub(super) async fn txn_refuses_values_that_are_too_large(suite: &Suite) {
    let store = suite.fresh().await;
    let limit = suite.capabilities().max_value_bytes.expect("the capability is declared");
    let before = revision(&*store).await;
    let txn =
        Txn::default().and_then(Op::put("a", "1")).and_then(Op::put("b", vec![b'x'; limit + 1]));
    match store.txn(txn).await {
        Err(Error::TooLarge { size, limit: named, .. }) => {
            assert_eq!((size, named), (limit + 1, limit));
        }
        other => panic!("a value over the limit was not refused: {other:?}"),
    }
    assert_eq!((revision(&*store).await, get(&*store, "a").await), (before, None));
    store.put("b", vec![b'x'; limit]).await.expect("a value of the limit is taken");
}
