//! Compile-only: the seam carries an etcd v3 face. Its messages, reduced to their fields, become
//! calls of the seam without loss; what the face needs beyond them (ids of watches, headers) is
//! its own.

use std::time::Duration;

use kstore::{
    Bytes, Compare, KeyRange, LeaseId, LeaseStatus, Op, OpResult, RangeOptions, Result, Revision,
    Store, Txn, TxnResult, WatchOptions, WatchStream,
};

struct RangeRequest {
    key: Bytes,
    range_end: Bytes,
    limit: i64,
    revision: i64,
    keys_only: bool,
    count_only: bool,
}

enum RequestOp {
    Range(RangeRequest),
    Put { key: Bytes, value: Bytes, lease: i64 },
    DeleteRange { key: Bytes, range_end: Bytes },
}

struct TxnRequest {
    compare: Vec<Compare>,
    success: Vec<RequestOp>,
    failure: Vec<RequestOp>,
}

/// etcd's convention: an empty end is one key, a zero byte is no end.
fn key_range(key: Bytes, range_end: Bytes) -> KeyRange {
    match &range_end[..] {
        [] => KeyRange::single(key),
        [0] => KeyRange::from(key),
        _ => KeyRange::between(key, range_end),
    }
}

fn range(request: RangeRequest) -> (KeyRange, RangeOptions) {
    let mut options = RangeOptions::default().limit(usize::try_from(request.limit).unwrap_or(0));
    if request.revision > 0 {
        options = options.at(Revision(request.revision.unsigned_abs()));
    }
    if request.keys_only {
        options = options.keys_only();
    }
    if request.count_only {
        options = options.count_only();
    }
    (key_range(request.key, request.range_end), options)
}

fn op(request: RequestOp) -> Op {
    match request {
        RequestOp::Range(request) => {
            let (range, options) = range(request);
            Op::range(range, options)
        }
        RequestOp::Put { key, value, lease: 0 } => Op::put(key, value),
        RequestOp::Put { key, value, lease } => {
            Op::put_with_lease(key, value, LeaseId(lease.unsigned_abs()))
        }
        RequestOp::DeleteRange { key, range_end } => Op::delete_range(key_range(key, range_end)),
    }
}

async fn txn(store: &dyn Store, request: TxnRequest) -> Result<TxnResult> {
    store
        .txn(Txn {
            compares: request.compare,
            then: request.success.into_iter().map(op).collect(),
            otherwise: request.failure.into_iter().map(op).collect(),
            ..Txn::default()
        })
        .await
}

/// etcd starts at a revision, the seam after one.
async fn watch(
    store: &dyn Store,
    range: KeyRange,
    start_revision: u64,
    prev_kv: bool,
) -> Result<WatchStream> {
    let mut options = WatchOptions::default().progress(Duration::from_secs(600));
    if start_revision > 0 {
        options = options.after(Revision(start_revision - 1));
    }
    if prev_kv {
        options = options.previous();
    }
    store.watch(range, options).await
}

/// One lease, shared by many keys, renewed by its holder.
async fn lease(store: &dyn Store, keys: Vec<Bytes>) -> Result<Option<LeaseStatus>> {
    let Some(leases) = store.leases() else { return Ok(None) };
    let lease = leases.grant(Duration::from_secs(60)).await?;
    let mut attach = Txn::default();
    for key in keys {
        attach = attach.and_then(Op::put_with_lease(key, "", lease));
    }
    store.txn(attach).await?;
    leases.keep_alive(lease).await?;
    let status = leases.time_to_live(lease).await?;
    leases.revoke(lease).await?;
    Ok(Some(status))
}

#[tokio::test]
async fn an_etcd_face_fits_the_seam() {
    let store = kstore::MemoryStore::new();
    let all = || RangeRequest {
        key: "a".into(),
        range_end: Bytes::from_static(&[0]),
        limit: 0,
        revision: 0,
        keys_only: false,
        count_only: false,
    };
    let mut events = watch(&store, KeyRange::all(), 0, true).await.unwrap();
    let request = TxnRequest {
        compare: vec![Compare::absent("a")],
        success: vec![
            RequestOp::Put { key: "a".into(), value: "1".into(), lease: 0 },
            RequestOp::DeleteRange { key: "b".into(), range_end: "c".into() },
            RequestOp::Range(all()),
        ],
        failure: vec![RequestOp::Range(all())],
    };
    let result = txn(&store, request).await.unwrap();
    let Some(OpResult::Range(page)) = result.responses.last() else { panic!("{result:?}") };
    assert_eq!((page.count, page.revision), (1, result.revision));
    let batch = futures::StreamExt::next(&mut events).await.unwrap().unwrap();
    assert_eq!(batch.revision(), result.revision);
    let status = lease(&store, vec!["x".into(), "y".into()]).await.unwrap().unwrap();
    assert_eq!(status.keys, ["x", "y"]);
}
