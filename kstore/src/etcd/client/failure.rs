//! What became of a call.

use std::error::Error as _;
use std::sync::Arc;

use tonic::{Code, ConnectError, Status};

use super::super::text;
use crate::Error;

/// A member could not be reached, or refused for a reason that is none of the store's.
#[derive(Debug, Clone, thiserror::Error)]
#[error("etcd at {endpoint} {what}")]
#[non_exhaustive]
pub struct EtcdError {
    /// The client URL of the member that was asked last.
    pub endpoint: String,
    /// What it said, or what kept it from being asked.
    pub what: String,
    /// What is below that.
    #[source]
    pub source: Option<Arc<Status>>,
}

impl EtcdError {
    pub(super) fn new(endpoint: &str, what: impl Into<String>) -> Self {
        Self { endpoint: endpoint.to_owned(), what: what.into(), source: None }
    }
}

impl From<EtcdError> for Error {
    fn from(error: EtcdError) -> Self {
        Self::unavailable(error)
    }
}

/// Why a call has no answer.
#[derive(Debug)]
pub(super) struct Failure {
    pub(super) kind: Kind,
    pub(super) error: EtcdError,
}

/// What of a failure decides what to do next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// The cluster answered, with a refusal that another member would repeat.
    Refused(Refusal),
    /// The answer is larger than a message may be.
    AnswerTooLarge,
    /// The token has to be fetched anew; nothing was done.
    Token,
    /// Nothing was done: the member was not reached, or refused before it began.
    Undone,
    /// Nobody knows whether anything was done.
    Unknown,
}

/// What a cluster refuses.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Refusal {
    Compacted,
    Future,
    DuplicateKey,
    EmptyKey,
    LeaseNotFound,
    NoSpace,
    TooLarge,
    TooManyOps,
    /// Something about the request that the store's contract does not know, such as permissions.
    Other,
}

/// Refusals by the texts that etcd has for them.
const REFUSALS: [(&str, Refusal); 8] = [
    (text::COMPACTED, Refusal::Compacted),
    (text::FUTURE, Refusal::Future),
    (text::DUPLICATE_KEY, Refusal::DuplicateKey),
    (text::EMPTY_KEY, Refusal::EmptyKey),
    (text::LEASE_NOT_FOUND, Refusal::LeaseNotFound),
    (text::NO_SPACE, Refusal::NoSpace),
    (text::TOO_LARGE, Refusal::TooLarge),
    (text::TOO_MANY_OPS, Refusal::TooManyOps),
];

/// What members say before they do anything.
const UNDONE: [&str; 3] =
    [text::client::NO_LEADER, text::client::TOO_MANY_REQUESTS, text::client::LEARNER];

impl Failure {
    pub(super) fn of(endpoint: &str, status: Status) -> Self {
        let kind = classify(&status);
        let what = describe(&status);
        let error =
            EtcdError { endpoint: endpoint.to_owned(), what, source: Some(Arc::new(status)) };
        Self { kind, error }
    }

    /// The member took too long.
    pub(super) fn late(endpoint: &str) -> Self {
        Self { kind: Kind::Unknown, error: EtcdError::new(endpoint, "did not answer in time") }
    }
}

/// What was said, with the innermost reason if nobody was there to say anything: an expired
/// certificate, a refused connection.
fn describe(status: &Status) -> String {
    let mut innermost = None;
    let mut source = status.source();
    while let Some(error) = source {
        innermost = Some(error.to_string());
        source = error.source();
    }
    match innermost {
        Some(reason) => format!("cannot be used: {}: {reason}", status.message()),
        None => format!("refused: {}", status.message()),
    }
}

fn classify(status: &Status) -> Kind {
    let message = status.message();
    if let Some((_, refusal)) = REFUSALS.iter().find(|(text, _)| *text == message) {
        return Kind::Refused(*refusal);
    }
    if message == text::client::INVALID_TOKEN {
        return Kind::Token;
    }
    if UNDONE.contains(&message) || never_connected(status) {
        return Kind::Undone;
    }
    match status.code() {
        Code::OutOfRange if message.contains("decoded message length too large") => {
            Kind::AnswerTooLarge
        }
        Code::InvalidArgument
        | Code::NotFound
        | Code::AlreadyExists
        | Code::PermissionDenied
        | Code::FailedPrecondition
        | Code::OutOfRange
        | Code::Unimplemented
        | Code::Unauthenticated => Kind::Refused(Refusal::Other),
        _ => Kind::Unknown,
    }
}

fn never_connected(status: &Status) -> bool {
    let mut source = status.source();
    while let Some(error) = source {
        if error.is::<ConnectError>() {
            return true;
        }
        source = error.source();
    }
    false
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn refusals_are_known_by_their_texts() {
        let kind = |code, text: &str| classify(&Status::new(code, text));
        let compacted = kind(Code::OutOfRange, text::COMPACTED);
        assert_eq!(compacted, Kind::Refused(Refusal::Compacted));
        let full = kind(Code::ResourceExhausted, text::NO_SPACE);
        assert_eq!(full, Kind::Refused(Refusal::NoSpace));
        let denied = kind(Code::PermissionDenied, "etcdserver: permission denied");
        assert_eq!(denied, Kind::Refused(Refusal::Other));
    }

    #[test]
    fn only_what_provably_did_not_happen_is_undone() {
        let kind = |code, text: &str| classify(&Status::new(code, text));
        assert_eq!(kind(Code::Unavailable, "etcdserver: no leader"), Kind::Undone);
        assert_eq!(kind(Code::ResourceExhausted, "etcdserver: too many requests"), Kind::Undone);
        for text in ["etcdserver: leader changed", "etcdserver: request timed out", "broken pipe"] {
            assert_eq!(kind(Code::Unavailable, text), Kind::Unknown);
        }
        assert_eq!(kind(Code::Cancelled, "h2 protocol error"), Kind::Unknown);
        assert_eq!(kind(Code::Unknown, "transport error"), Kind::Unknown);
        let refused = std::io::Error::from(std::io::ErrorKind::ConnectionRefused);
        let connect = Status::from_error(Box::new(ConnectError(Box::new(refused))));
        assert_eq!(classify(&connect), Kind::Undone);
    }
}
