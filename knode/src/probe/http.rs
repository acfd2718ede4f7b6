//! The HTTP prober.

use std::net::IpAddr;
use std::time::Duration;

use bytes::Bytes;
use http::header::{ACCEPT, CONNECTION, HOST, HeaderName, HeaderValue, LOCATION, USER_AGENT};
use http::{HeaderMap, Request, Response, Uri};
use http_body_util::{BodyExt as _, Empty};
use hyper::body::Incoming;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite};

use super::{HttpGet, MAX_MESSAGE_BYTES, MAX_REDIRECTS, Outcome, Scheme, Verdict, tcp};

pub(super) async fn probe(get: &HttpGet, address: IpAddr, timeout: Duration) -> Outcome {
    let url = url(get, address);
    match tokio::time::timeout(timeout, fetch(get, address)).await {
        Ok(Ok((status, body))) => judge(status, body),
        Ok(Err(message)) => Outcome::new(Verdict::Failure, format!("Get {url:?}: {message}")),
        Err(_) => Outcome::new(
            Verdict::Failure,
            format!(
                "Get {url:?}: context deadline exceeded (Client.Timeout exceeded while awaiting \
                 headers)"
            ),
        ),
    }
}

/// Where a request goes, as people read it.
pub(crate) fn url(get: &HttpGet, address: IpAddr) -> String {
    format!("{}{}", origin(get, address).base(), rooted(&get.path))
}

/// Asks once and returns the status and the beginning of the body; the caller bounds the time.
pub(crate) async fn fetch(get: &HttpGet, address: IpAddr) -> Result<(u16, String), String> {
    follow(get, origin(get, address)).await
}

fn origin(get: &HttpGet, address: IpAddr) -> Origin {
    let host = get.host.clone().filter(|host| !host.is_empty());
    Origin {
        https: get.scheme == Scheme::Https,
        host: host.unwrap_or_else(|| address.to_string()),
        port: get.port,
    }
}

fn judge(status: u16, body: String) -> Outcome {
    match status {
        200..300 => Outcome::new(Verdict::Success, body),
        300..400 => Outcome::new(
            Verdict::Warning,
            format!("Probe terminated redirects, Response body: {body}"),
        ),
        _ => Outcome::new(Verdict::Failure, format!("HTTP probe failed with statuscode: {status}")),
    }
}

/// Where a request goes.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Origin {
    https: bool,
    host: String,
    port: u16,
}

impl Origin {
    fn base(&self) -> String {
        let scheme = if self.https { "https" } else { "http" };
        format!("{scheme}://{}", self.authority())
    }

    fn authority(&self) -> String {
        match self.host.contains(':') {
            true => format!("[{}]:{}", self.host, self.port),
            false => format!("{}:{}", self.host, self.port),
        }
    }
}

fn rooted(path: &str) -> String {
    if path.starts_with('/') { path.to_owned() } else { format!("/{path}") }
}

async fn follow(get: &HttpGet, mut origin: Origin) -> Result<(u16, String), String> {
    let mut path = rooted(&get.path);
    for _ in 0..=MAX_REDIRECTS {
        let response = send(get, &origin, &path).await?;
        let status = response.status().as_u16();
        let next = match status {
            301 | 302 | 303 | 307 | 308 => redirect(&response, &origin, &path),
            _ => None,
        };
        match next {
            Some((next, next_path)) if next.host == origin.host => {
                (origin, path) = (next, next_path);
            }
            _ => return Ok((status, body(response.into_body()).await)),
        }
    }
    Err(format!("stopped after {MAX_REDIRECTS} redirects"))
}

/// Where a redirect leads, if it leads anywhere.
fn redirect(
    response: &Response<Incoming>,
    origin: &Origin,
    path: &str,
) -> Option<(Origin, String)> {
    let location = response.headers().get(LOCATION)?.to_str().ok()?;
    resolve(location, origin, path)
}

fn resolve(location: &str, origin: &Origin, path: &str) -> Option<(Origin, String)> {
    if location.starts_with("//") {
        let scheme = if origin.https { "https:" } else { "http:" };
        return resolve(&format!("{scheme}{location}"), origin, path);
    }
    if !location.contains("://") {
        let directory = path.split('?').next().unwrap_or("/");
        let directory = &directory[..directory.rfind('/').map_or(0, |at| at + 1)];
        let next = match location.strip_prefix('/') {
            Some(rest) => format!("/{rest}"),
            None => format!("{directory}{location}"),
        };
        return Some((origin.clone(), next));
    }
    let uri: Uri = location.parse().ok()?;
    let https = uri.scheme_str() == Some("https");
    let host = uri.host()?.trim_matches(['[', ']']).to_owned();
    let port = uri.port_u16().unwrap_or(if https { 443 } else { 80 });
    let path = uri.path_and_query().map_or("/", |path| path.as_str()).to_owned();
    Some((Origin { https, host, port }, path))
}

async fn send(get: &HttpGet, origin: &Origin, path: &str) -> Result<Response<Incoming>, String> {
    let mut request = Request::get(path).body(Empty::new()).map_err(|e| e.to_string())?;
    *request.headers_mut() = headers(get, origin)?;
    // The caller's timeout covers the connection too.
    let stream = tcp::connect(&origin.host, origin.port, Duration::MAX).await?;
    if origin.https {
        return over_tls(origin, stream, request).await;
    }
    exchange(stream, request).await
}

#[cfg(feature = "https-probe")]
async fn over_tls(
    origin: &Origin,
    stream: tokio::net::TcpStream,
    request: Request<Empty<Bytes>>,
) -> Result<Response<Incoming>, String> {
    exchange(super::tls::connect(&origin.host, stream).await?, request).await
}

#[cfg(not(feature = "https-probe"))]
async fn over_tls(
    _origin: &Origin,
    _stream: tokio::net::TcpStream,
    _request: Request<Empty<Bytes>>,
) -> Result<Response<Incoming>, String> {
    Err("https probes need knode's feature https-probe".to_owned())
}

fn headers(get: &HttpGet, origin: &Origin) -> Result<HeaderMap, String> {
    let mut headers = HeaderMap::new();
    for (name, value) in &get.headers {
        let name: HeaderName = name.parse().map_err(|_| format!("invalid header {name:?}"))?;
        let value = HeaderValue::from_str(value)
            .map_err(|_| format!("invalid value of header {name:?}"))?;
        headers.append(name, value);
    }
    let mut default = |name: HeaderName, value: &str| -> Result<(), String> {
        if !headers.contains_key(&name) {
            let value = HeaderValue::from_str(value).map_err(|error| error.to_string())?;
            headers.insert(name, value);
        }
        Ok(())
    };
    default(HOST, &origin.authority())?;
    default(USER_AGENT, super::USER_AGENT)?;
    default(ACCEPT, "*/*")?;
    headers.insert(CONNECTION, HeaderValue::from_static("close"));
    Ok(headers)
}

async fn exchange<S>(
    stream: S,
    request: Request<Empty<Bytes>>,
) -> Result<Response<Incoming>, String>
where
    S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
{
    let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream))
        .await
        .map_err(|error| error.to_string())?;
    // It ends with the response: the connection is not kept, and dropping the body closes it.
    tokio::spawn(connection);
    sender.send_request(request).await.map_err(|error| describe(&error))
}

fn describe(error: &hyper::Error) -> String {
    if error.is_incomplete_message() { "EOF".to_owned() } else { error.to_string() }
}

/// The beginning of a body. One that breaks off is no failure: the status has been seen.
async fn body(mut body: Incoming) -> String {
    let mut text = Vec::new();
    while let Some(Ok(frame)) = body.frame().await {
        if let Ok(data) = frame.into_data() {
            let room = MAX_MESSAGE_BYTES - text.len();
            text.extend_from_slice(&data[..data.len().min(room)]);
        }
        if text.len() == MAX_MESSAGE_BYTES {
            break;
        }
    }
    String::from_utf8_lossy(&text).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn redirects_resolve_against_where_they_came_from() {
        let origin = Origin { https: false, host: "127.0.0.1".into(), port: 80 };
        let check = |location: &str, expect: &str| {
            let (next, path) = resolve(location, &origin, "/a/b?c").unwrap();
            assert_eq!(format!("{}{path}", next.base()), expect, "{location}");
        };
        check("/new", "http://127.0.0.1:80/new");
        check("new", "http://127.0.0.1:80/a/new");
        check("//127.0.0.1:8080/x", "http://127.0.0.1:8080/x");
        check("https://example.org/y?z", "https://example.org:443/y?z");
        check("http://[::1]:81", "http://[::1]:81/");
    }
}
