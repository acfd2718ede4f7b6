//! Whose CPU it was: a client, and a future, that count the time their polls take of it.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use futures::StreamExt as _;
use kcore::Result;
use kcore::client::{
    Body, Client, DeleteOptions, Deleted, DiscoveredResource, DynClient, GetOptions, List,
    ListOptions, Patch, Path, WatchOptions, WatchStream, WriteOptions,
};
use kcore::object::Object;
use rustix::time::{ClockId, clock_gettime};

/// CPU time that was counted.
#[derive(Debug, Clone, Default)]
pub(crate) struct Meter(Arc<AtomicU64>);

/// CPU time of this thread, in nanoseconds.
fn now() -> u64 {
    let time = clock_gettime(ClockId::ThreadCPUTime);
    u64::try_from(time.tv_sec * 1_000_000_000 + time.tv_nsec).unwrap()
}

impl Meter {
    /// What was counted so far.
    pub(crate) fn read(&self) -> Duration {
        Duration::from_nanos(self.0.load(Ordering::Relaxed))
    }

    /// Counts what a call takes.
    fn call<T>(&self, call: impl FnOnce() -> T) -> T {
        let began = now();
        let outcome = call();
        self.0.fetch_add(now() - began, Ordering::Relaxed);
        outcome
    }

    /// Counts what the polls of a future take.
    pub(crate) async fn count<T>(&self, future: impl Future<Output = T>) -> T {
        let mut future = std::pin::pin!(future);
        std::future::poll_fn(|cx| self.call(|| future.as_mut().poll(cx))).await
    }
}

/// A client whose calls are counted.
#[derive(Debug)]
pub(crate) struct Metered {
    pub(crate) client: DynClient,
    pub(crate) meter: Meter,
}

#[async_trait]
impl Client for Metered {
    async fn get(&self, path: Path<'_>, options: &GetOptions) -> Result<Object> {
        self.meter.count(self.client.get(path, options)).await
    }

    async fn list(&self, path: Path<'_>, options: &ListOptions) -> Result<List> {
        self.meter.count(self.client.list(path, options)).await
    }

    async fn watch(&self, path: Path<'_>, options: &WatchOptions) -> Result<WatchStream> {
        let mut stream = self.meter.count(self.client.watch(path, options)).await?;
        let meter = self.meter.clone();
        let polled = futures::stream::poll_fn(move |cx| meter.call(|| stream.poll_next_unpin(cx)));
        Ok(WatchStream::new(polled))
    }

    async fn create(&self, path: Path<'_>, body: Body, options: &WriteOptions) -> Result<Object> {
        self.meter.count(self.client.create(path, body, options)).await
    }

    async fn update(&self, path: Path<'_>, body: Body, options: &WriteOptions) -> Result<Object> {
        self.meter.count(self.client.update(path, body, options)).await
    }

    async fn patch(&self, path: Path<'_>, patch: Patch, options: &WriteOptions) -> Result<Object> {
        self.meter.count(self.client.patch(path, patch, options)).await
    }

    async fn delete(&self, path: Path<'_>, options: &DeleteOptions) -> Result<Deleted> {
        self.meter.count(self.client.delete(path, options)).await
    }

    async fn delete_collection(
        &self,
        path: Path<'_>,
        options: &DeleteOptions,
        list: &ListOptions,
    ) -> Result<List> {
        self.meter.count(self.client.delete_collection(path, options, list)).await
    }

    async fn discover(&self) -> Result<Vec<DiscoveredResource>> {
        self.client.discover().await
    }
}
