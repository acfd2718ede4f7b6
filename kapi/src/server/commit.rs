//! Writing to the store, and waiting until the cache has seen it.

use std::sync::Arc;

use kcore::object::{Encoded, Object};
use kcore::status::{Reason, Status};
use kstore::{Compare, Op, Record, Revision, StoreExt as _, Txn, TxnResult, Value};

use super::{Result, Server};
use crate::cache::KindCache;
use crate::registry::Row;

/// Seconds a client is asked to wait while the store is not available.
const RETRY_AFTER_S: u32 = 1;

/// What else a write claims or gives back in the same transaction.
#[derive(Debug, Default)]
pub(super) struct Extras {
    pub(super) compares: Vec<Compare>,
    pub(super) ops: Vec<Op>,
}

/// Where a write goes.
#[derive(Clone, Copy)]
pub(super) struct Place<'a> {
    /// The kind, as it is stored.
    pub(super) row: &'a Row,
    pub(super) key: &'a str,
    /// The revision that must have written it last (zero: it must not exist).
    pub(super) expected: u64,
}

/// How a write ended.
pub(super) enum Outcome {
    /// It is stored, at this revision.
    Written(u64),
    /// The object's state is another one: this, or gone.
    Stale(Option<Box<Record>>),
    /// Something it claims is taken.
    Taken,
}

impl Server {
    /// Writes an object whose state must still be the expected one.
    pub(super) async fn commit(
        &self,
        at: Place<'_>,
        encoded: &Encoded,
        extras: Extras,
    ) -> Result<Outcome> {
        let value = Value::new(encoded.bytes().clone()).attach(Arc::new(encoded.clone()));
        self.write(at, Op::put(at.key.to_owned(), value), extras).await
    }

    /// Removes an object whose state must still be the expected one.
    pub(super) async fn remove(&self, at: Place<'_>, extras: Extras) -> Result<Outcome> {
        self.write(at, Op::delete(at.key.to_owned()), extras).await
    }

    async fn write(&self, at: Place<'_>, op: Op, extras: Extras) -> Result<Outcome> {
        let (key, expected) = (at.key.to_owned(), at.expected);
        let compare = match expected {
            0 => Compare::absent(key),
            revision => Compare::modified(key, Revision(revision)),
        };
        let mut txn = Txn::default().when(compare).and_then(op).durability(at.row.durability);
        txn.compares.extend(extras.compares);
        txn.then.extend(extras.ops);
        let result = self.cache.apply_with(self.store.txn(txn)).await;
        let result = result.map_err(|error| store_status(&error))?;
        let TxnResult { succeeded, revision, mut current, .. } = result;
        if succeeded {
            // What was written can be read by whoever hears of it (C4).
            self.cache.applied().reach(revision.0).await;
            return Ok(Outcome::Written(revision.0));
        }
        let found = if current.is_empty() { None } else { current.swap_remove(0) };
        let unchanged = found.as_ref().map_or(0, |record| record.modified.0) == expected;
        if unchanged {
            // Whoever chooses again has to know what another server gave away.
            self.catch_up().await?;
            return Ok(Outcome::Taken);
        }
        Ok(Outcome::Stale(found.map(Box::new)))
    }

    /// The handle of a state that was just written: the cache's own, unless it has moved on.
    pub(super) fn written(
        &self,
        row: &Row,
        kind: &KindCache,
        key: &str,
        encoded: Encoded,
        revision: u64,
    ) -> Object {
        kind.get(key)
            .filter(|object| object.resource_version() == revision)
            .unwrap_or_else(|| Object::new(encoded, revision, Some(row.codec)))
    }

    /// Waits until the cache can be decided over: what another server wrote before this request
    /// came, its namespace or the object itself, has to be in it.
    pub(super) async fn ready_to_write(&self) -> Result<()> {
        self.ready().await?;
        self.catch_up().await
    }

    /// Waits until reads from the cache are the most recent ones.
    pub(crate) async fn catch_up(&self) -> Result<()> {
        if self.options.shared_store {
            let revision = self.store.revision().await.map_err(|error| store_status(&error))?;
            self.cache.applied().reach(revision.0).await;
        }
        Ok(())
    }
}

/// The one place where a store's error becomes the API's.
pub(super) fn store_status(error: &kstore::Error) -> Status {
    let unavailable = |message: String| {
        Status::failure(503, Reason::ServiceUnavailable, message).retry_after(RETRY_AFTER_S)
    };
    match error {
        kstore::Error::Compacted { .. } => Status::expired(
            "The provided continue parameter is too old to display a consistent list result. You \
             can start a new list without the continue parameter, or use the continue token in \
             this response to retrieve the remainder of the results. Continuing with the provided \
             token results in an inconsistent list - objects that were created, modified, or \
             deleted between the time the first chunk was returned and now may show up in the \
             list.",
        ),
        kstore::Error::Future { requested, current } => Status::timeout(
            format!("Too large resource version: {requested}, current: {current}"),
            RETRY_AFTER_S,
        ),
        kstore::Error::TooLarge { .. } => Status::failure(
            413,
            Reason::RequestEntityTooLarge,
            format!("Request entity too large: {error}"),
        ),
        kstore::Error::OverQuota { .. } => {
            Status::failure(507, Reason::InternalError, format!("etcdserver: mvcc: {error}"))
        }
        kstore::Error::Busy { retry_after, .. } => {
            let seconds = u32::try_from(retry_after.as_secs()).unwrap_or(u32::MAX);
            Status::failure(429, Reason::TooManyRequests, error.to_string())
                .retry_after(seconds.max(RETRY_AFTER_S))
        }
        kstore::Error::Unavailable { source } => {
            unavailable(format!("the store cannot be reached: {source}"))
        }
        kstore::Error::Closed => unavailable(format!("the store cannot be reached: {error}")),
        other => Status::internal(other),
    }
}
