//! The store's errors in etcd's words.

use tonic::Status;

use super::super::text::{self, server};
use crate::Error;

/// The status that etcd has for an error, with the text that its clients match on.
pub(super) fn status(error: Error) -> Status {
    match error {
        Error::Compacted { .. } => Status::out_of_range(text::COMPACTED),
        Error::Future { .. } => Status::out_of_range(text::FUTURE),
        Error::OverQuota { .. } => Status::resource_exhausted(text::NO_SPACE),
        Error::EmptyKey => Status::invalid_argument(text::EMPTY_KEY),
        Error::DuplicateKey { .. } => Status::invalid_argument(text::DUPLICATE_KEY),
        Error::TooLarge { what: "transaction", .. } => Status::invalid_argument(text::TOO_MANY_OPS),
        Error::TooLarge { .. } => Status::invalid_argument(text::TOO_LARGE),
        Error::LeaseNotFound { .. } => Status::not_found(text::LEASE_NOT_FOUND),
        Error::Closed => Status::unavailable(server::STOPPED),
        Error::Unavailable { .. } => Status::unavailable(server::TIMED_OUT),
        // A full disk, damage and the like: the store's own words say most.
        other => Status::unavailable(format!("etcdserver: {other}")),
    }
}

/// The store has no leases.
pub(super) fn no_leases() -> Status {
    Status::unimplemented("this store has no leases")
}
