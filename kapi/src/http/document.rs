//! Documents that clients may keep: they are named by what they hold.

use std::sync::Arc;

use http::header::{ACCEPT_ENCODING, CACHE_CONTROL, CONTENT_ENCODING, ETAG, IF_NONE_MATCH, VARY};
use http::{HeaderMap, HeaderValue, Response, StatusCode};
use kcore::status::Status;

use super::ResponseBody;
use super::respond::reply;
use crate::auth::ServiceAccountTokens;
use crate::auth::service_account::{CONFIGURATION_PATH, JWKS_PATH};
use crate::openapi::Document;
use crate::server::{Result, Server};

/// For how long a client may keep what it asked for by its hash.
const IMMUTABLE: HeaderValue = HeaderValue::from_static("public, max-age=31536000, immutable");
/// For how long an issuer's keys may be kept.
const KEYS_KEPT: HeaderValue = HeaderValue::from_static("public, max-age=3600");

/// Builds the documents on a thread of its own if nobody has yet.
pub(super) async fn prepare(server: &Arc<Server>) -> Result<()> {
    if server.registry.openapi.are_ready() {
        return Ok(());
    }
    let server = Arc::clone(server);
    let build = move || _ = crate::openapi::index(&server.registry);
    tokio::task::spawn_blocking(build).await.map_err(|error| Status::internal(error).into())
}

/// Answers with a document, or that the client has it already.
pub(super) fn openapi(
    document: &Document,
    request: &HeaderMap,
    asked: Option<&str>,
) -> Result<Response<ResponseBody>> {
    let etag = format!("\"{}\"", document.hash());
    let lists = |name, wanted: &str| {
        let mut values = request.get_all(name).iter().filter_map(|value| value.to_str().ok());
        values.any(|value| value.split(',').any(|one| one.trim().starts_with(wanted)))
    };
    let mut response = if lists(IF_NONE_MATCH, &etag) {
        reply(StatusCode::NOT_MODIFIED, "application/json", "")
    } else if lists(ACCEPT_ENCODING, "gzip") {
        let mut response = reply(StatusCode::OK, "application/json", document.packed());
        response.headers_mut().insert(CONTENT_ENCODING, HeaderValue::from_static("gzip"));
        response
    } else {
        reply(StatusCode::OK, "application/json", document.plain().map_err(Status::internal)?)
    };
    let headers = response.headers_mut();
    headers.insert(VARY, HeaderValue::from_static("Accept-Encoding"));
    if let Ok(etag) = HeaderValue::try_from(etag) {
        headers.insert(ETAG, etag);
    }
    if asked == Some(document.hash()) {
        headers.insert(CACHE_CONTROL, IMMUTABLE);
    }
    Ok(response)
}

/// What those need to know who verify tokens elsewhere; nothing at any other path.
pub(super) fn issuer(tokens: &ServiceAccountTokens, path: &str) -> Option<Response<ResponseBody>> {
    let (kind, document) = match path {
        CONFIGURATION_PATH => ("application/json", tokens.configuration()),
        JWKS_PATH => ("application/jwk-set+json", tokens.jwks()),
        _ => return None,
    };
    let mut response = reply(StatusCode::OK, kind, document.to_string());
    response.headers_mut().insert(CACHE_CONTROL, KEYS_KEPT);
    Some(response)
}

#[cfg(test)]
mod tests {
    use http_body_util::BodyExt as _;

    use super::*;
    use crate::registry::Registry;

    async fn ask(name: &'static str, value: &str, asked: bool) -> (StatusCode, HeaderMap, usize) {
        let registry = Registry::built_in();
        let document = crate::openapi::document(&registry, "node.k8s.io", "v1").unwrap();
        let value = value.replace("HASH", document.hash());
        let mut request = HeaderMap::new();
        request.insert(name, value.parse().unwrap());
        let hash = asked.then(|| document.hash());
        let (parts, body) = openapi(document, &request, hash).unwrap().into_parts();
        (parts.status, parts.headers, body.collect().await.unwrap().to_bytes().len())
    }

    #[tokio::test]
    async fn a_document_is_sent_once_and_small() {
        let (code, headers, plain) = ask("accept-encoding", "identity", false).await;
        assert_eq!((code, headers.get(CONTENT_ENCODING)), (StatusCode::OK, None));
        assert_eq!(headers[CACHE_CONTROL], "no-cache, private");
        let (_, headers, packed) = ask("accept-encoding", "gzip, deflate", true).await;
        assert_eq!(headers[CONTENT_ENCODING], "gzip");
        assert_eq!(headers[CACHE_CONTROL], IMMUTABLE);
        assert!(packed * 3 < plain, "{packed} of {plain}");
        let (code, _, length) = ask("if-none-match", "\"x\", \"HASH\"", false).await;
        assert_eq!((code, length), (StatusCode::NOT_MODIFIED, 0));
    }
}
