//! The methods of `KV`.

use tonic::Status;

use super::super::convert::{key_value, lease, revision};
use super::super::proto::{
    CompactionRequest, CompactionResponse, DeleteRangeRequest, DeleteRangeResponse, PutRequest,
    PutResponse, RangeRequest, RangeResponse, TxnRequest, TxnResponse,
};
use super::super::text;
use super::super::text::server;
use super::refuse::status;
use super::select::Selection;
use super::{Shared, txn};
use crate::{Compare, Op, OpResult, Result, StoreExt, Txn, TxnResult};

/// How often a put that keeps something is tried while others write its key.
const MAX_SWAPS: u32 = 64;

impl Shared {
    pub(super) async fn range(&self, request: RangeRequest) -> Result<RangeResponse, Status> {
        let selection = Selection::of(request)?;
        let (range, options) = (selection.range.clone(), selection.options.clone());
        let page = self.store.range(range, options).await.map_err(status)?;
        let header = match selection.options.at {
            // The header tells the present, whatever is read.
            Some(_) => self.header_now().await.map_err(status)?,
            None => self.header(page.revision),
        };
        Ok(RangeResponse { header, ..selection.answer(page) })
    }

    /// Does a transaction, and takes note of whether there was room for it.
    async fn commit(&self, txn: Txn) -> Result<TxnResult> {
        let grows = |ops: &[Op]| ops.iter().any(|op| matches!(op, Op::Put { .. }));
        let grows = grows(&txn.then) || grows(&txn.otherwise);
        let result = self.store.txn(txn).await;
        if grows {
            self.note_room(&result);
        }
        result
    }

    pub(super) async fn txn(&self, request: TxnRequest) -> Result<TxnResponse, Status> {
        let mut translated = txn::translate(request)?;
        let result = self.commit(std::mem::take(&mut translated.txn)).await.map_err(status)?;
        Ok(translated.tell(self.header(result.revision), result))
    }

    pub(super) async fn put(&self, request: PutRequest) -> Result<PutResponse, Status> {
        if request.ignore_value && !request.value.is_empty() {
            return Err(Status::invalid_argument(server::VALUE_PROVIDED));
        }
        if request.ignore_lease && request.lease != 0 {
            return Err(Status::invalid_argument(server::LEASE_PROVIDED));
        }
        let previous = request.prev_kv;
        let result = match request.ignore_value || request.ignore_lease {
            true => self.put_keeping(request).await?,
            false => {
                let txn = Txn::default().and_then(txn::put(request)?);
                self.commit(txn).await.map_err(status)?
            }
        };
        let prev_kv = match result.responses.into_iter().next() {
            Some(OpResult::Put { previous: held }) if previous => held.map(key_value),
            _ => None,
        };
        Ok(PutResponse { header: self.header(result.revision), prev_kv })
    }

    /// Writes a key that keeps its value, its lease or both.
    async fn put_keeping(&self, request: PutRequest) -> Result<TxnResult, Status> {
        if request.key.is_empty() {
            return Err(Status::invalid_argument(text::EMPTY_KEY));
        }
        for _ in 0..MAX_SWAPS {
            let held = self.store.get(request.key.clone()).await.map_err(status)?;
            let Some(held) = held else {
                return Err(Status::invalid_argument(server::KEY_NOT_FOUND));
            };
            let value =
                if request.ignore_value { held.value } else { request.value.clone().into() };
            let lease = if request.ignore_lease { held.lease } else { lease(request.lease) };
            let txn = Txn::default()
                .when(Compare::modified(held.key, held.modified))
                .and_then(Op::Put { key: request.key.clone(), value, lease });
            let result = self.commit(txn).await.map_err(status)?;
            if result.succeeded {
                return Ok(result);
            }
        }
        Err(Status::unavailable(server::TIMED_OUT))
    }

    pub(super) async fn delete_range(
        &self,
        request: DeleteRangeRequest,
    ) -> Result<DeleteRangeResponse, Status> {
        let previous = request.prev_kv;
        let txn = Txn::default().and_then(txn::delete(request)?);
        let result = self.commit(txn).await.map_err(status)?;
        let held = match result.responses.into_iter().next() {
            Some(OpResult::Delete { deleted }) => deleted,
            _ => Vec::new(),
        };
        let deleted = i64::try_from(held.len()).unwrap_or(i64::MAX);
        let told = if previous { held } else { Vec::new() };
        let prev_kvs = told.into_iter().map(key_value).collect();
        Ok(DeleteRangeResponse { header: self.header(result.revision), deleted, prev_kvs })
    }

    pub(super) async fn compact(
        &self,
        request: CompactionRequest,
    ) -> Result<CompactionResponse, Status> {
        let through = revision(request.revision);
        // What we call done, etcd calls gone.
        if self.store.status().await.map_err(status)?.compacted >= through {
            return Err(Status::out_of_range(text::COMPACTED));
        }
        self.store.compact(through).await.map_err(status)?;
        Ok(CompactionResponse { header: self.header_now().await.map_err(status)? })
    }
}
