//! TLS for whoever listens.

use std::fmt;
use std::sync::Arc;

use parking_lot::RwLock;
use rustls::ServerConfig;
use rustls::server::WebPkiClientVerifier;
use tokio_rustls::TlsAcceptor;

use super::certificate::authorities;
use super::{Certificate, Error, Result, provider};

/// What connections are accepted with: TLS 1.2 and 1.3, HTTP/2 before HTTP/1.1. Clones share it,
/// so a certificate that was renewed is in force for the next connection.
#[derive(Clone)]
pub struct ServerTls {
    current: Arc<RwLock<Arc<ServerConfig>>>,
}

impl ServerTls {
    /// Serves as `certificate`. Clients may show a certificate of one of the authorities in
    /// `client_ca_pem`; one that does not verify ends the handshake. Without authorities nobody
    /// is asked for one.
    ///
    /// # Errors
    /// If certificate, key or authorities cannot be used.
    pub fn new(certificate: &Certificate, client_ca_pem: Option<&str>) -> Result<Self> {
        let config = Arc::new(config(certificate, client_ca_pem)?);
        Ok(Self { current: Arc::new(RwLock::new(config)) })
    }

    /// Serves as another certificate from the next connection on.
    ///
    /// # Errors
    /// As [`new`](Self::new), and the one before stays in force.
    pub fn replace(&self, certificate: &Certificate, client_ca_pem: Option<&str>) -> Result<()> {
        let config = Arc::new(config(certificate, client_ca_pem)?);
        *self.current.write() = config;
        Ok(())
    }

    /// Accepts connections as is said now.
    #[must_use]
    pub fn acceptor(&self) -> TlsAcceptor {
        TlsAcceptor::from(Arc::clone(&self.current.read()))
    }
}

impl fmt::Debug for ServerTls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ServerTls").finish_non_exhaustive()
    }
}

fn config(certificate: &Certificate, client_ca_pem: Option<&str>) -> Result<ServerConfig> {
    let what = "the server's certificate";
    let (chain, key) = certificate.read(what, "the server's key")?;
    let provider = provider();
    let builder = ServerConfig::builder_with_provider(Arc::clone(&provider))
        .with_safe_default_protocol_versions()
        .map_err(|source| Error::refused("TLS", source))?;
    let builder = match client_ca_pem {
        None => builder.with_no_client_auth(),
        Some(pem) => {
            let clients = "the clients' authority";
            let roots = Arc::new(authorities(pem.as_bytes(), clients)?);
            let verifier = WebPkiClientVerifier::builder_with_provider(roots, provider)
                .allow_unauthenticated()
                .build();
            let refused = |error: rustls::server::VerifierBuilderError| {
                Error::refused(clients, rustls::Error::General(error.to_string()))
            };
            builder.with_client_cert_verifier(verifier.map_err(refused)?)
        }
    };
    let built = builder.with_single_cert(chain, key);
    let mut config = built.map_err(|source| Error::refused(what, source))?;
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    Ok(config)
}
