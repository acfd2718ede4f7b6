//! What etcd refuses, as the store's contract says it.

use super::super::convert::lease_id;
use super::super::proto::{self, path};
use super::failure::{Failure, Kind, Refusal};
use super::{Answer, MAX_SMALL_ANSWER, Shared};
use crate::{Error, LeaseId, Op, OpResult, Record, Revision, Txn};

/// etcd's default `--max-request-bytes`.
const DEFAULT_REQUEST_BYTES: usize = 3 << 19;

/// What was asked, as far as a refusal has to name it.
#[derive(Debug, Clone, Default)]
pub(super) struct About {
    at: Revision,
    leases: Vec<LeaseId>,
    operations: usize,
    pub(super) size: usize,
}

impl About {
    /// Something at a revision.
    pub(super) fn at(at: Revision) -> Self {
        Self { at, ..Self::default() }
    }

    /// A lease.
    pub(super) fn lease(lease: LeaseId) -> Self {
        Self { leases: vec![lease], ..Self::default() }
    }

    /// A transaction.
    pub(super) fn txn(txn: &Txn) -> Self {
        let operations = txn.then.len().max(txn.otherwise.len()).max(txn.compares.len());
        let mut about = Self { operations, ..Self::default() };
        for op in txn.then.iter().chain(&txn.otherwise) {
            match op {
                Op::Put { lease: Some(lease), .. } => about.leases.push(*lease),
                Op::Range(_, options) if about.at.0 == 0 => {
                    about.at = options.at.unwrap_or_default();
                }
                _ => {}
            }
        }
        about
    }
}

/// The record of a read of one key.
pub(super) fn only_record(result: OpResult) -> Option<Record> {
    match result {
        OpResult::Range(page) => page.records.into_iter().next(),
        _ => None,
    }
}

impl Shared {
    /// A failure as the contract's error; numbers that etcd does not tell with it are asked for.
    pub(super) async fn explain(&self, failure: Failure, about: About) -> Error {
        let Kind::Refused(refusal) = failure.kind else { return failure.error.into() };
        let explained = match refusal {
            Refusal::Compacted => self
                .find_compacted()
                .await
                .map(|compacted| Error::Compacted { requested: about.at, compacted }),
            Refusal::Future => {
                self.revision().await.map(|current| Error::Future { requested: about.at, current })
            }
            Refusal::EmptyKey => Ok(Error::EmptyKey),
            Refusal::LeaseNotFound => self.missing_lease(&about).await,
            Refusal::NoSpace => self.over_quota().await,
            Refusal::TooLarge => Ok(Error::TooLarge {
                what: "transaction",
                size: about.size,
                limit: DEFAULT_REQUEST_BYTES,
            }),
            Refusal::TooManyOps => Ok(Error::TooLarge {
                what: "transaction",
                size: about.operations,
                limit: self.options.max_txn_ops,
            }),
            Refusal::DuplicateKey | Refusal::Other => return failure.error.into(),
        };
        explained.unwrap_or_else(|error| error)
    }

    /// Which of the leases it is that does not exist.
    async fn missing_lease(&self, about: &About) -> Result<Error, Error> {
        let mut leases = about.leases.clone();
        leases.sort_unstable();
        leases.dedup();
        let Some(mut missing) = leases.first().copied() else {
            return Ok(self.nonsense());
        };
        for lease in leases.iter().skip(1).filter(|_| leases.len() > 1) {
            let message =
                proto::LeaseTimeToLiveRequest { id: lease_id(Some(missing)), keys: false };
            let answer: Answer<proto::LeaseTimeToLiveResponse> =
                self.ask(path::LEASE_TIME_TO_LIVE, message, MAX_SMALL_ANSWER).await;
            if answer.is_ok_and(|answer| answer.ttl >= 0) {
                missing = *lease;
            }
        }
        Ok(Error::LeaseNotFound { lease: missing })
    }
}
