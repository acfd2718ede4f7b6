//! From a request to a response.

use std::convert::Infallible;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::Bytes;
use futures::future::{BoxFuture, FutureExt as _};
use futures::stream::{StreamExt as _, TryStreamExt as _};
use http::header::{ALLOW, AUTHORIZATION, CONTENT_TYPE, HeaderValue, X_CONTENT_TYPE_OPTIONS};
use http::request::Parts;
use http::{HeaderMap, Method, Request, Response, StatusCode};
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt as _, Full, StreamBody};
use hyper::body::Frame;
use k8s_openapi::api::core::v1::Pod;
use kcore::kind::Typed as _;

use super::auth::{Auth, Peer, compute_attributes};
use super::health::{Check, compute_health};
use super::logs::{compute_log_request, has_container};
use super::query::{Query, segments};
use super::{Metrics, NodeView, compute_log_container};

/// The body of a response; a log that follows has no end of its own.
pub type Body = UnsyncBoxBody<Bytes, Box<dyn std::error::Error + Send + Sync>>;

const TEXT: &str = "text/plain; charset=utf-8";
const JSON: &str = "application/json";
/// What Prometheus asks for.
const OPEN_METRICS: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// The node's API as a value: a `tower::Service`, cheap to clone.
///
/// The body of a request is never read. Dropping a response's body ends the reading behind it.
#[derive(Debug, Clone)]
pub struct KubeletService {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    node: Arc<dyn NodeView>,
    auth: Auth,
    metrics: Metrics,
}

impl KubeletService {
    /// Shows `node` and `metrics` to whom `auth` lets.
    #[must_use]
    pub fn new(node: impl NodeView, auth: Auth, metrics: Metrics) -> Self {
        Self { inner: Arc::new(Inner { node: Arc::new(node), auth, metrics }) }
    }
}

impl<B> tower::Service<Request<B>> for KubeletService {
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = BoxFuture<'static, Result<Response<Body>, Infallible>>;

    fn poll_ready(&mut self, _cx: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        let inner = Arc::clone(&self.inner);
        let (parts, _) = request.into_parts();
        async move { Ok(inner.answer(&parts).await) }.boxed()
    }
}

impl Inner {
    async fn answer(&self, request: &Parts) -> Response<Body> {
        let response = match self.admit(request).await {
            Ok(()) => self.route(request).await,
            Err(refused) => refused,
        };
        self.metrics.count_request(bucket(request.uri.path()), response.status().as_u16());
        response
    }

    /// Lets a request pass, or answers it.
    async fn admit(&self, request: &Parts) -> Result<(), Response<Body>> {
        let path = request.uri.path();
        let peer = request.extensions.get::<Peer>();
        let user = self.auth.authenticate(peer, bearer(&request.headers), path).await;
        let user = user.map_err(|refusal| text(refusal.status, refusal.message))?;
        let attributes = compute_attributes(request.method.as_str(), path);
        let allowed = self.auth.authorize(&user, &attributes).await;
        allowed.map_err(|refusal| text(refusal.status, refusal.message))
    }

    async fn route(&self, request: &Parts) -> Response<Body> {
        let Some(path) = segments(request.uri.path()) else {
            return text(400, "the path is no text");
        };
        let path: Vec<_> = path.iter().map(String::as_str).collect();
        let query = Query::parse(request.uri.query().unwrap_or_default());
        if !is_served(&path) {
            return text(404, "404 page not found\n");
        }
        if request.method != Method::GET {
            let mut refused = text(405, "Method Not Allowed");
            refused.headers_mut().insert(ALLOW, HeaderValue::from_static("GET"));
            return refused;
        }
        match path[..] {
            ["healthz"] => self.health(None, &query),
            ["healthz", name] => self.health(Some(name), &query),
            ["pods"] => json(pod_list(&self.node.pods())),
            ["runningpods"] => match self.node.running_pods().await {
                Ok(pods) => json(pod_list(&pods)),
                Err(error) => text(500, error.to_string()),
            },
            ["metrics"] => metrics(self.metrics.render()),
            ["metrics", _] => metrics(self.metrics.render_probes()),
            ["containerLogs", namespace, pod, container] => {
                self.container_logs((namespace, pod), container, &query).await
            }
            _ => text(404, "404 page not found\n"),
        }
    }

    fn health(&self, name: Option<&str>, query: &Query) -> Response<Body> {
        // Whoever can read this knows that the process answers and that its log does not block.
        let checks: [Check; 3] =
            [("ping", Ok(())), ("log", Ok(())), ("syncloop", self.node.sync_loop())];
        match compute_health(&checks, name, query) {
            Some((status, message)) => text(status, message),
            None => text(404, "404 page not found\n"),
        }
    }

    async fn container_logs(
        &self,
        (namespace, name): (&str, &str),
        container: &str,
        query: &Query,
    ) -> Response<Body> {
        let asked = match compute_log_request(query, self.auth.now()) {
            Ok(asked) => asked,
            Err((status, message)) => return text(status, message),
        };
        let is_it = |pod: &Arc<Pod>| {
            let metadata = &pod.metadata;
            (metadata.namespace.as_deref(), metadata.name.as_deref())
                == (Some(namespace), Some(name))
        };
        let Some(pod) = self.node.pods().into_iter().find(is_it) else {
            return text(404, format!("pod {name:?} does not exist"));
        };
        if !has_container(&pod, container) {
            return text(404, format!("container {container:?} not found in pod {name:?}"));
        }
        let id = match compute_log_container(&pod, container, asked.previous) {
            Ok(id) => id,
            Err(why) => return text(400, why),
        };
        match self.node.log(&pod, container, &id).await {
            Ok(source) => {
                let pieces = crate::logs::read(source.path, asked.options, source.ended);
                let frames = pieces.map_ok(Frame::data).map_err(Into::into).boxed();
                respond(200, TEXT, StreamBody::new(frames).boxed_unsync())
            }
            Err(error) => text(400, error.to_string()),
        }
    }
}

fn is_served(path: &[&str]) -> bool {
    matches!(
        path,
        ["healthz" | "pods" | "runningpods" | "metrics"]
            | ["healthz", _]
            | ["metrics", "probes"]
            | ["containerLogs", _, _, _]
    )
}

/// The label of a path's requests: there are few, whatever strangers ask for.
fn bucket(path: &str) -> &'static str {
    let root = path.trim_start_matches('/').split('/').next().unwrap_or_default();
    let known = ["healthz", "pods", "runningpods", "metrics", "containerLogs"];
    known.into_iter().find(|known| *known == root).unwrap_or("other")
}

/// The token of an `Authorization: Bearer` header.
fn bearer(headers: &HeaderMap) -> Option<&str> {
    let value = headers.get(AUTHORIZATION)?.to_str().ok()?;
    let (scheme, token) = value.trim().split_once(' ')?;
    let token = token.trim();
    (scheme.eq_ignore_ascii_case("bearer") && !token.is_empty()).then_some(token)
}

/// The pods as a `PodList`.
fn pod_list(pods: &[Arc<Pod>]) -> Result<Vec<u8>, serde_json::Error> {
    let mut out = br#"{"kind":"PodList","apiVersion":"v1","metadata":{},"items":["#.to_vec();
    for (index, pod) in pods.iter().enumerate() {
        if index > 0 {
            out.push(b',');
        }
        pod.encode(&mut out)?;
    }
    out.extend_from_slice(b"]}");
    Ok(out)
}

fn json(encoded: Result<Vec<u8>, serde_json::Error>) -> Response<Body> {
    match encoded {
        Ok(bytes) => whole(200, JSON, bytes),
        Err(error) => text(500, error.to_string()),
    }
}

fn metrics(rendered: String) -> Response<Body> {
    whole(200, OPEN_METRICS, rendered)
}

fn text(status: u16, message: impl Into<String>) -> Response<Body> {
    whole(status, TEXT, message.into())
}

fn whole(status: u16, kind: &'static str, bytes: impl Into<Bytes>) -> Response<Body> {
    respond(status, kind, Full::new(bytes.into()).map_err(|never| match never {}).boxed_unsync())
}

fn respond(status: u16, kind: &'static str, body: Body) -> Response<Body> {
    let mut response = Response::new(body);
    *response.status_mut() =
        StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(kind));
    headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tokens_are_found_in_their_header() {
        let check = |value: &str, expect: Option<&str>| {
            let headers = HeaderMap::from_iter([(AUTHORIZATION, value.parse().unwrap())]);
            assert_eq!(bearer(&headers), expect, "{value}");
        };
        check("Bearer abc", Some("abc"));
        check("bearer  abc ", Some("abc"));
        check("Bearer", None);
        check("Bearer ", None);
        check("Basic abc", None);
        assert_eq!(bearer(&HeaderMap::new()), None);
    }

    #[test]
    fn strangers_cannot_make_labels() {
        assert_eq!(bucket("/containerLogs/a/b/c"), "containerLogs");
        assert_eq!(bucket("/metrics/probes"), "metrics");
        assert_eq!(bucket("/x9"), "other");
        assert_eq!(bucket(""), "other");
    }
}
