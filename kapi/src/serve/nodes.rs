//! Node agents behind HTTPS, as kubelets serve it.
//! <https://kubernetes.io/docs/reference/access-authn-authz/kubelet-authn-authz/>

use std::fmt;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use http::header::HOST;
use http::{HeaderValue, Request, Response};
use http_body::{Body, Frame, SizeHint};
use http_body_util::BodyExt as _;
use hyper::body::Incoming;
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use jiff::Timestamp;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::CryptoProvider;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use rustls::{ClientConfig, DigitallySignedStruct, RootCertStore, SignatureScheme};
use tokio::net::TcpStream;
use tokio::task::AbortHandle;
use tokio_rustls::TlsConnector;

use super::ServeError;
use super::pki::{Certificate, ClusterCa};
use crate::http::BoxError;
use crate::nodes::{ConnectError, NodeAddress, NodeBody, NodeConnector};

/// How long an agent may take to accept a connection and to shake hands.
const DIAL_TIMEOUT: Duration = Duration::from_secs(10);

/// Reaches node agents over HTTPS with a client certificate of the cluster's authority, and takes
/// only agents whose certificates come from that authority.
///
/// Each request has a connection of its own, which ends with it.
#[derive(Clone)]
pub struct HttpsNodes {
    verified: Arc<ClientConfig>,
    unverified: Arc<ClientConfig>,
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
        let bad = |why: String| ServeError::Certificate {
            what: "client certificate for nodes".to_owned(),
            why,
        };
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let mut roots = RootCertStore::empty();
        let authority = CertificateDer::from_pem_slice(ca.certificate_pem().as_bytes())
            .map_err(|error| bad(error.to_string()))?;
        roots.add(authority).map_err(|error| bad(error.to_string()))?;
        let builder = || {
            ClientConfig::builder_with_provider(Arc::clone(&provider))
                .with_safe_default_protocol_versions()
                .map_err(|error| bad(error.to_string()))
        };
        let verified = builder()?.with_root_certificates(roots);
        let unchecked = Arc::new(Unchecked(Arc::clone(&provider)));
        let unverified = builder()?.dangerous().with_custom_certificate_verifier(unchecked);
        let (chain, key) = pair(&client).map_err(bad)?;
        let verified = verified.with_client_auth_cert(chain, key);
        let (chain, key) = pair(&client).map_err(bad)?;
        let unverified = unverified.with_client_auth_cert(chain, key);
        Ok(Self {
            verified: Arc::new(verified.map_err(|error| bad(error.to_string()))?),
            unverified: Arc::new(unverified.map_err(|error| bad(error.to_string()))?),
        })
    }

    async fn dial(
        &self,
        node: &NodeAddress,
    ) -> Result<tokio_rustls::client::TlsStream<TcpStream>, ConnectError> {
        let address = node.authority();
        let dial = |source: BoxError| ConnectError::Dial { address: address.clone(), source };
        let name = ServerName::try_from(node.host.clone()).map_err(|error| dial(error.into()))?;
        let config = if node.skip_verification { &self.unverified } else { &self.verified };
        let stream = TcpStream::connect((node.host.as_str(), node.port))
            .await
            .map_err(|error| dial(error.into()))?;
        let _ = stream.set_nodelay(true);
        let connector = TlsConnector::from(Arc::clone(config));
        connector.connect(name, stream).await.map_err(|error| {
            let refused = error.get_ref().and_then(|e| e.downcast_ref::<rustls::Error>());
            match refused {
                Some(rustls::Error::InvalidCertificate(_)) => {
                    ConnectError::Verify { address: address.clone(), source: error.into() }
                }
                _ => dial(error.into()),
            }
        })
    }
}

#[async_trait]
impl NodeConnector for HttpsNodes {
    async fn send(
        &self,
        node: &NodeAddress,
        mut request: Request<NodeBody>,
    ) -> Result<Response<NodeBody>, ConnectError> {
        let address = node.authority();
        let dialed = tokio::time::timeout(DIAL_TIMEOUT, self.dial(node)).await;
        let stream = dialed.map_err(|_| ConnectError::Timeout {
            address: address.clone(),
            seconds: DIAL_TIMEOUT.as_secs(),
        })??;
        let broken = |source: BoxError| ConnectError::Reply { address: address.clone(), source };
        let host = HeaderValue::try_from(&address).map_err(|error| broken(error.into()))?;
        request.headers_mut().insert(HOST, host);
        let (mut sender, connection) =
            http1::handshake(TokioIo::new(stream)).await.map_err(|error| broken(error.into()))?;
        let task = tokio::spawn(async move {
            if let Err(error) = connection.await {
                tracing::debug!(%error, "connection to a node ended");
            }
        });
        let connection = Connection(task.abort_handle());
        let response = sender.send_request(request).await.map_err(|error| broken(error.into()))?;
        Ok(response.map(|body| Reply { body, _connection: connection }.boxed_unsync()))
    }
}

/// A connection that ends when nobody reads its reply any longer.
struct Connection(AbortHandle);

impl Drop for Connection {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// The body of a reply, with the connection that brings it.
struct Reply {
    body: Incoming,
    _connection: Connection,
}

impl Body for Reply {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        Pin::new(&mut self.body).poll_frame(cx).map_err(Into::into)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

fn pair(
    client: &Certificate,
) -> Result<(Vec<CertificateDer<'static>>, PrivateKeyDer<'static>), String> {
    let chain = CertificateDer::from_pem_slice(client.certificate_pem.as_bytes())
        .map_err(|error| error.to_string())?;
    let key = PrivateKeyDer::from_pem_slice(client.key_pem.as_bytes())
        .map_err(|error| error.to_string())?;
    Ok((vec![chain], key))
}

/// Takes any certificate: for requests that say so (`insecureSkipTLSVerifyBackend`).
#[derive(Debug)]
struct Unchecked(Arc<CryptoProvider>);

impl ServerCertVerifier for Unchecked {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.0.signature_verification_algorithms;
        rustls::crypto::verify_tls12_signature(message, certificate, signature, algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.0.signature_verification_algorithms;
        rustls::crypto::verify_tls13_signature(message, certificate, signature, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}
