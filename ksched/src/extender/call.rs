//! What can go wrong between here and an extender.

use std::time::Duration;

/// Why an extender has not answered.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CallError {
    /// Its URL cannot be used.
    #[error("{url:?} is no URL of an extender, such as http://host:8888/path: {why}")]
    Url {
        /// The URL.
        url: String,
        /// What is wrong with it.
        why: String,
    },
    /// What TLS was given cannot be used.
    #[error("TLS with the extender at {url}: {why}")]
    Tls {
        /// The URL.
        url: String,
        /// What is wrong, and what would be right.
        why: String,
    },
    /// It cannot be reached.
    #[error("extender at URL {url} cannot be reached: {source}")]
    Unreachable {
        /// The URL.
        url: String,
        /// Why.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// It has not answered in time.
    #[error("extender at URL {url} has not answered within {after:?}")]
    Timeout {
        /// The URL.
        url: String,
        /// The time it had.
        after: Duration,
    },
    /// It has refused.
    #[error("failed {verb} with extender at URL {url}, code {code}")]
    Refused {
        /// What it was asked for.
        verb: String,
        /// The URL.
        url: String,
        /// The HTTP status.
        code: u16,
    },
    /// Its answer cannot be used.
    #[error("answer of extender at URL {url}: {why}")]
    Answer {
        /// The URL.
        url: String,
        /// What is wrong with it, or what it says went wrong.
        why: String,
    },
}
