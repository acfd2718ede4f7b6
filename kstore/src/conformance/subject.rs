//! The stores that cases run on.

use std::any::Any;
use std::fmt;
use std::ops::Deref;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures::future::BoxFuture;
use futures::{FutureExt, StreamExt};

use super::{CASES, Capabilities};
use crate::{
    Event, KeyRange, Record, Revision, Store, StoreExt, WatchBatch, WatchOptions, WatchStream,
};

/// How long a case waits for what has to come.
const PATIENCE: Duration = Duration::from_secs(10);

/// What a factory makes: a guard and the store.
type Made = (Box<dyn Any>, Arc<dyn Store>);

/// A backend's factory with its capabilities.
pub struct Suite {
    capabilities: Capabilities,
    factory: Box<dyn Fn() -> BoxFuture<'static, Made>>,
}

impl fmt::Debug for Suite {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Suite").field("capabilities", &self.capabilities).finish_non_exhaustive()
    }
}

/// One store, and the guard that outlives it.
pub(super) struct Subject {
    pub(super) store: Arc<dyn Store>,
    _guard: Box<dyn Any>,
}

impl Deref for Subject {
    type Target = dyn Store;

    fn deref(&self) -> &Self::Target {
        &*self.store
    }
}

impl Suite {
    /// The suite for the stores that `factory` makes.
    pub fn new<F, M, G, S>(capabilities: Capabilities, factory: F) -> Self
    where
        F: Fn() -> M + 'static,
        M: Future<Output = (G, S)> + Send + 'static,
        G: 'static,
        S: Store,
    {
        let factory = move || {
            let making = factory();
            async move {
                let (guard, store) = making.await;
                (Box::new(guard) as Box<dyn Any>, Arc::new(store) as Arc<dyn Store>)
            }
        };
        Self { capabilities, factory: Box::new(move || factory().boxed()) }
    }

    pub(super) fn capabilities(&self) -> &Capabilities {
        &self.capabilities
    }

    /// A new, empty store.
    pub(super) async fn fresh(&self) -> Subject {
        let (guard, store) = (self.factory)().await;
        Subject { store, _guard: guard }
    }

    /// The same store, closed and opened again.
    pub(super) async fn reopen(&self, subject: Subject) -> Subject {
        let Subject { store, _guard } = subject;
        assert_eq!(Arc::strong_count(&store), 1, "the case holds on to the store");
        drop(store);
        let reopen = self.capabilities.reopen.as_ref().expect("the capability is declared");
        Subject { store: reopen(&*_guard).await, _guard }
    }

    /// Runs one case, or prints that it is skipped.
    ///
    /// # Panics
    /// If the case fails, or there is none of that name.
    #[allow(clippy::print_stderr, reason = "what is skipped is printed, never silent")]
    pub fn run(&self, name: &str) {
        let case = CASES.iter().find(|case| case.name == name);
        let case = case.unwrap_or_else(|| panic!("no case is called {name}"));
        if let Some(what) = &self.capabilities.missing {
            eprintln!("did not run {name}: {what}");
            return;
        }
        if self.capabilities.has(case.capability) != Some(true) {
            eprintln!("skipped {name}: capability {} is not declared", case.capability);
            return;
        }
        self.runtime().block_on((case.body)(self));
    }

    pub(super) fn runtime(&self) -> tokio::runtime::Runtime {
        tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .start_paused(self.capabilities.virtual_time)
            .build()
            .expect("a current-thread runtime can be built")
    }
}

/// Waits for what has to come.
pub(super) async fn soon<T>(what: &str, future: impl Future<Output = T>) -> T {
    match tokio::time::timeout(PATIENCE, future).await {
        Ok(output) => output,
        Err(_) => panic!("nothing came: {what}"),
    }
}

/// Opens a watch that has to open.
pub(super) async fn open(
    store: &dyn Store,
    range: &KeyRange,
    options: WatchOptions,
) -> WatchStream {
    store.watch(range.clone(), options).await.expect("the watch opens")
}

/// The next batch, which has to come.
pub(super) async fn next(watch: &mut WatchStream) -> WatchBatch {
    let batch = soon("the next batch of a watch", watch.next()).await;
    batch.expect("the watch goes on").expect("the watch is healthy")
}

/// Everything a watch tells until it has told its progress at `through`.
pub(super) async fn drain(watch: &mut WatchStream, through: Revision) -> Vec<WatchBatch> {
    let mut batches = Vec::new();
    loop {
        watch.request_progress();
        loop {
            let batch = next(watch).await;
            let progress = matches!(batch, WatchBatch::Progress(_));
            let revision = batch.revision();
            batches.push(batch);
            if progress && revision >= through {
                return batches;
            }
            if progress {
                break;
            }
        }
        // A backend may learn of its own writes a little later.
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
}

/// The events of batches.
pub(super) fn events(batches: &[WatchBatch]) -> Vec<Event> {
    let events = batches.iter().filter_map(|batch| match batch {
        WatchBatch::Events { events, .. } => Some(events.clone()),
        WatchBatch::Progress(_) => None,
    });
    events.flatten().collect()
}

/// The keys of records, readable.
pub(super) fn keys(records: &[Record]) -> Vec<String> {
    records.iter().map(|record| String::from_utf8_lossy(&record.key).into_owned()).collect()
}

/// Writes `key` and returns the revision.
pub(super) async fn put(store: &dyn Store, key: impl Into<Bytes>, value: &str) -> Revision {
    let value = Bytes::copy_from_slice(value.as_bytes());
    store.put(key.into(), value).await.expect("a put succeeds")
}

/// Deletes `key`, which has to exist, and returns the revision.
pub(super) async fn delete(store: &dyn Store, key: &'static str) -> Revision {
    let gone = store.delete(key).await.expect("a delete succeeds");
    assert!(gone.is_some(), "{key} was there");
    revision(store).await
}

/// The current revision.
pub(super) async fn revision(store: &dyn Store) -> Revision {
    store.revision().await.expect("the revision can be read")
}

/// The record under `key`, if any.
pub(super) async fn get(store: &dyn Store, key: impl Into<Bytes>) -> Option<Record> {
    store.get(key.into()).await.expect("a get succeeds")
}
