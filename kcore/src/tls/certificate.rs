//! A certificate with its key, and how PEM is read.

use std::fmt;

use rustls::pki_types::pem::{self, PemObject as _};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{Error as RustlsError, RootCertStore};

use super::{Error, Result};

/// A certificate with its key, in PEM.
#[derive(Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Certificate {
    /// The certificate, and after it those that lead to the authority.
    pub certificate_pem: String,
    /// The private key: PKCS #8, PKCS #1 or SEC 1.
    pub key_pem: String,
}

impl Certificate {
    /// A chain of certificates and the key of its first.
    #[must_use]
    pub fn new(certificate_pem: impl Into<String>, key_pem: impl Into<String>) -> Self {
        Self { certificate_pem: certificate_pem.into(), key_pem: key_pem.into() }
    }

    /// The chain and the key as rustls wants them; `what` names the certificate in errors, `key`
    /// its key.
    pub(super) fn read(&self, what: &'static str, key: &'static str) -> Result<Pair> {
        let chain = certificates(self.certificate_pem.as_bytes(), what)?;
        let private = PrivateKeyDer::from_pem_slice(self.key_pem.as_bytes())
            .map_err(|error| Error::pem(key, "private key", &error))?;
        Ok((chain, private))
    }
}

/// Shows no key.
impl fmt::Debug for Certificate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Certificate").finish_non_exhaustive()
    }
}

/// A chain and its key.
pub(super) type Pair = (Vec<CertificateDer<'static>>, PrivateKeyDer<'static>);

/// Every certificate of a text in PEM, which has to have one.
fn certificates(pem: &[u8], what: &'static str) -> Result<Vec<CertificateDer<'static>>> {
    let found: Result<Vec<_>, pem::Error> = CertificateDer::pem_slice_iter(pem).collect();
    let found = found.map_err(|error| Error::pem(what, "certificate", &error))?;
    match found.is_empty() {
        true => Err(Error::Empty { what, item: "certificate" }),
        false => Ok(found),
    }
}

/// The authorities of a text in PEM.
pub(super) fn authorities(pem: &[u8], what: &'static str) -> Result<RootCertStore> {
    let mut roots = RootCertStore::empty();
    for certificate in certificates(pem, what)? {
        roots.add(certificate).map_err(|source: RustlsError| Error::refused(what, source))?;
    }
    Ok(roots)
}
