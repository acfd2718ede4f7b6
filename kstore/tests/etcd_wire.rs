//! The face as a client of the bare protocol sees it: several watches on one stream, filters,
//! cancellation, and shapes that it does not have.
#![cfg(all(feature = "etcd", feature = "etcd-server"))]
#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use std::convert::Infallible;
use std::time::Duration;

use http::uri::PathAndQuery;
use kstore::etcd::proto::{
    self, EventType, FilterType, Request, RequestOp, WatchCancelRequest, WatchCreateRequest,
    WatchProgressRequest, WatchRequest, WatchRequestUnion, WatchResponse, path,
};
use kstore::{Bytes, EtcdFace, MemoryOptions, MemoryStore, Op, Store, StoreExt, Txn};
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::client::Grpc;
use tonic::{Code, Status, Streaming};
use tonic_prost::ProstCodec;

/// The face as a service, without a socket in between.
type Client = Grpc<tower::util::MapErr<EtcdFace, fn(Infallible) -> Status>>;

fn client(store: MemoryStore) -> Client {
    let never: fn(Infallible) -> Status = |never| match never {};
    Grpc::new(tower::ServiceExt::<http::Request<tonic::body::Body>>::map_err(
        EtcdFace::new(store),
        never,
    ))
}

async fn ask<Q, A>(client: &mut Client, path: &'static str, question: Q) -> Result<A, Status>
where
    Q: prost::Message + Send + Sync + 'static,
    A: prost::Message + Default + Send + Sync + 'static,
{
    client.ready().await?;
    let codec = ProstCodec::<Q, A>::default();
    let request = tonic::Request::new(question);
    let answer = client.unary(request, PathAndQuery::from_static(path), codec).await?;
    Ok(answer.into_inner())
}

/// One stream of watches.
struct Stream {
    requests: mpsc::Sender<WatchRequest>,
    answers: Streaming<WatchResponse>,
}

impl Stream {
    async fn open(client: &mut Client) -> Self {
        let (requests, receiver) = mpsc::channel(8);
        client.ready().await.unwrap();
        let codec = ProstCodec::<WatchRequest, WatchResponse>::default();
        let request = tonic::Request::new(ReceiverStream::new(receiver));
        let path = PathAndQuery::from_static(path::WATCH);
        let answers = client.streaming(request, path, codec).await.unwrap().into_inner();
        Self { requests, answers }
    }

    async fn send(&self, union: WatchRequestUnion) {
        self.requests.send(WatchRequest { request_union: Some(union) }).await.unwrap();
    }

    async fn next(&mut self) -> WatchResponse {
        let answer = tokio::time::timeout(Duration::from_secs(10), self.answers.message());
        answer.await.expect("an answer comes").unwrap().expect("the stream goes on")
    }

    /// Creates a watch and returns its number.
    async fn watch(&mut self, create: WatchCreateRequest) -> i64 {
        self.send(WatchRequestUnion::Create(create)).await;
        let created = self.next().await;
        assert!(created.created && !created.canceled, "{created:?}");
        created.watch_id
    }
}

fn prefix(key: &'static str, end: &'static str) -> WatchCreateRequest {
    let (key, range_end) = (Bytes::from(key), Bytes::from(end));
    WatchCreateRequest { key, range_end, ..WatchCreateRequest::default() }
}

/// What events say: their watch, and each event's kind and key.
fn told(answer: &WatchResponse) -> (i64, Vec<(i32, String)>) {
    let events = answer.events.iter().map(|event| {
        let key = &event.kv.as_ref().unwrap().key;
        (event.r#type, String::from_utf8_lossy(key).into_owned())
    });
    (answer.watch_id, events.collect())
}

/// S6.
#[tokio::test]
async fn watches_of_one_stream_are_filtered_and_canceled_apart() {
    let store = MemoryStore::new();
    let mut client = client(store.clone());
    let mut stream = Stream::open(&mut client).await;
    let all = stream.watch(prefix("a/", "a0")).await;
    let no_put = vec![FilterType::NoPut.into()];
    let deletions =
        stream.watch(WatchCreateRequest { filters: no_put, ..prefix("a/", "a0") }).await;
    let named = stream.watch(WatchCreateRequest { watch_id: 77, ..prefix("b/", "b0") }).await;
    assert_eq!((named, all != deletions), (77, true));
    let (put, delete) = (i32::from(EventType::Put), i32::from(EventType::Delete));
    store.put("a/1", "x").await.unwrap();
    assert_eq!(told(&stream.next().await), (all, vec![(put, "a/1".to_owned())]));
    store.delete("a/1").await.unwrap();
    let mut both = [told(&stream.next().await), told(&stream.next().await)];
    both.sort();
    let gone = vec![(delete, "a/1".to_owned())];
    assert_eq!(both, [(all, gone.clone()), (deletions, gone)]);
    // A name that is taken is refused, and nothing else is disturbed.
    let taken = WatchCreateRequest { watch_id: 77, ..prefix("c/", "c0") };
    stream.send(WatchRequestUnion::Create(taken)).await;
    let refused = stream.next().await;
    assert!(refused.canceled && refused.cancel_reason.contains("duplicate watch ID"));
    stream.send(WatchRequestUnion::Cancel(WatchCancelRequest { watch_id: all })).await;
    let canceled = stream.next().await;
    assert_eq!((canceled.watch_id, canceled.canceled), (all, true));
    store.put("a/2", "x").await.unwrap();
    store.put("b/1", "x").await.unwrap();
    assert_eq!(told(&stream.next().await), (77, vec![(put, "b/1".to_owned())]));
    drop(stream);
    let forgotten = async {
        while store.status().await.unwrap().watchers > 0 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(10), forgotten).await.expect("no watch is left");
}

/// S6: the answer for the whole stream follows the events of each watch.
#[tokio::test]
async fn progress_of_a_stream_follows_every_watch_of_it() {
    let store = MemoryStore::new();
    let mut client = client(store.clone());
    let mut stream = Stream::open(&mut client).await;
    for _ in 0..20 {
        stream.watch(prefix("a/", "a0")).await;
    }
    let future = WatchCreateRequest { start_revision: 1000, ..prefix("a/", "a0") };
    stream.watch(future).await;
    for round in 0..20 {
        let revision = store.put("a/1", format!("{round}")).await.unwrap();
        stream.send(WatchRequestUnion::Progress(WatchProgressRequest {})).await;
        let mut events = 0;
        loop {
            let answer = stream.next().await;
            events += answer.events.len();
            if answer.watch_id == -1 {
                let told = answer.header.unwrap().revision;
                assert!(told >= i64::try_from(revision.0).unwrap());
                break;
            }
        }
        assert_eq!(events, 20, "every watch had told its event before");
    }
}

/// S5.
#[tokio::test]
async fn a_watch_from_the_past_is_told_what_is_compacted() {
    let store = MemoryStore::with_options(MemoryOptions::default().retain_all());
    store.put("a/1", "1").await.unwrap();
    let kept = Txn::default().and_then(Op::put("a/1", "2")).and_then(Op::put("a/2", "2"));
    let at = store.txn(kept).await.unwrap().revision;
    store.put("a/1", "3").await.unwrap();
    store.compact(at).await.unwrap();
    let mut client = client(store);
    let mut stream = Stream::open(&mut client).await;
    let from = |revision: u64| WatchCreateRequest {
        start_revision: i64::try_from(revision).unwrap(),
        ..prefix("a/", "a0")
    };
    let gone = stream.watch(from(at.0 - 1)).await;
    let canceled = stream.next().await;
    let expect = (gone, true, i64::try_from(at.0).unwrap());
    assert_eq!((canceled.watch_id, canceled.canceled, canceled.compact_revision), expect);
    // From the compacted revision itself etcd tells what is left of it.
    let id = stream.watch(from(at.0)).await;
    let put = i32::from(EventType::Put);
    let left = vec![(put, "a/1".to_owned()), (put, "a/2".to_owned())];
    assert_eq!(told(&stream.next().await), (id, left));
    assert_eq!(told(&stream.next().await), (id, vec![(put, "a/1".to_owned())]));
}

#[tokio::test]
async fn what_the_face_does_not_have_it_says() {
    let mut client = client(MemoryStore::new());
    let nested = proto::TxnRequest {
        success: vec![RequestOp { request: Some(Request::Txn(proto::TxnRequest::default())) }],
        ..proto::TxnRequest::default()
    };
    let on_a_range = proto::TxnRequest {
        compare: vec![proto::Compare {
            key: "a".into(),
            range_end: "b".into(),
            ..proto::Compare::default()
        }],
        ..proto::TxnRequest::default()
    };
    for (txn, what) in [(nested, "a transaction within"), (on_a_range, "a range of keys")] {
        let answer: Result<proto::TxnResponse, _> = ask(&mut client, path::TXN, txn).await;
        let refused = answer.unwrap_err();
        assert_eq!(refused.code(), Code::Unimplemented);
        assert!(refused.message().contains(what), "{refused}");
    }
    let chosen = proto::LeaseGrantRequest { ttl: 10, id: 5 };
    let answer: Result<proto::LeaseGrantResponse, _> =
        ask(&mut client, path::LEASE_GRANT, chosen).await;
    assert_eq!(answer.unwrap_err().code(), Code::Unimplemented);
    let user = proto::AuthenticateRequest { name: "a".to_owned(), password: "b".to_owned() };
    let answer: Result<proto::AuthenticateResponse, _> =
        ask(&mut client, path::AUTHENTICATE, user).await;
    let refused = answer.unwrap_err();
    assert_eq!(refused.code(), Code::Unimplemented);
    assert!(refused.message().contains(path::AUTHENTICATE), "{refused}");
}
