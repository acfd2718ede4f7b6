//! What callers like to say, over what backends do.

use bytes::Bytes;

use crate::{
    Compare, Error, KeyRange, Op, OpResult, Page, RangeOptions, Record, Result, Revision, Store,
    Txn, TxnResult, Value,
};

/// Conveniences over [`Store`], implemented for every store and overridden by none.
pub trait StoreExt: Store {
    /// What `key` holds now.
    fn get(
        &self,
        key: impl Into<Bytes> + Send,
    ) -> impl Future<Output = Result<Option<Record>>> + Send {
        async move {
            let page = self.range(KeyRange::single(key), RangeOptions::default()).await?;
            Ok(page.records.into_iter().next())
        }
    }

    /// Everything in `range` now.
    fn list(&self, range: KeyRange) -> impl Future<Output = Result<Page>> + Send {
        async move { self.range(range, RangeOptions::default()).await }
    }

    /// Writes `value` under `key` whatever it held, and returns the write's revision.
    fn put(
        &self,
        key: impl Into<Bytes> + Send,
        value: impl Into<Value> + Send,
    ) -> impl Future<Output = Result<Revision>> + Send {
        async move { Ok(self.txn(Txn::default().and_then(Op::put(key, value))).await?.revision) }
    }

    /// Writes `value` under `key` if it holds nothing, and returns the write's revision.
    ///
    /// Fails with [`Error::Conflict`], which carries what it holds.
    fn create(
        &self,
        key: impl Into<Bytes> + Send,
        value: impl Into<Value> + Send,
    ) -> impl Future<Output = Result<Revision>> + Send {
        async move { self.compare_and_swap(key, Revision(0), value).await }
    }

    /// Writes `value` under `key` if `expected` is the revision that wrote it last (`Revision(0)`:
    /// if it holds nothing), and returns the write's revision.
    ///
    /// Fails with [`Error::Conflict`], which carries what it holds.
    fn compare_and_swap(
        &self,
        key: impl Into<Bytes> + Send,
        expected: Revision,
        value: impl Into<Value> + Send,
    ) -> impl Future<Output = Result<Revision>> + Send {
        async move {
            let key = key.into();
            let txn = Txn::default()
                .when(Compare::modified(key.clone(), expected))
                .and_then(Op::put(key.clone(), value));
            Ok(applied(key, self.txn(txn).await?)?.revision)
        }
    }

    /// Deletes `key` and returns what it held.
    fn delete(
        &self,
        key: impl Into<Bytes> + Send,
    ) -> impl Future<Output = Result<Option<Record>>> + Send {
        async move {
            let result = self.txn(Txn::default().and_then(Op::delete(key))).await?;
            Ok(deleted(result).into_iter().next())
        }
    }

    /// Deletes `key` if `expected` is the revision that wrote it last, and returns the revision of
    /// the deletion.
    ///
    /// Fails with [`Error::Conflict`], which carries what it holds.
    fn delete_if(
        &self,
        key: impl Into<Bytes> + Send,
        expected: Revision,
    ) -> impl Future<Output = Result<Revision>> + Send {
        async move {
            let key = key.into();
            let txn = Txn::default()
                .when(Compare::modified(key.clone(), expected))
                .and_then(Op::delete(key.clone()));
            Ok(applied(key, self.txn(txn).await?)?.revision)
        }
    }

    /// Deletes every key of `range` at one revision and returns what they held.
    fn delete_range(&self, range: KeyRange) -> impl Future<Output = Result<Vec<Record>>> + Send {
        let txn = Txn::default().and_then(Op::delete_range(range));
        async move { Ok(deleted(self.txn(txn).await?)) }
    }

    /// The current revision.
    fn revision(&self) -> impl Future<Output = Result<Revision>> + Send {
        async move {
            let none = KeyRange::between(Bytes::new(), Bytes::new());
            Ok(self.range(none, RangeOptions::default().count_only()).await?.revision)
        }
    }
}

impl<S: Store + ?Sized> StoreExt for S {}

fn applied(key: Bytes, mut result: TxnResult) -> Result<TxnResult> {
    if result.succeeded {
        Ok(result)
    } else {
        let current = result.current.pop().flatten().map(Box::new);
        Err(Error::Conflict { key, current })
    }
}

fn deleted(result: TxnResult) -> Vec<Record> {
    match result.responses.into_iter().next() {
        Some(OpResult::Delete { deleted }) => deleted,
        _ => Vec::new(),
    }
}
