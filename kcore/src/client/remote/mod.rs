//! The client of a foreign API server, over kube-rs.

mod decode;
mod request;
#[cfg(test)]
mod tests;

use std::fmt;

use async_trait::async_trait;
use bytes::Bytes;
use futures::{StreamExt, stream};
use http::header::RETRY_AFTER;
use http::{Method, Request, Response};
use http_body_util::BodyExt;
use kube::client::Body as HttpBody;

use super::{
    Body, Client, DeleteOptions, Deleted, DiscoveredResource, GetOptions, List, ListOptions, Patch,
    Path, Representation, WatchBatch, WatchOptions, WatchStream, WriteOptions,
};
use crate::object::Object;
use crate::{Error, Result};
use decode::Lines;

/// Frames of a watch that are put into one batch if they are there already.
const FRAMES_PER_BATCH: usize = 64;
/// The largest watch event that is taken, in bytes: several times what a server stores.
pub const MAX_EVENT_BYTES: usize = 16 << 20;
/// How long a watch is asked for, in seconds. Whoever reads it opens it again where it ended.
pub const WATCH_TIMEOUT_SECONDS: u32 = 290;

/// Sees a foreign cluster through a [`kube::Client`], with whatever that was made of: a
/// kubeconfig, a service account, or a tower service in the same process.
///
/// Metadata-only reads carry the resource's own kind, as in-process reads do. A watch is asked
/// for [`WATCH_TIMEOUT_SECONDS`] and given up when nothing came for a little longer, so that a
/// dead connection is noticed. Errors of the server keep their status and its `Retry-After`.
#[derive(Clone)]
pub struct KubeClient {
    client: kube::Client,
}

impl KubeClient {
    /// A client over kube-rs's.
    #[must_use]
    pub fn new(client: kube::Client) -> Self {
        Self { client }
    }

    async fn send(&self, request: Request<HttpBody>) -> Result<Response<HttpBody>> {
        let response = self.client.send(request).await.map_err(transport)?;
        if response.status().is_success() {
            return Ok(response);
        }
        let code = response.status().as_u16();
        let header = response.headers().get(RETRY_AFTER).and_then(|value| value.to_str().ok());
        let retry_after = header.and_then(|seconds| seconds.parse().ok());
        let body = response.into_body().collect_bytes().await.map_err(transport)?;
        Err(decode::status(code, retry_after, &body).into())
    }

    async fn fetch(&self, request: Request<HttpBody>) -> Result<Bytes> {
        self.send(request).await?.into_body().collect_bytes().await.map_err(transport)
    }

    async fn write(
        &self,
        method: Method,
        path: Path<'_>,
        (media_type, body): (&str, Bytes),
        options: &WriteOptions,
    ) -> Result<Object> {
        let uri = request::uri(&path, &request::write_query(options));
        let reply = self.fetch(request::with_body(method, &uri, media_type, body)?).await?;
        Object::from_json(&reply, None)
    }

    async fn list_with(
        &self,
        method: Method,
        path: Path<'_>,
        body: Bytes,
        options: &ListOptions,
    ) -> Result<List> {
        let metadata = options.representation == Representation::MetadataOnly;
        let uri = request::uri(&path, &request::list_query(options));
        let mut request = request::with_body(method, &uri, request::JSON, body)?;
        request::accept(&mut request, metadata.then_some("PartialObjectMetadataList"));
        decode::list(&self.fetch(request).await?, path.resource, options.representation)
    }
}

/// What went wrong between here and the server.
fn transport(error: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Error {
    Error::Transport(error.into())
}

fn body_bytes(body: Body) -> Result<Bytes> {
    match body {
        Body::Json(bytes) => Ok(bytes),
        Body::Typed(typed) => {
            let mut out = Vec::with_capacity(1024);
            typed.encode(&mut out).map_err(|source| {
                let name = typed.meta().name.as_deref().unwrap_or_default();
                Error::Decode { what: format!("object {name:?}"), source }
            })?;
            Ok(out.into())
        }
    }
}

#[async_trait]
impl Client for KubeClient {
    async fn get(&self, path: Path<'_>, options: &GetOptions) -> Result<Object> {
        let metadata = options.representation == Representation::MetadataOnly;
        let version = options.resource_version.map(|v| ("resourceVersion", v.to_string()));
        let uri = request::uri(&path, &Vec::from_iter(version));
        let mut request = request::with_body(Method::GET, &uri, request::JSON, Bytes::new())?;
        request::accept(&mut request, metadata.then_some("PartialObjectMetadata"));
        decode::object(&self.fetch(request).await?, path.resource, options.representation)
    }

    async fn list(&self, path: Path<'_>, options: &ListOptions) -> Result<List> {
        self.list_with(Method::GET, path, Bytes::new(), options).await
    }

    async fn watch(&self, path: Path<'_>, options: &WatchOptions) -> Result<WatchStream> {
        let metadata = options.representation == Representation::MetadataOnly;
        let uri = request::uri(&path, &request::watch_query(options, WATCH_TIMEOUT_SECONDS));
        let mut request = request::with_body(Method::GET, &uri, request::JSON, Bytes::new())?;
        request::accept(&mut request, metadata.then_some("PartialObjectMetadata"));
        let body = self.send(request).await?.into_body();
        let lines = Lines::new(path.resource.clone(), options.representation, MAX_EVENT_BYTES);
        Ok(WatchStream::new(batches(body, lines)))
    }

    async fn create(&self, path: Path<'_>, body: Body, options: &WriteOptions) -> Result<Object> {
        self.write(Method::POST, path, (request::JSON, body_bytes(body)?), options).await
    }

    async fn update(&self, path: Path<'_>, body: Body, options: &WriteOptions) -> Result<Object> {
        self.write(Method::PUT, path, (request::JSON, body_bytes(body)?), options).await
    }

    async fn patch(&self, path: Path<'_>, patch: Patch, options: &WriteOptions) -> Result<Object> {
        let patch = match patch {
            Patch::Json(bytes) => ("application/json-patch+json", bytes),
            Patch::Merge(bytes) => ("application/merge-patch+json", bytes),
            Patch::Strategic(bytes) => ("application/strategic-merge-patch+json", bytes),
            Patch::Apply(bytes) => ("application/apply-patch+yaml", bytes),
        };
        self.write(Method::PATCH, path, patch, options).await
    }

    async fn delete(&self, path: Path<'_>, options: &DeleteOptions) -> Result<Deleted> {
        let (uri, body) = (request::uri(&path, &[]), request::delete_body(options));
        let request = request::with_body(Method::DELETE, &uri, request::JSON, body)?;
        decode::deleted(&self.fetch(request).await?)
    }

    async fn delete_collection(
        &self,
        path: Path<'_>,
        options: &DeleteOptions,
        list: &ListOptions,
    ) -> Result<List> {
        self.list_with(Method::DELETE, path, request::delete_body(options), list).await
    }

    /// Reads the discovery document of each group and version. One that cannot be read because
    /// the server behind it is down is left out, with a warning.
    async fn discover(&self) -> Result<Vec<DiscoveredResource>> {
        let get = async |path: &str| {
            self.fetch(request::with_body(Method::GET, path, request::JSON, Bytes::new())?).await
        };
        let mut group_versions = decode::core_versions(&get("/api").await?)?;
        group_versions.extend(decode::group_versions(&get("/apis").await?)?);
        let mut resources = Vec::new();
        for (group, version) in group_versions {
            let path = match group.as_str() {
                "" => format!("/api/{version}"),
                group => format!("/apis/{group}/{version}"),
            };
            match get(&path).await {
                Ok(body) => resources.extend(decode::resources(&body, &group, &version)?),
                Err(error) if error.status().is_some_and(|status| status.code >= 500) => {
                    tracing::warn!(group, version, %error, "left out of discovery");
                }
                Err(error) => return Err(error),
            }
        }
        Ok(resources)
    }
}

/// Cuts a watch's body into batches: what is there already comes together.
fn batches(
    body: HttpBody,
    lines: Lines,
) -> impl futures::Stream<Item = Result<WatchBatch>> + Send + 'static {
    let patience = std::time::Duration::from_secs(u64::from(WATCH_TIMEOUT_SECONDS) + 30);
    let frames = Box::pin(body.into_data_stream().ready_chunks(FRAMES_PER_BATCH));
    stream::unfold(Some((frames, lines, Vec::new())), move |state| async move {
        let (mut frames, mut lines, mut failed) = state?;
        loop {
            if let Some(error) = failed.pop() {
                return Some((Err(error), None));
            }
            let chunk = match tokio::time::timeout(patience, frames.next()).await {
                Ok(chunk) => chunk?,
                Err(late) => return Some((Err(transport(late)), None)),
            };
            let mut events = Vec::new();
            for frame in chunk {
                let read = frame.map_err(transport).and_then(|frame| lines.read(&frame));
                let (more, end) = match read {
                    Ok(read) => read,
                    Err(error) => (Vec::new(), Some(error)),
                };
                events.extend(more);
                if let Some(end) = end {
                    failed.push(end);
                    break;
                }
            }
            if !events.is_empty() {
                return Some((Ok(events.into()), Some((frames, lines, failed))));
            }
        }
    })
}

impl fmt::Debug for KubeClient {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("KubeClient")
    }
}
