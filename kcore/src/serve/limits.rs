//! What a listener bears.

use std::time::Duration;

/// The line and the headers of a request, in bytes, unless [`Limits`] say otherwise. What is
/// longer is answered with 431.
pub const MAX_HEADER_BYTES: usize = 64 * 1024;
/// The headers of a request, unless [`Limits`] say otherwise; HTTP/2 counts their bytes alone.
pub const MAX_HEADERS: usize = 100;
/// Connections at once.
const MAX_CONNECTIONS: usize = 1_000;
/// Requests at once on one HTTP/2 connection: what Go's servers bear.
const MAX_STREAMS: u32 = 250;
/// How long strangers may take before they have said what they want.
const HANDSHAKE: Duration = Duration::from_secs(10);
/// How long requests may go on that are under way.
const DRAIN: Duration = Duration::from_secs(5);

/// Bounds of a listener.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Limits {
    /// Connections served at once; further ones wait to be accepted. 1,000.
    pub connections: usize,
    /// Requests at once on one HTTP/2 connection. 250.
    pub streams: u32,
    /// The line and the headers of a request, in bytes. [`MAX_HEADER_BYTES`].
    pub header_bytes: usize,
    /// The headers of a request in HTTP/1.1. [`MAX_HEADERS`].
    pub headers: usize,
    /// How long a handshake, and the headers of a request, may take. 10 s.
    pub handshake: Duration,
    /// How long requests under way may go on when the listener stops. 5 s.
    pub drain: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            connections: MAX_CONNECTIONS,
            streams: MAX_STREAMS,
            header_bytes: MAX_HEADER_BYTES,
            headers: MAX_HEADERS,
            handshake: HANDSHAKE,
            drain: DRAIN,
        }
    }
}

impl Limits {
    /// Connections served at once.
    #[must_use]
    pub fn connections(mut self, connections: usize) -> Self {
        self.connections = connections;
        self
    }

    /// Requests at once on one HTTP/2 connection.
    #[must_use]
    pub fn streams(mut self, streams: u32) -> Self {
        self.streams = streams;
        self
    }

    /// The line and the headers of a request, in bytes: 8 KiB at the least.
    #[must_use]
    pub fn header_bytes(mut self, bytes: usize) -> Self {
        self.header_bytes = bytes;
        self
    }

    /// The headers of a request in HTTP/1.1.
    #[must_use]
    pub fn headers(mut self, headers: usize) -> Self {
        self.headers = headers;
        self
    }

    /// How long a handshake, and the headers of a request, may take.
    #[must_use]
    pub fn handshake(mut self, longest: Duration) -> Self {
        self.handshake = longest;
        self
    }

    /// How long requests under way may go on when the listener stops.
    #[must_use]
    pub fn drain(mut self, longest: Duration) -> Self {
        self.drain = longest;
        self
    }
}
