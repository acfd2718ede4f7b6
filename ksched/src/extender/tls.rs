//! TLS with extenders.

use std::fmt;

use kcore::tls::{Certificate, ClientTls, Connector};

/// What TLS with an extender needs to know.
#[derive(Clone, Default)]
pub struct ExtenderTls {
    pub(crate) insecure: bool,
    pub(crate) server_name: Option<String>,
    pub(crate) ca: Option<Vec<u8>>,
    pub(crate) certificate: Option<Certificate>,
}

impl ExtenderTls {
    /// Takes any certificate.
    #[must_use]
    pub fn insecure(mut self) -> Self {
        self.insecure = true;
        self
    }

    /// The name that the certificate must have, in place of the URL's host.
    #[must_use]
    pub fn server_name(mut self, name: impl Into<String>) -> Self {
        self.server_name = Some(name.into());
        self
    }

    /// Whom to believe, in PEM.
    #[must_use]
    pub fn ca_pem(mut self, certificates: impl Into<Vec<u8>>) -> Self {
        self.ca = Some(certificates.into());
        self
    }

    /// What to show: certificates and their key, in PEM.
    #[must_use]
    pub fn identity_pem(
        mut self,
        certificates: impl Into<Vec<u8>>,
        key: impl Into<Vec<u8>>,
    ) -> Self {
        // PEM is ASCII; only what stands around it may be anything else.
        let text = |pem: Vec<u8>| String::from_utf8_lossy(&pem).into_owned();
        self.certificate = Some(Certificate::new(text(certificates.into()), text(key.into())));
        self
    }

    /// Reads what was given, for connections to `host`.
    pub(super) fn connector(&self, host: &str) -> Result<Connector, String> {
        let name = self.server_name.as_deref().filter(|name| !name.is_empty()).unwrap_or(host);
        let tls = match &self.ca {
            _ if self.insecure => ClientTls::trusting_anybody(),
            None => return Err("an authority to believe is needed: give it one (caData)".into()),
            Some(ca) => ClientTls::trusting(ca.clone()),
        };
        let mut tls = tls.server_name(name);
        if let Some(certificate) = &self.certificate {
            tls = tls.certificate(certificate.clone());
        }
        tls.connector().map_err(|error| error.to_string())
    }
}

impl fmt::Debug for ExtenderTls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ExtenderTls")
            .field("insecure", &self.insecure)
            .field("server_name", &self.server_name)
            .finish_non_exhaustive()
    }
}
