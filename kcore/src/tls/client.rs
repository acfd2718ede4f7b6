//! TLS for whoever connects.

use std::fmt;
use std::sync::Arc;

use rustls::ClientConfig;
use rustls::pki_types::ServerName;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use super::certificate::authorities;
use super::unchecked::Unchecked;
use super::{Certificate, ConnectError, Error, Result, provider};

/// Whom to believe, what to show, and under which name the other side is known.
///
/// ```
/// use kcore::tls::{ClientTls, Error};
///
/// let nobody = ClientTls::trusting("").connector().unwrap_err();
/// assert_eq!(nobody, Error::Empty { what: "the authority", item: "certificate" });
/// let anybody = ClientTls::trusting_anybody().server_name("node-1").connector()?;
/// # let _ = anybody;
/// # Ok::<(), Error>(())
/// ```
#[derive(Clone)]
pub struct ClientTls {
    /// None: anybody.
    authorities: Option<Vec<u8>>,
    certificate: Option<Certificate>,
    server_name: Option<String>,
}

impl ClientTls {
    /// Believes whoever has a certificate of one of these authorities, in PEM.
    #[must_use]
    pub fn trusting(authorities_pem: impl Into<Vec<u8>>) -> Self {
        Self { authorities: Some(authorities_pem.into()), certificate: None, server_name: None }
    }

    /// Takes any certificate: the connection is secret, with whom is not known. For probes, which
    /// ask whether somebody answers, and for whoever says so (`insecure-skip-tls-verify`).
    #[must_use]
    pub fn trusting_anybody() -> Self {
        Self { authorities: None, certificate: None, server_name: None }
    }

    /// Shows this certificate to whoever asks for one.
    #[must_use]
    pub fn certificate(mut self, certificate: Certificate) -> Self {
        self.certificate = Some(certificate);
        self
    }

    /// The name or address that the other side's certificate must have, in place of the host that
    /// is dialed.
    #[must_use]
    pub fn server_name(mut self, name: impl Into<String>) -> Self {
        self.server_name = Some(name.into());
        self
    }

    /// Reads what was given, once for all connections.
    ///
    /// # Errors
    /// If authorities, certificate, key or name cannot be used.
    pub fn connector(&self) -> Result<Connector> {
        let provider = provider();
        let builder = ClientConfig::builder_with_provider(Arc::clone(&provider))
            .with_safe_default_protocol_versions()
            .map_err(|source| Error::refused("TLS", source))?;
        let builder = match &self.authorities {
            Some(pem) => builder.with_root_certificates(authorities(pem, "the authority")?),
            None => {
                let unchecked = Arc::new(Unchecked::new(provider));
                builder.dangerous().with_custom_certificate_verifier(unchecked)
            }
        };
        let config = match &self.certificate {
            None => builder.with_no_client_auth(),
            Some(certificate) => {
                let what = "the client's certificate";
                let (chain, key) = certificate.read(what, "the client's key")?;
                let built = builder.with_client_auth_cert(chain, key);
                built.map_err(|source| Error::refused(what, source))?
            }
        };
        let name = self.server_name.as_deref().map(read_name).transpose()?;
        Ok(Connector { tls: TlsConnector::from(Arc::new(config)), name })
    }
}

impl fmt::Debug for ClientTls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ClientTls")
            .field("trusts_anybody", &self.authorities.is_none())
            .field("server_name", &self.server_name)
            .finish_non_exhaustive()
    }
}

/// Makes connections secret ones. Clones share what they resume sessions by.
#[derive(Clone)]
pub struct Connector {
    tls: TlsConnector,
    name: Option<ServerName<'static>>,
}

impl Connector {
    /// Shakes hands over a connection to `host`, a name or an address without brackets. Bounding
    /// the time is the caller's part; dropping the future closes the connection.
    ///
    /// # Errors
    /// [`Untrusted`](ConnectError::Untrusted) if the other side's certificate is not believed.
    pub async fn connect<S>(&self, host: &str, stream: S) -> Result<TlsStream<S>, ConnectError>
    where
        S: AsyncRead + AsyncWrite + Unpin,
    {
        let name = match &self.name {
            Some(name) => name.clone(),
            None => read_name(host)?,
        };
        Ok(self.tls.connect(name, stream).await?)
    }
}

impl fmt::Debug for Connector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Connector").field("name", &self.name).finish_non_exhaustive()
    }
}

fn read_name(name: &str) -> Result<ServerName<'static>> {
    let refused = |_| Error::ServerName { name: name.to_owned() };
    ServerName::try_from(name.to_owned()).map_err(refused)
}
