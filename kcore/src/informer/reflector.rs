//! Lists a collection, watches it from there, and keeps doing so.

use std::fmt::Debug;
use std::time::Duration;

use async_trait::async_trait;
use futures::StreamExt;
use parking_lot::Mutex;
use tokio::time::Instant;

use super::{InformerOptions, InformerStatus, InitialState};
use crate::backoff::Backoff;
use crate::client::{DynClient, List, Path, WatchEvent, WatchStream};
use crate::name::Resource;
use crate::object::Object;
use crate::random::Random;
use crate::status::{Reason, Status};
use crate::stop::StopToken;
use crate::{Error, Result};

/// A watch that ends sooner than this is not opened again at once.
pub const SHORT_WATCH: Duration = Duration::from_secs(1);

/// Where a [`Reflector`] puts what it sees.
///
/// **Contract**
/// - `replace` makes the target show `objects` and nothing else.
/// - `apply` makes the target show what the events say, in their order; an event about a state
///   that is there already changes nothing.
/// - Dropping either leaves the target between two states; a `replace` follows.
#[async_trait]
pub trait Sink: Debug + Send + Sync {
    /// Takes the whole state of the collection.
    ///
    /// # Errors
    /// If an object cannot be taken; the collection is then listed again, after a backoff.
    async fn replace(&self, objects: Vec<Object>) -> Result<()>;
    /// Takes changes.
    ///
    /// # Errors
    /// If an object cannot be taken; the collection is then listed again, after a backoff.
    async fn apply(&self, events: &[WatchEvent]) -> Result<()>;
}

/// Lists and watches one collection, for ever.
///
/// It lists whatever state the server has at hand, in pages, and watches from that version with
/// bookmarks. A watch that ends is opened again where it ended; 410 makes it list anew, the most
/// recent state this time. Failures are waited out with jittered, bounded backoff, and never for
/// less than the server's `Retry-After` (C10).
#[derive(Debug)]
pub struct Reflector {
    client: DynClient,
    resource: Resource,
    options: InformerOptions,
    random: Random,
    position: Mutex<Position>,
    status: Mutex<InformerStatus>,
}

/// Where to go on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Position {
    /// List whatever the server has at hand.
    Any,
    /// List the most recent state.
    MostRecent,
    /// Watch after this version.
    After(u64),
}

impl Reflector {
    /// A reflector of `resource`; `random` is drawn from for jitter.
    #[must_use]
    pub fn new(
        client: DynClient,
        resource: Resource,
        options: InformerOptions,
        random: Random,
    ) -> Self {
        let (position, status) = (Mutex::new(Position::Any), Mutex::default());
        Self { client, resource, options, random, position, status }
    }

    /// The resource it follows.
    #[must_use]
    pub fn resource(&self) -> &Resource {
        &self.resource
    }

    /// What it did so far.
    #[must_use]
    pub fn status(&self) -> InformerStatus {
        self.status.lock().clone()
    }

    /// Feeds `sink` until `stop`. Run again, also after the future was dropped, it goes on where
    /// it was.
    pub async fn run(&self, sink: &dyn Sink, stop: &StopToken) {
        let mut backoff = Backoff::new(self.options.backoff, self.random.clone());
        loop {
            let outcome = crate::select! {
                () = stop.stopped() => return,
                outcome = self.round(sink) => outcome,
            };
            let delay = self.plan_next(outcome, &mut backoff);
            crate::select! {
                () = stop.stopped() => return,
                () = tokio::time::sleep(delay) => {}
            }
        }
    }

    /// Decides what a round's end means: where to go on, and after which delay.
    fn plan_next(&self, outcome: Result<Duration>, backoff: &mut Backoff) -> Duration {
        let error = match outcome {
            Ok(lived) if lived >= SHORT_WATCH => return Duration::ZERO,
            Ok(_) => return backoff.next_delay(),
            Err(error) => error,
        };
        tracing::debug!(resource = %self.resource.group_resource(), %error, "reflector failed");
        let mut position = self.position.lock();
        *position = match (*position, &error) {
            (_, error) if error.is_expired() => Position::MostRecent,
            // Watching on from there would meet the same object again.
            (_, Error::Decode { .. }) => Position::MostRecent,
            (position, _) => position,
        };
        drop(position);
        let mut status = self.status.lock();
        status.errors += 1;
        status.last_error = Some(error.to_string());
        drop(status);
        let delay = backoff.next_delay();
        match retry_after(&error) {
            // Jitter, so that those who were told the same do not come back together.
            Some(asked) if asked > delay => self.random.jitter(asked, self.options.backoff.jitter),
            _ => delay,
        }
    }

    /// Lists if need be, then watches until the watch ends. Returns how long the watch lived.
    async fn round(&self, sink: &dyn Sink) -> Result<Duration> {
        let at = *self.position.lock();
        let version = match (at, self.options.initial) {
            (Position::After(version), _) => version,
            (Position::Any, InitialState::List) => self.list(sink, Some(0)).await?,
            (Position::MostRecent, InitialState::List) => self.list(sink, None).await?,
            (_, InitialState::Stream) => {
                let options = self.options.watch().initial_events();
                let mut watch = self.client.watch(self.path(), &options).await?;
                self.status.lock().watches += 1;
                let rest = self.initial_events(sink, &mut watch).await?;
                return self.follow(sink, watch, rest).await;
            }
        };
        let options = self.options.watch().after(version);
        let watch = self.client.watch(self.path(), &options).await?;
        self.status.lock().watches += 1;
        self.follow(sink, watch, Vec::new()).await
    }

    fn path(&self) -> Path<'_> {
        Path::collection(&self.resource, self.options.namespace.as_deref())
    }

    async fn list(&self, sink: &dyn Sink, version: Option<u64>) -> Result<u64> {
        let mut options = self.options.list();
        options.resource_version = version;
        let List { resource_version, mut items, mut continue_token, .. } =
            self.client.list(self.path(), &options).await?;
        while let Some(token) = continue_token.filter(|token| !token.is_empty()) {
            // The token names the version; a version beside it would be refused.
            let options = self.options.list().continue_token(token);
            let page = self.client.list(self.path(), &options).await?;
            items.extend(page.items);
            continue_token = page.continue_token;
        }
        self.replace(sink, items, resource_version).await?;
        Ok(resource_version)
    }

    async fn replace(&self, sink: &dyn Sink, items: Vec<Object>, version: u64) -> Result<()> {
        // If this is dropped halfway, what the sink shows belongs to no version.
        *self.position.lock() = Position::MostRecent;
        sink.replace(items).await?;
        *self.position.lock() = Position::After(version);
        let mut status = self.status.lock();
        status.lists += 1;
        status.synced = true;
        status.resource_version = version;
        Ok(())
    }

    /// Collects the initial events of a watch; returns what came behind their end.
    async fn initial_events(
        &self,
        sink: &dyn Sink,
        watch: &mut WatchStream,
    ) -> Result<Vec<WatchEvent>> {
        let mut items = std::collections::BTreeMap::new();
        while let Some(batch) = watch.next().await {
            let batch = batch?;
            for (at, event) in batch.iter().enumerate() {
                match event {
                    WatchEvent::Bookmark { resource_version, initial_events_end: true } => {
                        let items = std::mem::take(&mut items).into_values().collect();
                        self.replace(sink, items, *resource_version).await?;
                        return Ok(batch[at + 1..].to_vec());
                    }
                    WatchEvent::Bookmark { .. } => {}
                    WatchEvent::Added(object) | WatchEvent::Modified(object) => {
                        items.insert(object.meta().key(), object.clone());
                    }
                    WatchEvent::Deleted(object) => {
                        items.remove(&object.meta().key());
                    }
                }
            }
        }
        Err(Status::timeout("the watch ended before its initial events did", 0).into())
    }

    /// Feeds changes on until the watch ends.
    async fn follow(
        &self,
        sink: &dyn Sink,
        mut watch: WatchStream,
        rest: Vec<WatchEvent>,
    ) -> Result<Duration> {
        let opened = Instant::now();
        self.apply(sink, &rest).await?;
        while let Some(batch) = watch.next().await {
            self.apply(sink, &batch?).await?;
        }
        Ok(opened.elapsed())
    }

    async fn apply(&self, sink: &dyn Sink, events: &[WatchEvent]) -> Result<()> {
        let Some(last) = events.last() else { return Ok(()) };
        // Dropped halfway, the watch goes on before this batch: what is applied again changes
        // nothing that lasts.
        sink.apply(events).await?;
        let version = last.resource_version();
        *self.position.lock() = Position::After(version);
        let mut status = self.status.lock();
        status.resource_version = version;
        let objects = events.iter().filter(|event| event.object().is_some()).count();
        status.events += u64::try_from(objects).unwrap_or(u64::MAX);
        Ok(())
    }
}

/// How long the server asked to be left alone.
fn retry_after(error: &Error) -> Option<Duration> {
    let status = error.status()?;
    let asked = status.details.as_ref().map_or(0, |details| details.retry_after_seconds);
    match (asked, status.reason) {
        (0, Reason::TooManyRequests) => Some(Duration::from_secs(1)),
        (0, _) => None,
        (asked, _) => Some(Duration::from_secs(u64::from(asked))),
    }
}
