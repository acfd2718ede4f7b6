//! How a face calls itself, and its bounds.

use std::time::Duration;

/// How a face calls itself, and its bounds. Set what differs from the default.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct EtcdFaceOptions {
    /// The name of its one member.
    pub name: String,
    /// Where clients reach it, as the member list says.
    pub client_urls: Vec<String>,
    /// The number of the cluster. Clients notice when it changes.
    pub cluster_id: u64,
    /// The number of its one member.
    pub member_id: u64,
    /// The largest request in bytes: 4 MiB, as gRPC's default. Stores have limits of their own.
    pub max_request_bytes: usize,
    /// The part of a watch's answer, in bytes, for clients that take fragments: 1.5 MiB, as etcd's
    /// request limit.
    pub fragment_bytes: usize,
    /// How often a watch that asked for it is told its progress: 10 minutes, as etcd does.
    pub progress_interval: Duration,
    /// The most watches on one stream: 10,000.
    pub max_watches: usize,
    /// The most connections at once: 4,096.
    pub max_connections: usize,
}

impl Default for EtcdFaceOptions {
    fn default() -> Self {
        Self {
            name: "kubrick".to_owned(),
            client_urls: Vec::new(),
            cluster_id: 0x6b75_6272_6963_6b00,
            member_id: 0x6b75_6272_6963_6b01,
            max_request_bytes: 4 << 20,
            fragment_bytes: 3 << 19,
            progress_interval: Duration::from_secs(600),
            max_watches: 10_000,
            max_connections: 4096,
        }
    }
}

impl EtcdFaceOptions {
    /// Calls the member so.
    #[must_use]
    pub fn name(mut self, name: impl Into<String>) -> Self {
        self.name = name.into();
        self
    }

    /// Says that clients reach it there.
    #[must_use]
    pub fn client_urls<I: Into<String>>(mut self, urls: impl IntoIterator<Item = I>) -> Self {
        self.client_urls = urls.into_iter().map(Into::into).collect();
        self
    }

    /// Takes requests of at most `bytes`.
    #[must_use]
    pub fn max_request_bytes(mut self, bytes: usize) -> Self {
        self.max_request_bytes = bytes;
        self
    }

    /// Splits answers of watches that are larger than `bytes`, for clients that take fragments.
    #[must_use]
    pub fn fragment_bytes(mut self, bytes: usize) -> Self {
        self.fragment_bytes = bytes.max(1);
        self
    }

    /// Tells the progress each `interval`, to watches that asked for it.
    #[must_use]
    pub fn progress_interval(mut self, interval: Duration) -> Self {
        self.progress_interval = interval;
        self
    }
}
