//! A store that is measured.
#![deny(clippy::missing_trait_methods)]

use std::sync::atomic::AtomicU64;

use async_trait::async_trait;
use futures::StreamExt;
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::{Histogram, exponential_buckets};
use prometheus_client::registry::{Registry, Unit};
use tokio::time::Instant;

use crate::{
    Error, KeyRange, Leases, Op, Page, RangeOptions, Record, Result, Revision, Store, StoreStatus,
    Txn, TxnResult, WatchBatch, WatchOptions, WatchStream,
};

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct OperationLabels {
    operation: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ErrorLabels {
    operation: &'static str,
    reason: &'static str,
}

type Latency = Family<OperationLabels, Histogram, fn() -> Histogram>;
type Level = Gauge<u64, AtomicU64>;

/// A layer over any store that measures it, under names in
/// [etcd's tradition](https://etcd.io/docs/v3.6/metrics/):
///
/// | metric | is |
/// | --- | --- |
/// | `store_request_duration_seconds{operation}` | how long operations took |
/// | `store_request_errors_total{operation,reason}` | how many failed, and of what |
/// | `store_mvcc_put_total`, `store_mvcc_delete_total` | keys put and deleted by transactions |
/// | `store_mvcc_txn_conflicts_total` | transactions whose compares failed |
/// | `store_mvcc_range_keys_total` | records read by ranges |
/// | `store_client_received_bytes_total`, `store_client_sent_bytes_total` | of keys and values |
/// | `store_watch_events_total` | events told to watchers |
/// | `store_watchers` | watches that are open, as of the last change or status |
/// | `store_mvcc_current_revision`, `store_mvcc_compact_revision` | revisions, as last seen |
/// | `store_mvcc_db_total_size_in_use_bytes`, `store_mvcc_keys_total` | as of the last status |
/// | `store_disk_sync_seconds` | how long the last sync took, as of the last status |
///
/// The registry is a value: two stores in one process have one each.
#[derive(Debug)]
pub struct MeteredStore<S> {
    inner: S,
    metrics: Metrics,
}

#[derive(Debug, Clone, Default)]
struct Operations {
    puts: Counter,
    deletes: Counter,
    conflicts: Counter,
    range_keys: Counter,
    events: Counter,
    received: Counter,
    sent: Counter,
}

#[derive(Debug)]
struct Metrics {
    latency: Latency,
    errors: Family<ErrorLabels, Counter>,
    operations: Operations,
    watchers: Level,
    revision: Level,
    compacted: Level,
    bytes: Level,
    keys: Level,
    sync: Gauge<f64, AtomicU64>,
}

/// From 4 µs to 8 s, by factors of two.
fn latency_buckets() -> Histogram {
    Histogram::new(exponential_buckets(0.000_004, 2.0, 22))
}

impl Metrics {
    fn register(registry: &mut Registry) -> Self {
        let metrics = Self {
            latency: Family::new_with_constructor(latency_buckets),
            errors: Family::default(),
            operations: Operations::default(),
            watchers: Level::default(),
            revision: Level::default(),
            compacted: Level::default(),
            bytes: Level::default(),
            keys: Level::default(),
            sync: Gauge::default(),
        };
        let registry = registry.sub_registry_with_prefix("store");
        let help = "How long operations took";
        let latency = metrics.latency.clone();
        registry.register_with_unit("request_duration", help, Unit::Seconds, latency);
        registry.register("request_errors", "Operations that failed", metrics.errors.clone());
        let Operations { puts, deletes, conflicts, range_keys, events, received, sent } =
            metrics.operations.clone();
        registry.register("client_received_bytes", "Bytes of keys and values put", received);
        registry.register("client_sent_bytes", "Bytes of records read and told", sent);
        registry.register("mvcc_put", "Keys put by transactions", puts);
        registry.register("mvcc_delete", "Keys deleted by transactions", deletes);
        registry.register("mvcc_txn_conflicts", "Transactions whose compares failed", conflicts);
        registry.register("mvcc_range_keys", "Records read by ranges", range_keys);
        registry.register("watch_events", "Events told to watchers", events);
        let level = |level: &Level| level.clone();
        registry.register("watchers", "Watches that are open", level(&metrics.watchers));
        let help = "The current revision, as last seen";
        registry.register("mvcc_current_revision", help, level(&metrics.revision));
        let help = "The compacted revision, as last seen";
        registry.register("mvcc_compact_revision", help, level(&metrics.compacted));
        let help = "Bytes in use, history included";
        let bytes = level(&metrics.bytes);
        registry.register_with_unit("mvcc_db_total_size_in_use", help, Unit::Bytes, bytes);
        registry.register("mvcc_keys_total", "Keys that exist", level(&metrics.keys));
        let help = "How long the last sync took";
        registry.register_with_unit("disk_sync", help, Unit::Seconds, metrics.sync.clone());
        metrics
    }

    /// Measures one operation.
    async fn measure<T>(
        &self,
        operation: &'static str,
        doing: impl Future<Output = Result<T>>,
    ) -> Result<T> {
        let start = Instant::now();
        let result = doing.await;
        let latency = self.latency.get_or_create(&OperationLabels { operation });
        latency.observe(start.elapsed().as_secs_f64());
        drop(latency);
        if let Err(error) = &result {
            let reason = reason(error);
            self.errors.get_or_create(&ErrorLabels { operation, reason }).inc();
        }
        result
    }

    fn saw_revision(&self, revision: Revision) {
        // Answers may overtake each other, and the revision never goes back.
        self.revision.inner().fetch_max(revision.0, std::sync::atomic::Ordering::Relaxed);
    }

    fn saw_txn(&self, result: &TxnResult) {
        self.saw_revision(result.revision);
        if !result.succeeded {
            self.operations.conflicts.inc();
        }
        for response in &result.responses {
            match response {
                crate::OpResult::Put { .. } => drop(self.operations.puts.inc()),
                crate::OpResult::Delete { deleted } => {
                    self.operations.deletes.inc_by(deleted.len() as u64);
                }
                crate::OpResult::Range(page) => self.saw_page(page),
            }
        }
    }

    fn saw_status(&self, status: &StoreStatus) {
        self.saw_revision(status.revision);
        self.compacted.set(status.compacted.0);
        self.bytes.set(status.bytes);
        self.keys.set(status.keys);
        if let Some(latency) = status.sync_latency {
            self.sync.set(latency.as_secs_f64());
        }
    }

    fn saw_page(&self, page: &Page) {
        self.operations.range_keys.inc_by(page.records.len() as u64);
        self.operations.sent.inc_by(page.records.iter().map(bytes_of).sum());
    }

    /// Counts what a transaction brings; both branches come over the wire.
    fn receives(&self, txn: &Txn) {
        let puts = txn.then.iter().chain(&txn.otherwise).map(|op| match op {
            Op::Put { key, value, .. } => (key.len() + value.bytes.len()) as u64,
            Op::Delete(_) | Op::Range(..) => 0,
        });
        self.operations.received.inc_by(puts.sum());
    }
}

fn bytes_of(record: &Record) -> u64 {
    (record.key.len() + record.value.bytes.len()) as u64
}

fn reason(error: &Error) -> &'static str {
    match error {
        Error::Compacted { .. } => "compacted",
        Error::Future { .. } => "future",
        Error::OverQuota { .. } => "over_quota",
        Error::Conflict { .. } => "conflict",
        Error::TooSlow { .. } => "too_slow",
        Error::Unavailable { .. } => "unavailable",
        Error::Busy { .. } => "busy",
        Error::Closed => "closed",
        Error::TooLarge { .. } => "too_large",
        Error::EmptyKey => "empty_key",
        Error::DuplicateKey { .. } => "duplicate_key",
        Error::LeaseNotFound { .. } => "lease_not_found",
        Error::Damaged { .. } => "damaged",
        Error::Foreign { .. } => "foreign",
        Error::InUse { .. } => "in_use",
        Error::NotEmpty { .. } => "not_empty",
        Error::Missing { .. } => "missing",
        Error::Io { .. } => "io",
    }
}

impl<S: Store> MeteredStore<S> {
    /// Measures `store` into `registry`, under the prefix `store`.
    #[must_use]
    pub fn new(store: S, registry: &mut Registry) -> Self {
        Self { inner: store, metrics: Metrics::register(registry) }
    }

    /// The store beneath.
    #[must_use]
    pub fn inner(&self) -> &S {
        &self.inner
    }
}

/// Counts a watch for as long as it is open.
struct OpenWatch(Level);

impl OpenWatch {
    fn new(level: &Level) -> Self {
        level.inc();
        Self(level.clone())
    }
}

impl Drop for OpenWatch {
    fn drop(&mut self) {
        self.0.dec();
    }
}

#[async_trait]
impl<S: Store> Store for MeteredStore<S> {
    async fn range(&self, range: KeyRange, options: RangeOptions) -> Result<Page> {
        let page = self.metrics.measure("range", self.inner.range(range, options)).await?;
        self.metrics.saw_page(&page);
        self.metrics.saw_revision(page.revision);
        Ok(page)
    }

    async fn txn(&self, txn: Txn) -> Result<TxnResult> {
        self.metrics.receives(&txn);
        let result = self.metrics.measure("txn", self.inner.txn(txn)).await?;
        self.metrics.saw_txn(&result);
        Ok(result)
    }

    async fn watch(&self, range: KeyRange, options: WatchOptions) -> Result<WatchStream> {
        let watch = self.metrics.measure("watch", self.inner.watch(range, options)).await?;
        let open = OpenWatch::new(&self.metrics.watchers);
        let Operations { events, sent, .. } = self.metrics.operations.clone();
        let errors = self.metrics.errors.clone();
        Ok(watch.map_batches(move |batches| {
            batches.inspect(move |batch| {
                let _open = &open;
                match batch {
                    Ok(WatchBatch::Events { events: told, .. }) => {
                        events.inc_by(told.len() as u64);
                        sent.inc_by(told.iter().map(|event| bytes_of(&event.record)).sum());
                    }
                    Ok(WatchBatch::Progress(_)) => {}
                    Err(error) => {
                        let (operation, reason) = ("watch", reason(error));
                        errors.get_or_create(&ErrorLabels { operation, reason }).inc();
                    }
                }
            })
        }))
    }

    async fn compact(&self, through: Revision) -> Result<()> {
        self.metrics.measure("compact", self.inner.compact(through)).await?;
        let compacted = self.metrics.compacted.inner();
        compacted.fetch_max(through.0, std::sync::atomic::Ordering::Relaxed);
        Ok(())
    }

    async fn status(&self) -> Result<StoreStatus> {
        let status = self.metrics.measure("status", self.inner.status()).await?;
        self.metrics.saw_status(&status);
        Ok(status)
    }

    fn leases(&self) -> Option<&dyn Leases> {
        self.inner.leases()
    }
}
