//! Logs over HTTP: a stream of text.

use http::header::{CACHE_CONTROL, CONTENT_TYPE};
use http::{HeaderValue, Response, StatusCode};
use http_body_util::{BodyExt as _, Empty};
use kcore::client::Path;
use kcore::status::Status;

use super::ResponseBody;
use super::path::Query;
use super::service::{ApiService, Head};
use crate::server::{LogOptions, Result};

impl ApiService {
    /// What a container wrote, as its node sends it.
    pub(super) async fn log(&self, head: &Head, path: Path<'_>) -> Result<Response<ResponseBody>> {
        let options = log_options(&head.query)?;
        let Some(reply) = self.server.log(&head.user, path, &options).await? else {
            // A Pod without a node has written nothing yet.
            let body = Empty::new().map_err(|never| match never {}).boxed_unsync();
            let mut response = Response::new(body);
            *response.status_mut() = StatusCode::NO_CONTENT;
            return Ok(response);
        };
        let mut response = Response::new(reply.into_body());
        let headers = response.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("text/plain"));
        headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-cache, private"));
        Ok(response)
    }
}

fn log_options(query: &Query) -> Result<LogOptions> {
    let time = |text: &str| {
        text.parse().map_err(|_| {
            Box::new(Status::bad_request(format!(
                "parsing time {text:?} as \"2006-01-02T15:04:05Z07:00\": cannot parse {text:?} as \
                 \"2006\""
            )))
        })
    };
    Ok(LogOptions {
        container: query.get("container").unwrap_or_default().to_owned(),
        follow: query.switch("follow"),
        previous: query.switch("previous"),
        timestamps: query.switch("timestamps"),
        since_seconds: query.parsed("sinceSeconds")?,
        since_time: query.get("sinceTime").map(time).transpose()?,
        tail_lines: query.parsed("tailLines")?,
        limit_bytes: query.parsed("limitBytes")?,
        stream: query.get("stream").map(ToOwned::to_owned),
        skip_verification: query.switch("insecureSkipTLSVerifyBackend"),
    })
}
