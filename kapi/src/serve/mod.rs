//! Serving the API over HTTPS: certificates, kubeconfigs, the listener.

mod account_key;
mod files;
mod kubeconfig;
mod listener;
mod nodes;
mod pki;

pub use kcore::tls::Certificate;

pub use account_key::ServiceAccountKey;
pub use kubeconfig::kubeconfig;
pub use listener::{HttpsServer, Listener, MAX_CONNECTIONS, MAX_STREAMS};
pub use nodes::HttpsNodes;
pub use pki::ClusterCa;

/// Why a server cannot listen. Each says what to do about it.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ServeError {
    /// A file or directory cannot be used.
    #[error("{path} cannot be {action}: {source}; choose a directory that this user may write")]
    File {
        /// The file or directory.
        path: std::path::PathBuf,
        /// What was tried: `read`, `written` or `created`.
        action: &'static str,
        /// Why it failed.
        source: std::io::Error,
    },
    /// The address is taken or not this machine's.
    #[error("cannot listen on {address}: {source}; choose another address with --listen")]
    Listen {
        /// The address.
        address: std::net::SocketAddr,
        /// Why it failed.
        source: std::io::Error,
    },
    /// A certificate or key is damaged or cannot be made.
    #[error("{what} is not usable: {why}; remove it to have a new one made")]
    Certificate {
        /// The certificate or key.
        what: String,
        /// What is wrong with it.
        why: String,
    },
    /// TLS cannot be had with what was given.
    #[error(transparent)]
    Tls(#[from] kcore::tls::Error),
}
