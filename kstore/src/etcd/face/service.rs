//! The methods by their paths, as a service of HTTP requests.

use std::convert::Infallible;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::Bytes;
use futures::future::BoxFuture;
use futures::{FutureExt, Stream};
use http_body_util::Full;
use tonic::body::Body;
use tonic::server::Grpc;
use tonic::{Request, Response, Status, Streaming};
use tonic_prost::ProstCodec;
use tower::service_fn;

use super::super::proto::{self, path};
use super::{EtcdFace, Shared, lease, snapshot, watch};

type BoxError = Box<dyn std::error::Error + Send + Sync>;

/// What a request has to be made of.
pub(super) trait RequestBody:
    http_body::Body<Error: Into<BoxError> + Send, Data: Send> + Send + 'static
{
}

impl<B> RequestBody for B where
    B: http_body::Body<Error: Into<BoxError> + Send, Data: Send> + Send + 'static
{
}

impl<B> tower::Service<http::Request<B>> for EtcdFace
where
    B: http_body::Body + Send + 'static,
    B::Error: Into<BoxError> + Send,
    B::Data: Send,
{
    type Response = http::Response<Body>;
    type Error = Infallible;
    type Future = BoxFuture<'static, Result<Self::Response, Infallible>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: http::Request<B>) -> Self::Future {
        let shared = Arc::clone(&self.shared);
        async move { Ok(answer(shared, request).await) }.boxed()
    }
}

/// A method of one question and one answer.
macro_rules! unary {
    ($shared:ident, $request:ident, |$self:ident, $message:ident: $question:ty| $answer:expr) => {{
        let mut grpc = grpc(&$shared);
        let method = service_fn(move |request: Request<$question>| {
            let $self = Arc::clone(&$shared);
            async move {
                let $message = request.into_inner();
                $answer.await.map(Response::new)
            }
        });
        grpc.unary(method, $request).await
    }};
}

fn grpc<Question, Answer>(shared: &Shared) -> Grpc<ProstCodec<Answer, Question>>
where
    Question: prost::Message + Default + Send + 'static,
    Answer: prost::Message + Send + 'static,
{
    Grpc::new(ProstCodec::default())
        .max_decoding_message_size(shared.options.max_request_bytes)
        .max_encoding_message_size(usize::MAX)
}

async fn answer<B: RequestBody>(
    shared: Arc<Shared>,
    request: http::Request<B>,
) -> http::Response<Body> {
    let path = request.uri().path().to_owned();
    match &path[..] {
        path::RANGE => unary!(shared, request, |s, m: proto::RangeRequest| s.range(m)),
        path::PUT => unary!(shared, request, |s, m: proto::PutRequest| s.put(m)),
        path::DELETE_RANGE => {
            unary!(shared, request, |s, m: proto::DeleteRangeRequest| s.delete_range(m))
        }
        path::TXN => unary!(shared, request, |s, m: proto::TxnRequest| s.txn(m)),
        path::COMPACT => unary!(shared, request, |s, m: proto::CompactionRequest| s.compact(m)),
        path::WATCH => streaming(shared, request, watch::serve).await,
        _ => answer_lease(shared, request, &path).await,
    }
}

async fn answer_lease<B: RequestBody>(
    shared: Arc<Shared>,
    request: http::Request<B>,
    path: &str,
) -> http::Response<Body> {
    match path {
        path::LEASE_GRANT => {
            unary!(shared, request, |s, m: proto::LeaseGrantRequest| s.lease_grant(m))
        }
        path::LEASE_REVOKE => {
            unary!(shared, request, |s, m: proto::LeaseRevokeRequest| s.lease_revoke(m))
        }
        path::LEASE_KEEP_ALIVE => streaming(shared, request, lease::serve).await,
        path::LEASE_TIME_TO_LIVE => {
            unary!(shared, request, |s, m: proto::LeaseTimeToLiveRequest| {
                s.lease_time_to_live(m)
            })
        }
        path::LEASE_LEASES => {
            unary!(shared, request, |s, _m: proto::LeaseLeasesRequest| s.lease_leases())
        }
        _ => answer_operator(shared, request, path).await,
    }
}

async fn answer_operator<B: RequestBody>(
    shared: Arc<Shared>,
    request: http::Request<B>,
    path: &str,
) -> http::Response<Body> {
    match path {
        path::MEMBER_LIST => {
            unary!(shared, request, |s, _m: proto::MemberListRequest| s.member_list())
        }
        path::STATUS => unary!(shared, request, |s, _m: proto::StatusRequest| s.status()),
        path::DEFRAGMENT => {
            unary!(shared, request, |s, _m: proto::DefragmentRequest| s.defragment())
        }
        path::ALARM => unary!(shared, request, |s, m: proto::AlarmRequest| s.alarm(m)),
        path::HASH => unary!(shared, request, |s, _m: proto::HashRequest| s.hash()),
        path::HASH_KV => unary!(shared, request, |s, m: proto::HashKvRequest| s.hash_kv(m)),
        path::SNAPSHOT => {
            let mut grpc = grpc(&shared);
            let method = service_fn(move |_: Request<proto::SnapshotRequest>| {
                let shared = Arc::clone(&shared);
                async move { snapshot::serve(shared).await.map(Response::new) }
            });
            grpc.server_streaming(method, request).await
        }
        "/health" => match shared.store.status().await {
            Ok(status) if status.healthy() => plain(r#"{"health":"true"}"#),
            _ => plain(r#"{"health":"false"}"#),
        },
        "/version" => plain(r#"{"etcdserver":"3.5.13","etcdcluster":"3.5.0"}"#),
        _ => {
            let what = format!("unknown method {path}: this server does not have it");
            Status::unimplemented(what).into_http()
        }
    }
}

/// A method that is a conversation.
async fn streaming<B, Question, Answer, S>(
    shared: Arc<Shared>,
    request: http::Request<B>,
    serve: fn(Arc<Shared>, Streaming<Question>) -> S,
) -> http::Response<Body>
where
    B: RequestBody,
    Question: prost::Message + Default + Send + 'static,
    Answer: prost::Message + Send + 'static,
    S: Stream<Item = Result<Answer, Status>> + Send + 'static,
{
    let mut grpc = grpc(&shared);
    let method = service_fn(move |request: Request<Streaming<Question>>| {
        let answers = serve(Arc::clone(&shared), request.into_inner());
        async move { Ok(Response::new(answers)) }
    });
    grpc.streaming(method, request).await
}

/// An answer to whoever does not speak gRPC.
fn plain(text: &'static str) -> http::Response<Body> {
    http::Response::new(Body::new(Full::new(Bytes::from_static(text.as_bytes()))))
}
