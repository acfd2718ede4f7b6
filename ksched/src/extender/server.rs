//! The server of an extender: connections that are kept, and one question at a time on each.

use std::fmt;

use bytes::Bytes;
use http::header::{CONTENT_TYPE, HOST};
use http::{Method, Request, Response, StatusCode, Uri};
use http_body_util::{BodyExt as _, Full, LengthLimitError, Limited};
use hyper::body::Incoming;
use hyper::client::conn::http1::{self, SendRequest};
use hyper_util::rt::TokioIo;
use kcore::tls::Connector;
use parking_lot::Mutex;
use serde_json::Value;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::task::AbortHandle;

use super::{CallError, ExtenderTls, MAX_ANSWER_BYTES};

/// Connections that are kept for later; beyond, they are closed after use.
const MAX_IDLE: usize = 16;

/// Where questions go.
pub(super) struct Server {
    url: String,
    path: String,
    authority: String,
    host: String,
    port: u16,
    tls: Option<Connector>,
    idle: Mutex<Vec<Connection>>,
}

/// A connection that ends with this value.
struct Connection {
    sender: SendRequest<Full<Bytes>>,
    task: AbortHandle,
}

impl Drop for Connection {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Server {
    pub(super) fn new(url: &str, tls: &ExtenderTls) -> Result<Self, CallError> {
        // What stands before the host may be a secret (X8).
        let shown = url.rsplit_once('@').map_or(url, |(_, host)| host);
        let bad = |why: &str| CallError::Url { url: shown.to_owned(), why: why.to_owned() };
        let uri: Uri = url.parse().map_err(|_| bad("it cannot be read"))?;
        let authority = uri.authority().ok_or_else(|| bad("it names no host"))?;
        let (secure, port) = match uri.scheme_str() {
            Some("http") => (false, 80),
            Some("https") => (true, 443),
            _ => return Err(bad("it begins neither with http:// nor with https://")),
        };
        if authority.as_str().contains('@') {
            return Err(bad("credentials do not belong there"));
        }
        let host = authority.host().trim_start_matches('[').trim_end_matches(']').to_owned();
        let url = url.trim_end_matches('/').to_owned();
        let unusable = |why: String| CallError::Tls { url: url.clone(), why };
        let tls = secure.then(|| tls.connector(&host)).transpose().map_err(unusable)?;
        Ok(Self {
            path: uri.path().trim_end_matches('/').to_owned(),
            authority: authority.to_string(),
            port: authority.port_u16().unwrap_or(port),
            host,
            tls,
            url,
            idle: Mutex::default(),
        })
    }

    /// The URL that all questions begin with.
    pub(super) fn url(&self) -> &str {
        &self.url
    }

    /// Asks, and reads the answer as JSON.
    pub(super) async fn post(&self, verb: &str, body: Vec<u8>) -> Result<Value, CallError> {
        let url = || format!("{}/{verb}", self.url);
        let (connection, response) = self.send(verb, body.into()).await?;
        let code = response.status();
        if code != StatusCode::OK {
            // What it says beside is not read, so the connection cannot be kept.
            let (verb, url) = (verb.to_owned(), url());
            return Err(CallError::Refused { verb, url, code: code.as_u16() });
        }
        let answer = Limited::new(response.into_body(), MAX_ANSWER_BYTES).collect().await;
        let answer = answer.map_err(|source| match source.is::<LengthLimitError>() {
            true => {
                let why = format!("it is larger than {MAX_ANSWER_BYTES} bytes");
                CallError::Answer { url: url(), why }
            }
            false => CallError::Unreachable { url: url(), source },
        })?;
        self.keep(connection);
        serde_json::from_slice(&answer.to_bytes())
            .map_err(|error| CallError::Answer { url: url(), why: format!("no JSON: {error}") })
    }

    fn keep(&self, connection: Connection) {
        let mut idle = self.idle.lock();
        if idle.len() < MAX_IDLE && !connection.sender.is_closed() {
            idle.push(connection);
        }
    }

    /// Sends a question on a connection that is there already, or on a new one. A kept one may
    /// have been closed meanwhile: a question that never left is asked again.
    async fn send(
        &self,
        verb: &str,
        body: Bytes,
    ) -> Result<(Connection, Response<Incoming>), CallError> {
        let unreachable = |source: Box<dyn std::error::Error + Send + Sync>| {
            CallError::Unreachable { url: format!("{}/{verb}", self.url), source }
        };
        let mut request = Request::builder()
            .method(Method::POST)
            .uri(format!("{}/{verb}", self.path))
            .header(HOST, &self.authority)
            .header(CONTENT_TYPE, "application/json")
            .body(Full::new(body))
            .map_err(|error| unreachable(error.into()))?;
        loop {
            let kept = self.idle.lock().pop();
            let fresh = kept.is_none();
            let mut connection = match kept {
                Some(connection) => connection,
                None => self.dial().await.map_err(unreachable)?,
            };
            if connection.sender.ready().await.is_err() && !fresh {
                continue;
            }
            match connection.sender.try_send_request(request).await {
                Ok(response) => return Ok((connection, response)),
                Err(mut error) => match error.take_message() {
                    Some(unsent) if !fresh => request = unsent,
                    _ => return Err(unreachable(error.into_error().into())),
                },
            }
        }
    }

    async fn dial(&self) -> Result<Connection, Box<dyn std::error::Error + Send + Sync>> {
        let stream = TcpStream::connect((self.host.as_str(), self.port)).await?;
        // Without it an answer is only slower.
        let _ = stream.set_nodelay(true);
        match &self.tls {
            Some(tls) => shake_hands(tls.connect(&self.host, stream).await?).await,
            None => shake_hands(stream).await,
        }
    }
}

async fn shake_hands(
    stream: impl AsyncRead + AsyncWrite + Send + Unpin + 'static,
) -> Result<Connection, Box<dyn std::error::Error + Send + Sync>> {
    let (sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
    let task = tokio::spawn(async move {
        if let Err(error) = connection.await {
            tracing::debug!(%error, "connection to an extender ended");
        }
    });
    Ok(Connection { sender, task: task.abort_handle() })
}

impl fmt::Debug for Server {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Server").field("url", &self.url).finish_non_exhaustive()
    }
}
