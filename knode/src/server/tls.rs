//! The server's certificate and whose client certificates it believes.

use std::fmt::{self, Debug};
use std::sync::Arc;

use parking_lot::RwLock;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::WebPkiClientVerifier;
use rustls::{RootCertStore, ServerConfig};

use crate::{Error, Result};

/// A certificate with its key, in PEM.
#[derive(Clone)]
#[non_exhaustive]
pub struct Identity {
    /// The certificate, and after it those that lead to the authority.
    pub certificate_pem: String,
    /// The private key: PKCS #8, PKCS #1 or SEC 1.
    pub key_pem: String,
}

impl Identity {
    /// A certificate chain and its key.
    #[must_use]
    pub fn new(certificate_pem: impl Into<String>, key_pem: impl Into<String>) -> Self {
        Self { certificate_pem: certificate_pem.into(), key_pem: key_pem.into() }
    }
}

/// Shows no key.
impl Debug for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Identity").finish_non_exhaustive()
    }
}

/// What TLS connections are accepted with: TLS 1.2 and 1.3. Clones share it, so a certificate
/// that was renewed is in force for the next connection.
#[derive(Clone)]
pub struct Tls {
    current: Arc<RwLock<Arc<ServerConfig>>>,
}

impl Tls {
    /// Serves as `identity`. Clients may show a certificate of one of the authorities in
    /// `client_ca_pem`; one that does not verify ends the handshake. Without authorities nobody
    /// is asked for one.
    ///
    /// # Errors
    /// [`Certificate`](Error::Certificate) naming what cannot be used.
    pub fn new(identity: &Identity, client_ca_pem: Option<&str>) -> Result<Self> {
        let config = Arc::new(config(identity, client_ca_pem)?);
        Ok(Self { current: Arc::new(RwLock::new(config)) })
    }

    /// Serves as another identity from the next connection on.
    ///
    /// # Errors
    /// [`Certificate`](Error::Certificate), and the one before stays in force.
    pub fn replace(&self, identity: &Identity, client_ca_pem: Option<&str>) -> Result<()> {
        *self.current.write() = Arc::new(config(identity, client_ca_pem)?);
        Ok(())
    }

    pub(super) fn current(&self) -> Arc<ServerConfig> {
        Arc::clone(&self.current.read())
    }
}

impl Debug for Tls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tls").finish_non_exhaustive()
    }
}

fn config(identity: &Identity, client_ca_pem: Option<&str>) -> Result<ServerConfig> {
    let bad = |what: &'static str| {
        move |error: &dyn std::error::Error| Error::Certificate { what, reason: error.to_string() }
    };
    let (server, key_of) = (bad("the server's certificate"), bad("the server's key"));
    let chain = certificates(&identity.certificate_pem, "the server's certificate")?;
    let key = PrivateKeyDer::from_pem_slice(identity.key_pem.as_bytes());
    let key = key.map_err(|error| key_of(&error))?;
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = ServerConfig::builder_with_provider(Arc::clone(&provider))
        .with_safe_default_protocol_versions()
        .map_err(|error| server(&error))?;
    let builder = match client_ca_pem {
        None => builder.with_no_client_auth(),
        Some(pem) => {
            let what = "the clients' authority";
            let mut roots = RootCertStore::empty();
            for authority in certificates(pem, what)? {
                roots.add(authority).map_err(|error| bad(what)(&error))?;
            }
            let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider);
            let verifier = verifier.allow_unauthenticated().build();
            builder.with_client_cert_verifier(verifier.map_err(|error| bad(what)(&error))?)
        }
    };
    let mut config = builder.with_single_cert(chain, key).map_err(|error| server(&error))?;
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    Ok(config)
}

fn certificates(pem: &str, what: &'static str) -> Result<Vec<CertificateDer<'static>>> {
    let found: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(pem.as_bytes()).collect();
    match found {
        Ok(found) if !found.is_empty() => Ok(found),
        Ok(_) => Err(Error::Certificate { what, reason: "no certificate in it".into() }),
        Err(error) => Err(Error::Certificate { what, reason: error.to_string() }),
    }
}
