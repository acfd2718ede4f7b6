//! Where an etcd cluster is, and how patient to be with it.

use std::fmt;
use std::time::Duration;

/// The least patience that makes sense.
const LEAST: Duration = Duration::from_millis(1);

/// Where an etcd cluster is and how to use it. Set what differs from the default:
///
/// ```
/// # use kstore::EtcdOptions;
/// let options = EtcdOptions::new(["https://10.0.0.1:2379", "https://10.0.0.2:2379"])
///     .ca_pem("-----BEGIN CERTIFICATE-----…")
///     .identity_pem("-----BEGIN CERTIFICATE-----…", "-----BEGIN PRIVATE KEY-----…");
/// # assert_eq!(options.endpoints.len(), 2);
/// ```
///
/// Certificates are those of
/// [etcd's transport security](https://etcd.io/docs/v3.6/op-guide/security/).
#[derive(Clone)]
#[non_exhaustive]
pub struct EtcdOptions {
    /// The client URLs of the members, `http://` or `https://`; the first one is asked first.
    pub endpoints: Vec<String>,
    /// The authorities that `https` endpoints are believed by, as PEM.
    pub ca_pem: Option<String>,
    /// The name that their certificates are for; unset: the host of the endpoint.
    pub server_name: Option<String>,
    /// Our certificate, as PEM.
    pub cert_pem: Option<String>,
    /// Our private key, as PEM. Never shown.
    pub key_pem: Option<String>,
    /// The user and the password of
    /// [etcd's authentication](https://etcd.io/docs/v3.6/op-guide/authentication/). Never shown.
    pub user: Option<(String, String)>,
    /// How long an operation may take, with everything that is tried: 10 s.
    pub timeout: Duration,
    /// How long one member may take to answer before a read asks another one and a write is given
    /// up as [`Unavailable`](crate::Error::Unavailable): 5 s.
    pub attempt_timeout: Duration,
    /// How long a watch that lost its member looks for another one before it ends: 30 s.
    pub watch_patience: Duration,
    /// The largest value in bytes: a little less than etcd's default request limit of 1.5 MiB.
    pub max_value_bytes: usize,
    /// The most compares, and operations of one branch, of a transaction: 128, as etcd's default
    /// `--max-txn-ops`. Each compared key costs an operation of the other branch.
    pub max_txn_ops: usize,
    /// Revisions that may wait for a watcher before it is closed: 65,536.
    pub watch_backlog: usize,
    /// Bytes of keys and values that may wait for a watcher before it is closed: 64 MiB.
    pub watch_backlog_bytes: u64,
    /// The sync latency (99th percentile) from which on etcd's disk is called slow: 10 ms, as
    /// [etcd says](https://etcd.io/docs/v3.6/faq/#what-does-the-etcd-warning-failed-to-send-out-heartbeat-on-time-mean).
    pub slow_sync: Duration,
    /// Where members tell their metrics, if not at their endpoints: base URLs (`http://` only), in
    /// the order of the endpoints.
    pub metrics_endpoints: Vec<String>,
}

impl EtcdOptions {
    /// The options for the cluster with those client URLs.
    #[must_use]
    pub fn new<I: Into<String>>(endpoints: impl IntoIterator<Item = I>) -> Self {
        Self {
            endpoints: endpoints.into_iter().map(Into::into).collect(),
            ca_pem: None,
            server_name: None,
            cert_pem: None,
            key_pem: None,
            user: None,
            timeout: Duration::from_secs(10),
            attempt_timeout: Duration::from_secs(5),
            watch_patience: Duration::from_secs(30),
            max_value_bytes: (3 << 19) - (16 << 10),
            max_txn_ops: 128,
            watch_backlog: 1 << 16,
            watch_backlog_bytes: 64 << 20,
            slow_sync: Duration::from_millis(10),
            metrics_endpoints: Vec::new(),
        }
    }

    /// Believes certificates of these authorities.
    #[must_use]
    pub fn ca_pem(mut self, pem: impl Into<String>) -> Self {
        self.ca_pem = Some(pem.into());
        self
    }

    /// Expects certificates for `name`, whatever the endpoints are called.
    #[must_use]
    pub fn server_name(mut self, name: impl Into<String>) -> Self {
        self.server_name = Some(name.into());
        self
    }

    /// Shows this certificate to the members.
    #[must_use]
    pub fn identity_pem(mut self, cert: impl Into<String>, key: impl Into<String>) -> Self {
        (self.cert_pem, self.key_pem) = (Some(cert.into()), Some(key.into()));
        self
    }

    /// Authenticates as this user.
    #[must_use]
    pub fn user(mut self, name: impl Into<String>, password: impl Into<String>) -> Self {
        self.user = Some((name.into(), password.into()));
        self
    }

    /// Gives up an operation after `timeout`.
    #[must_use]
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = timeout.max(LEAST);
        self
    }

    /// Gives up on one member after `timeout`.
    #[must_use]
    pub fn attempt_timeout(mut self, timeout: Duration) -> Self {
        self.attempt_timeout = timeout.max(LEAST);
        self
    }

    /// Lets a watch look for another member for so long.
    #[must_use]
    pub fn watch_patience(mut self, patience: Duration) -> Self {
        self.watch_patience = patience;
        self
    }

    /// Refuses values of more than `bytes`.
    #[must_use]
    pub fn max_value_bytes(mut self, bytes: usize) -> Self {
        self.max_value_bytes = bytes;
        self
    }

    /// Refuses transactions of more than `operations`.
    #[must_use]
    pub fn max_txn_ops(mut self, operations: usize) -> Self {
        self.max_txn_ops = operations;
        self
    }

    /// Closes a watcher that is `revisions` behind.
    #[must_use]
    pub fn watch_backlog(mut self, revisions: usize) -> Self {
        self.watch_backlog = revisions.max(1);
        self
    }

    /// Closes a watcher for which more than `bytes` wait.
    #[must_use]
    pub fn watch_backlog_bytes(mut self, bytes: u64) -> Self {
        self.watch_backlog_bytes = bytes;
        self
    }

    /// Calls syncs slow that take longer than `latency`.
    #[must_use]
    pub fn slow_sync(mut self, latency: Duration) -> Self {
        self.slow_sync = latency;
        self
    }

    /// Reads the members' metrics there.
    #[must_use]
    pub fn metrics_endpoints<I: Into<String>>(
        mut self,
        endpoints: impl IntoIterator<Item = I>,
    ) -> Self {
        self.metrics_endpoints = endpoints.into_iter().map(Into::into).collect();
        self
    }
}

impl fmt::Debug for EtcdOptions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("EtcdOptions")
            .field("endpoints", &self.endpoints)
            .field("server_name", &self.server_name)
            .field("user", &self.user.as_ref().map(|(name, _)| name))
            .field("timeout", &self.timeout)
            .finish_non_exhaustive()
    }
}
