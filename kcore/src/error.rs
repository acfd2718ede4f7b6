//! The error of everything that talks to an API server.

use crate::status::{Reason, Status};

/// Why a call on a [`Client`](crate::client::Client) failed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The server answered, and said no.
    #[error(transparent)]
    Api(#[from] Box<Status>),
    /// What the server sent, or what was to be sent, is no such object.
    #[error("{what} cannot be decoded")]
    Decode {
        /// The object or reply at fault.
        what: String,
        /// Where and why.
        #[source]
        source: serde_json::Error,
    },
    /// The server could not be reached, or the connection broke.
    #[error("the API server cannot be reached")]
    Transport(#[source] Box<dyn std::error::Error + Send + Sync>),
}

impl Error {
    /// The server's answer, if there was one.
    #[must_use]
    pub fn status(&self) -> Option<&Status> {
        match self {
            Self::Api(status) => Some(status),
            _ => None,
        }
    }

    /// Whether the server answered with `reason`.
    #[must_use]
    pub fn is(&self, reason: Reason) -> bool {
        self.status().is_some_and(|status| status.reason == reason)
    }

    /// The object does not exist.
    #[must_use]
    pub fn is_not_found(&self) -> bool {
        self.is(Reason::NotFound)
    }

    /// An object of that name exists already.
    #[must_use]
    pub fn is_already_exists(&self) -> bool {
        self.is(Reason::AlreadyExists)
    }

    /// The write was based on a version of the object that is no longer the current one.
    #[must_use]
    pub fn is_conflict(&self) -> bool {
        self.is(Reason::Conflict)
    }

    /// The resource version asked for has been compacted: list again.
    #[must_use]
    pub fn is_expired(&self) -> bool {
        self.is(Reason::Expired) || self.is(Reason::Gone)
    }
}

impl From<Status> for Error {
    fn from(status: Status) -> Self {
        Self::Api(Box::new(status))
    }
}
