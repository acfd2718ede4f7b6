//! Node agents behind HTTPS, as kubelets serve it.
//! <https://kubernetes.io/docs/reference/access-authn-authz/kubelet-authn-authz/>

mod pool;
mod reply;

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use http::header::HOST;
use http::{HeaderValue, Request, Response};
use http_body::Body as _;
use http_body_util::{BodyExt as _, Empty};
use hyper::body::Incoming;
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use jiff::Timestamp;
use kcore::tls::{self, ClientTls, Connector};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;

use super::ServeError;
use super::pki::ClusterCa;
use crate::http::BoxError;
use crate::nodes::{ConnectError, NodeAddress, NodeBody, NodeConnector};
use pool::{Connection, Key, Pool};
use reply::Reply;

/// How long an agent may take to accept a connection and to shake hands.
const DIAL_TIMEOUT: Duration = Duration::from_secs(10);

/// Reaches node agents over HTTPS with a client certificate of the cluster's authority, and takes
/// only agents whose certificates come from that authority.
///
/// A connection whose reply was read to its end is kept for a while for the next request to the
/// same agent; one whose reply was not ends with it. Clones share what is kept.
#[derive(Clone)]
pub struct HttpsNodes {
    verified: Connector,
    unverified: Connector,
    pool: Arc<Pool>,
}

impl fmt::Debug for HttpsNodes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("HttpsNodes")
    }
}

impl HttpsNodes {
    /// Reaches agents as `kube-apiserver-kubelet-client`.
    ///
    /// # Errors
    /// If no certificate can be made.
    pub fn new(ca: &ClusterCa, now: Timestamp) -> Result<Self, ServeError> {
        let client = ca.kubelet_client(now)?;
        let verified = ClientTls::trusting(ca.certificate_pem()).certificate(client.clone());
        let unverified = ClientTls::trusting_anybody().certificate(client);
        Ok(Self {
            verified: verified.connector()?,
            unverified: unverified.connector()?,
            pool: Arc::default(),
        })
    }

    async fn dial(
        &self,
        node: &NodeAddress,
    ) -> Result<impl AsyncRead + AsyncWrite + Send + Unpin + use<>, ConnectError> {
        let address = node.authority();
        let connector = if node.skip_verification { &self.unverified } else { &self.verified };
        let stream = match TcpStream::connect((node.host.as_str(), node.port)).await {
            Ok(stream) => stream,
            Err(error) => return Err(ConnectError::Dial { address, source: error.into() }),
        };
        // Without it an answer is only slower.
        let _ = stream.set_nodelay(true);
        connector.connect(&node.host, stream).await.map_err(|error| match error {
            tls::ConnectError::Untrusted(error) => {
                ConnectError::Verify { address, source: error.into() }
            }
            error => ConnectError::Dial { address, source: error.into() },
        })
    }

    /// A connection of its own.
    async fn connect(&self, node: &NodeAddress) -> Result<Connection, ConnectError> {
        let dialed = tokio::time::timeout(DIAL_TIMEOUT, self.dial(node)).await;
        let stream = dialed.map_err(|_| ConnectError::Timeout {
            address: node.authority(),
            seconds: DIAL_TIMEOUT.as_secs(),
        })??;
        let shaken = http1::handshake(TokioIo::new(stream)).await;
        let (sender, connection) = shaken.map_err(|error| broken(node, error.into()))?;
        let task = tokio::spawn(async move {
            if let Err(error) = connection.await {
                tracing::debug!(%error, "connection to a node ended");
            }
        });
        Ok(Connection::new(sender, task.abort_handle()))
    }

    /// Sends a request without a body on a connection that was kept, or gives it back if there is
    /// none. A request that never left is sent on the next one; so is one that may be repeated and
    /// has had no answer, since the agent may close what is idle at any time.
    async fn send_on_kept(
        &self,
        node: &NodeAddress,
        mut request: Request<NodeBody>,
    ) -> Result<Response<NodeBody>, Result<Request<NodeBody>, ConnectError>> {
        let safe = request.method().is_safe();
        while let Some(mut connection) = self.pool.take(&Key::of(node)) {
            if connection.sender.ready().await.is_err() {
                continue;
            }
            let (parts, body) = request.into_parts();
            let again = safe.then(|| parts.clone());
            let sent = connection.sender.try_send_request(Request::from_parts(parts, body)).await;
            let mut error = match sent {
                Ok(response) => return Ok(self.reply(node, connection, response)),
                Err(error) => error,
            };
            request = match (error.take_message(), again) {
                (Some(unsent), _) => unsent,
                (None, Some(parts)) => Request::from_parts(parts, empty()),
                (None, None) => return Err(Err(broken(node, error.into_error().into()))),
            };
        }
        Err(Ok(request))
    }

    fn reply(
        &self,
        node: &NodeAddress,
        connection: Connection,
        response: Response<Incoming>,
    ) -> Response<NodeBody> {
        let keep = (Arc::clone(&self.pool), Key::of(node));
        response.map(|body| Reply::new(body, connection, Some(keep)).boxed_unsync())
    }
}

fn broken(node: &NodeAddress, source: BoxError) -> ConnectError {
    ConnectError::Reply { address: node.authority(), source }
}

fn empty() -> NodeBody {
    Empty::new().map_err(|never| match never {}).boxed_unsync()
}

#[async_trait]
impl NodeConnector for HttpsNodes {
    async fn send(
        &self,
        node: &NodeAddress,
        mut request: Request<NodeBody>,
    ) -> Result<Response<NodeBody>, ConnectError> {
        let host = HeaderValue::try_from(node.authority());
        let host = host.map_err(|error| broken(node, error.into()))?;
        request.headers_mut().insert(HOST, host);
        // With a body still on its way a connection is no good for anything else.
        let reusable = request.body().is_end_stream();
        if reusable {
            request = match self.send_on_kept(node, request).await {
                Ok(response) => return Ok(response),
                Err(unsent) => unsent?,
            };
        }
        let mut connection = self.connect(node).await?;
        let sent = connection.sender.send_request(request).await;
        let response = sent.map_err(|error| broken(node, error.into()))?;
        if reusable {
            return Ok(self.reply(node, connection, response));
        }
        Ok(response.map(|body| Reply::new(body, connection, None).boxed_unsync()))
    }
}
