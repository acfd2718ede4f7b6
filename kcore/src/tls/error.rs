//! Why TLS cannot be had.

use rustls::pki_types::pem;

/// What is wrong with certificates, keys or names. Nothing of a key is quoted.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// Something is no PEM.
    #[error("{what} cannot be used: {why}")]
    Pem {
        /// What was to be read.
        what: &'static str,
        /// What is wrong with it.
        why: &'static str,
    },
    /// PEM without what is looked for.
    #[error("{what} cannot be used: no {item} in it")]
    Empty {
        /// What was to be read.
        what: &'static str,
        /// What it should hold: `certificate` or `private key`.
        item: &'static str,
    },
    /// Certificate and key are readable and do not belong together.
    #[error("{what} cannot be used: the key is another certificate's")]
    Mismatch {
        /// The certificate.
        what: &'static str,
    },
    /// Readable, and refused by rustls.
    #[error("{what} cannot be used: {source}")]
    Refused {
        /// The certificate, authority or key.
        what: &'static str,
        /// Why it was refused.
        #[source]
        source: rustls::Error,
    },
    /// No certificate can have such a name.
    #[error("{name:?} is no host name or address that a certificate can have")]
    ServerName {
        /// The name.
        name: String,
    },
}

impl Error {
    /// In words of our own: those of the parser quote lines, and a line may be a key.
    pub(super) fn pem(what: &'static str, item: &'static str, error: &pem::Error) -> Self {
        let why = match error {
            pem::Error::NoItemsFound => return Self::Empty { what, item },
            pem::Error::MissingSectionEnd { .. } => "its PEM has a beginning and no end",
            pem::Error::IllegalSectionStart { .. } => "its PEM begins with a line that is none",
            pem::Error::Base64Decode(_) => "its PEM holds something that is not base64",
            _ => "it is no PEM",
        };
        Self::Pem { what, why }
    }

    pub(super) fn refused(what: &'static str, source: rustls::Error) -> Self {
        match source {
            rustls::Error::InconsistentKeys(_) => Self::Mismatch { what },
            source => Self::Refused { what, source },
        }
    }
}

/// Why a connection has not become a secret one.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ConnectError {
    /// The host is none that a certificate can name.
    #[error(transparent)]
    Name(#[from] Error),
    /// Who answers has a certificate that is not believed.
    #[error("{0}")]
    Untrusted(#[source] std::io::Error),
    /// The connection broke, or the other side speaks something else.
    #[error("{0}")]
    Handshake(#[source] std::io::Error),
}

impl From<std::io::Error> for ConnectError {
    fn from(error: std::io::Error) -> Self {
        let refused = error.get_ref().and_then(|inner| inner.downcast_ref::<rustls::Error>());
        match refused {
            Some(rustls::Error::InvalidCertificate(_)) => Self::Untrusted(error),
            _ => Self::Handshake(error),
        }
    }
}
