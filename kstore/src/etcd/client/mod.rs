//! The store over an etcd cluster.

mod failure;
mod health;
mod lease;
mod members;
mod metrics;
mod options;
mod plan;
mod range;
mod refusal;
mod version;
mod watch;

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use async_trait::async_trait;
use tokio::time::Instant;

pub use self::failure::EtcdError;
use self::failure::Failure;
pub use self::health::EtcdHealth;
use self::health::SyncWatch;
use self::members::{Members, Safety};
pub use self::options::EtcdOptions;
use self::plan::Plan;
use self::refusal::About;
use super::convert::{revision, signed};
use super::proto::{self, path};
use crate::{
    KeyRange, Leases, Op, Page, RangeOptions, Result, Revision, Store, StoreStatus, Txn, TxnResult,
    WatchOptions, WatchStream,
};

/// The largest answer to a transaction: what it reads and deletes cannot come in pages.
const MAX_TXN_ANSWER: usize = 512 << 20;

/// The largest answer to whatever carries no keys.
const MAX_SMALL_ANSWER: usize = 4 << 20;

/// How often a transaction is decided here because etcd cannot, before its keys are called too
/// contended.
const MAX_SWAPS: u32 = 64;

/// A [`Store`] over an [etcd](https://etcd.io) cluster of version 3.4 or newer.
///
/// One transaction is one transaction of etcd, and revisions are etcd's own, so several programs
/// over one cluster share one history. Reads are linearizable. A member that fails is left for the
/// next one: reads are repeated there, and so are writes that provably did not happen; any other
/// write ends as [`Unavailable`](crate::Error::Unavailable). A watch moves to another member
/// without a gap or a repetition.
///
/// What cannot be had from etcd: attachments (bytes alone reach the cluster), leases shorter than
/// a second (times to live are rounded up), and more keys in one transaction than
/// [`EtcdOptions::max_txn_ops`].
///
/// etcd tells progress safely from 3.4.31 and 3.5.13 on. Below that a watch follows every key of
/// the cluster and picks its own, for then a revision that has passed proves that all before it
/// has; [`EtcdHealth::native_progress`] tells which is in use.
///
/// ```no_run
/// # #[tokio::main(flavor = "current_thread")] async fn main() -> kstore::Result<()> {
/// use kstore::{EtcdOptions, EtcdStore, StoreExt};
/// let store = EtcdStore::connect(EtcdOptions::new(["http://127.0.0.1:2379"])).await?;
/// let revision = store.create("greeting", "hello").await?;
/// assert_eq!(store.get("greeting").await?.unwrap().modified, revision);
/// # Ok(()) }
/// ```
#[derive(Clone)]
pub struct EtcdStore {
    shared: Arc<Shared>,
}

/// What the handles of a store and its watches have in common.
struct Shared {
    options: EtcdOptions,
    members: Members,
    /// Every revision before this one is known to be compacted.
    compacted: AtomicU64,
    /// Watches that are open.
    watchers: AtomicU64,
    syncs: SyncWatch,
}

impl EtcdStore {
    /// A store over the cluster, once one of its members has answered.
    ///
    /// Fails with `Unavailable`, which names the member and the reason: an address that nobody
    /// listens on, a certificate that is not believed, a server that is no etcd of 3.4 or newer.
    pub async fn connect(options: EtcdOptions) -> Result<Self> {
        let store = Self::lazy(options)?;
        let health = store.shared.first_status().await?;
        version::check(&health.url, &health.status.version)?;
        store.shared.revision().await?;
        Ok(store)
    }

    /// A store over the cluster, whose members are first asked when there is something to ask.
    ///
    /// Must be called within a tokio runtime. Fails if an endpoint or a certificate cannot be
    /// read.
    pub fn lazy(options: EtcdOptions) -> Result<Self> {
        let members = Members::new(&options)?;
        let syncs = SyncWatch::new(options.slow_sync);
        let (compacted, watchers) = (AtomicU64::new(0), AtomicU64::new(0));
        Ok(Self { shared: Arc::new(Shared { options, members, compacted, watchers, syncs }) })
    }

    /// Lets every member give back the disk that compaction freed, one after the other; a member
    /// serves nothing while it does
    /// ([defragmentation](https://etcd.io/docs/v3.6/op-guide/maintenance/#defragmentation)).
    pub async fn defragment(&self) -> Result<()> {
        self.shared.defragment().await
    }

    /// Disarms the alarm that a cluster raises when its quota is reached; do it once there is room
    /// again, for until then no write is taken.
    pub async fn disarm(&self) -> Result<()> {
        self.shared.disarm().await
    }
}

impl Shared {
    /// Asks for something that may be asked again.
    async fn ask<Req, Res>(&self, path: &'static str, message: Req, limit: usize) -> Answer<Res>
    where
        Req: prost::Message + Clone + Send + Sync + 'static,
        Res: prost::Message + Default + Send + Sync + 'static,
    {
        self.members.call(path, message, limit, Safety::Repeatable).await
    }

    /// The current revision, linearizable.
    async fn revision(&self) -> Result<Revision> {
        let message = range::probe(Revision(0));
        let answer: Answer<proto::RangeResponse> =
            self.ask(path::RANGE, message, MAX_SMALL_ANSWER).await;
        match answer {
            Ok(answer) => Ok(revision(answer.header.unwrap_or_default().revision)),
            Err(failure) => Err(failure.error.into()),
        }
    }

    async fn txn(&self, txn: Txn) -> Result<TxnResult> {
        plan::check(&txn, &self.options)?;
        if txn.compares.iter().any(plan::holds_only_here) {
            return self.txn_by_swap(txn).await;
        }
        let about = About::txn(&txn);
        let plan = plan::plan(txn, &self.options)?;
        if plan.asks_nothing() {
            let revision = self.revision().await?;
            let header = proto::ResponseHeader { revision: signed(revision), ..Default::default() };
            let response =
                proto::TxnResponse { header: Some(header), succeeded: true, responses: Vec::new() };
            return plan.read(response).ok_or_else(|| self.nonsense());
        }
        self.send(plan, about).await
    }

    async fn send(&self, plan: Plan, mut about: About) -> Result<TxnResult> {
        about.size = prost::Message::encoded_len(&plan.request);
        let begun = Instant::now();
        let request = plan.request.clone();
        let answer: Answer<proto::TxnResponse> =
            self.members.call(path::TXN, request, MAX_TXN_ANSWER, Safety::Once).await;
        match answer {
            Ok(response) => {
                self.syncs.wrote(begun.elapsed());
                plan.read(response).ok_or_else(|| self.nonsense())
            }
            Err(failure) => Err(self.explain(failure, about).await),
        }
    }

    /// Decides a transaction here, and lets etcd do it if what was seen is still so: etcd says of
    /// no absent key that its value compares, where we say that an absent value is empty.
    async fn txn_by_swap(&self, txn: Txn) -> Result<TxnResult> {
        let keys: Vec<_> = txn.compares.iter().map(|compare| compare.key.clone()).collect();
        let look = || {
            let read = |key: &bytes::Bytes| {
                Op::range(KeyRange::single(key.clone()), RangeOptions::default())
            };
            Txn { then: keys.iter().map(read).collect(), ..Txn::default() }
        };
        for _ in 0..MAX_SWAPS {
            let plan = plan::plan(look(), &self.options)?;
            let seen = self.send(plan, About::default()).await?;
            let current: Vec<_> = seen.responses.into_iter().map(refusal::only_record).collect();
            let mut swap = Txn::default();
            let mut succeeded = true;
            for (compare, held) in txn.compares.iter().zip(&current) {
                succeeded &= compare.holds(held.as_ref());
                let modified = held.as_ref().map_or(Revision(0), |record| record.modified);
                swap = swap.when(crate::Compare::modified(compare.key.clone(), modified));
            }
            swap.then = if succeeded { txn.then.clone() } else { txn.otherwise.clone() };
            let about = About::txn(&swap);
            let done = self.send(plan::plan(swap, &self.options)?, about).await?;
            if done.succeeded {
                let current = if succeeded { Vec::new() } else { current };
                return Ok(TxnResult { succeeded, current, ..done });
            }
        }
        let (_, member) = self.members.current();
        let what = "saw the compared keys change whenever they were looked at";
        Err(EtcdError::new(&member.url, what).into())
    }

    async fn compact(&self, through: Revision) -> Result<()> {
        if through.0 == 0 {
            return Ok(());
        }
        let message = proto::CompactionRequest { revision: signed(through), physical: true };
        let answer: Answer<proto::CompactionResponse> =
            self.ask(path::COMPACT, message, MAX_SMALL_ANSWER).await;
        match answer {
            Ok(_) => {
                self.compacted.fetch_max(through.0, Ordering::Relaxed);
                Ok(())
            }
            Err(Failure { kind: failure::Kind::Refused(failure::Refusal::Compacted), .. }) => {
                Ok(())
            }
            Err(failure) => Err(self.explain(failure, About::at(through)).await),
        }
    }

    /// A member answered something that does not fit the question.
    fn nonsense(&self) -> crate::Error {
        let (_, member) = self.members.current();
        EtcdError::new(&member.url, "gave an answer that does not fit the question").into()
    }
}

/// An answer, or why there is none.
type Answer<T> = std::result::Result<T, Failure>;

#[async_trait]
impl Store for EtcdStore {
    async fn range(&self, range: KeyRange, options: RangeOptions) -> Result<Page> {
        self.shared.range(range, options).await
    }

    async fn txn(&self, txn: Txn) -> Result<TxnResult> {
        self.shared.txn(txn).await
    }

    async fn watch(&self, range: KeyRange, options: WatchOptions) -> Result<WatchStream> {
        watch::open(&self.shared, range, options).await
    }

    async fn compact(&self, through: Revision) -> Result<()> {
        self.shared.compact(through).await
    }

    async fn status(&self) -> Result<StoreStatus> {
        self.shared.status().await
    }

    fn leases(&self) -> Option<&dyn Leases> {
        Some(self)
    }
}

impl fmt::Debug for EtcdStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("EtcdStore").field("members", &self.shared.members).finish_non_exhaustive()
    }
}
