//! Cases of [`Store::range`](crate::Store::range).

use super::Suite;
use super::subject::{delete, keys, put, revision};
use crate::{Error, KeyRange, Page, RangeOptions, Revision, Store, StoreExt};

async fn read(store: &dyn Store, range: KeyRange, options: RangeOptions) -> Page {
    store.range(range, options).await.expect("a range read succeeds")
}

pub(super) async fn range_selects_exactly_its_keys(suite: &Suite) {
    let store = suite.fresh().await;
    for key in ["a", "a/", "a/1", "a/2", "a0", "b", "b/1"] {
        put(&*store, key, "x").await;
    }
    put(&*store, vec![0xff, 0xff, 1], "x").await;
    let check = async |range: KeyRange, expect: &[&str]| {
        let page = read(&*store, range.clone(), RangeOptions::default()).await;
        assert_eq!(keys(&page.records), expect, "{range:?}");
    };
    let last = String::from_utf8_lossy(&[0xff, 0xff, 1]).into_owned();
    check(KeyRange::single("a"), &["a"]).await;
    check(KeyRange::single("c"), &[]).await;
    check(KeyRange::prefix("a/"), &["a/", "a/1", "a/2"]).await;
    check(KeyRange::prefix(vec![0xff]), &[&last]).await;
    check(KeyRange::between("a/1", "b"), &["a/1", "a/2", "a0"]).await;
    check(KeyRange::between("b", "a"), &[]).await;
    check(KeyRange::between("a", "a"), &[]).await;
    check(KeyRange::from("b/"), &["b/1", &last]).await;
    check(KeyRange::all(), &["a", "a/", "a/1", "a/2", "a0", "b", "b/1", &last]).await;
}

pub(super) async fn range_is_ordered_by_key(suite: &Suite) {
    let store = suite.fresh().await;
    for key in ["m", "z", "a", "ab", "\u{1}", "aa"] {
        put(&*store, key, "x").await;
    }
    put(&*store, "m", "y").await;
    let page = store.list(KeyRange::all()).await.expect("a list succeeds");
    assert_eq!(keys(&page.records), ["\u{1}", "a", "aa", "ab", "m", "z"]);
}

pub(super) async fn range_shows_the_revision_asked_for(suite: &Suite) {
    let store = suite.fresh().await;
    let before = revision(&*store).await;
    let first = put(&*store, "a", "1").await;
    let second = put(&*store, "a", "2").await;
    put(&*store, "b", "1").await;
    let gone = delete(&*store, "a").await;
    let again = put(&*store, "a", "3").await;
    let at = async |revision: Revision| {
        let page = read(&*store, KeyRange::single("a"), RangeOptions::default().at(revision)).await;
        assert_eq!(page.revision, revision, "a page names the revision it shows");
        page.records.into_iter().next().map(|r| (r.value.bytes, r.created, r.version))
    };
    assert_eq!(at(before).await, None);
    assert_eq!(at(first).await, Some(("1".into(), first, 1)));
    assert_eq!(at(second).await, Some(("2".into(), first, 2)));
    assert_eq!(at(gone).await, None);
    assert_eq!(at(again).await, Some(("3".into(), again, 1)));
}

/// S5.
pub(super) async fn range_pages_show_one_revision(suite: &Suite) {
    let store = suite.fresh().await;
    for n in 0..25 {
        put(&*store, format!("k/{n:02}"), "old").await;
    }
    let range = KeyRange::prefix("k/");
    let mut page = read(&*store, range.clone(), RangeOptions::default().limit(10)).await;
    let (at, mut seen) = (page.revision, page.records);
    while page.more {
        // Whatever happens between the pages is not in them.
        let n = seen.len();
        put(&*store, format!("k/{:02}", n + 1), "new").await;
        put(&*store, format!("k/{n:02}x"), "new").await;
        store.delete(format!("k/{:02}", n + 2)).await.expect("a delete succeeds");
        let rest = range.after(&seen[n - 1].key);
        page = read(&*store, rest, RangeOptions::default().limit(10).at(at)).await;
        assert_eq!(page.revision, at);
        seen.append(&mut page.records);
        assert!(seen.len() <= 25, "pages end");
    }
    assert_eq!(keys(&seen), (0..25).map(|n| format!("k/{n:02}")).collect::<Vec<_>>());
    assert!(seen.iter().all(|record| record.value.bytes == "old" && record.modified <= at));
}

pub(super) async fn range_counts_all_matches(suite: &Suite) {
    let store = suite.fresh().await;
    for key in ["a/1", "a/2", "a/3", "b"] {
        put(&*store, key, "x").await;
    }
    delete(&*store, "a/2").await;
    let range = KeyRange::prefix("a/");
    let page = read(&*store, range.clone(), RangeOptions::default().limit(1)).await;
    assert_eq!((page.records.len(), page.count, page.more), (1, 2, true));
    let page = read(&*store, range.clone(), RangeOptions::default().limit(2)).await;
    assert_eq!((page.records.len(), page.count, page.more), (2, 2, false));
    let page = read(&*store, range, RangeOptions::default().count_only()).await;
    assert_eq!((page.records.len(), page.count, page.more), (0, 2, false));
}

pub(super) async fn range_keys_only_has_no_values(suite: &Suite) {
    let store = suite.fresh().await;
    put(&*store, "a", "1").await;
    put(&*store, "a", "2").await;
    let full = read(&*store, KeyRange::all(), RangeOptions::default()).await;
    let bare = read(&*store, KeyRange::all(), RangeOptions::default().keys_only()).await;
    assert_eq!(full.records[0].value.bytes, "2");
    assert!(bare.records[0].value.bytes.is_empty());
    let mut stripped = full.clone();
    stripped.records[0].value = crate::Value::default();
    assert_eq!(bare, stripped);
}

/// S5.
pub(super) async fn range_at_a_compacted_revision_is_refused(suite: &Suite) {
    let store = suite.fresh().await;
    let first = put(&*store, "a", "1").await;
    let second = put(&*store, "a", "2").await;
    put(&*store, "a", "3").await;
    store.compact(second).await.expect("compaction succeeds");
    let kept = read(&*store, KeyRange::all(), RangeOptions::default().at(second)).await;
    assert_eq!(kept.records[0].value.bytes, "2", "the compacted revision itself is readable");
    match store.range(KeyRange::all(), RangeOptions::default().at(first)).await {
        Err(Error::Compacted { requested, compacted }) => {
            assert_eq!((requested, compacted), (first, second));
        }
        other => panic!("a compacted revision was read: {other:?}"),
    }
}

pub(super) async fn range_in_the_future_is_refused(suite: &Suite) {
    let store = suite.fresh().await;
    let current = put(&*store, "a", "1").await;
    match store.range(KeyRange::all(), RangeOptions::default().at(current.next())).await {
        Err(Error::Future { requested, current: named }) => {
            assert_eq!((requested, named), (current.next(), current));
        }
        other => panic!("the future was read: {other:?}"),
    }
}
