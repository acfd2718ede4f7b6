//! Takes occurrences without blocking, and writes events.

use std::collections::VecDeque;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use k8s_openapi::api::core::v1::{Event, ObjectReference};
use parking_lot::Mutex;
use tokio::sync::Notify;
use tokio::time::Instant;

use super::{Correlator, EventType, Occurrence, Plan, Source};
use crate::backoff::{Backoff, BackoffPolicy};
use crate::client::{Api, DynClient, Patch};
use crate::clock::Clock;
use crate::random::Random;
use crate::stop::StopToken;
use crate::{Error, Result};

/// The most occurrences that wait to be written; beyond, the oldest are dropped.
pub const QUEUE_CAPACITY: usize = 1000;
/// How often the writing of one event is tried while the server cannot be reached.
pub const WRITE_TRIES: u32 = 12;
/// How long the writer waits between two tries.
pub const WRITE_RETRY: BackoffPolicy =
    BackoffPolicy::new(Duration::from_secs(1), Duration::from_secs(10)).jitter(0.5);
/// How long the writer goes on after it is told to stop, to write what waits.
pub const FLUSH_TIMEOUT: Duration = Duration::from_secs(2);

/// Tells of what happens to objects. Clones tell for the same component.
///
/// Recording puts the occurrence into a bounded queue and returns. Somebody has to
/// [`run`](Self::run) the recorder for events to be written: the component it belongs to, beside
/// its work.
#[derive(Clone)]
pub struct EventRecorder(Arc<Inner>);

struct Inner {
    client: DynClient,
    clock: Clock,
    random: Random,
    queue: Mutex<VecDeque<Occurrence>>,
    dropped: Mutex<u64>,
    more: Notify,
    writer: tokio::sync::Mutex<Writer>,
}

struct Writer {
    correlator: Correlator,
    /// What is being written. If the writing is dropped halfway, the next run writes it again.
    pending: Option<Plan>,
}

impl EventRecorder {
    /// A recorder for `source`.
    #[must_use]
    pub fn new(client: DynClient, source: Source, clock: Clock, random: Random) -> Self {
        let correlator = Correlator::new(source, random.fork());
        Self(Arc::new(Inner {
            client,
            clock,
            random,
            queue: Mutex::default(),
            dropped: Mutex::default(),
            more: Notify::new(),
            writer: tokio::sync::Mutex::new(Writer { correlator, pending: None }),
        }))
    }

    /// Tells of the normal course of things.
    pub fn normal(&self, object: &ObjectReference, reason: &str, message: impl Into<String>) {
        self.record(object, EventType::Normal, reason, message);
    }

    /// Tells of trouble.
    pub fn warning(&self, object: &ObjectReference, reason: &str, message: impl Into<String>) {
        self.record(object, EventType::Warning, reason, message);
    }

    /// Tells of something. Never blocks: if too much waits, the oldest is dropped and counted.
    pub fn record(
        &self,
        object: &ObjectReference,
        event_type: EventType,
        reason: &str,
        message: impl Into<String>,
    ) {
        let occurrence = Occurrence {
            object: object.clone(),
            event_type,
            reason: reason.to_owned(),
            message: message.into(),
            at: self.0.clock.now(),
        };
        let mut queue = self.0.queue.lock();
        if queue.len() >= QUEUE_CAPACITY {
            queue.pop_front();
            *self.0.dropped.lock() += 1;
        }
        queue.push_back(occurrence);
        drop(queue);
        self.0.more.notify_one();
    }

    /// How many occurrences were dropped: because too many waited, or because the server refused
    /// them or could not be reached for too long.
    #[must_use]
    pub fn dropped(&self) -> u64 {
        *self.0.dropped.lock()
    }

    /// Writes events until `stop`, then what still waits, for [`FLUSH_TIMEOUT`] at most. Several
    /// may run one recorder: one of them writes. Dropping the future loses no occurrence.
    pub async fn run(&self, stop: StopToken) {
        let mut writer = crate::select! {
            () = stop.stopped() => return,
            writer = self.0.writer.lock() => writer,
        };
        loop {
            crate::select! {
                () = stop.stopped() => break,
                () = self.write_waiting(&mut writer) => {}
            }
            crate::select! {
                () = stop.stopped() => break,
                () = self.0.more.notified() => {}
            }
        }
        let flush = self.write_waiting(&mut writer);
        if tokio::time::timeout(FLUSH_TIMEOUT, flush).await.is_err() {
            let waiting = self.0.queue.lock().len();
            tracing::debug!(waiting, "events were not written before the recorder stopped");
        }
    }

    /// Writes all that waits.
    async fn write_waiting(&self, writer: &mut Writer) {
        loop {
            if writer.pending.is_none() {
                let Some(occurrence) = self.0.queue.lock().pop_front() else { return };
                writer.pending = Some(writer.correlator.plan(occurrence, Instant::now()));
            }
            if let Some(plan) = &writer.pending
                && let Err(error) = self.write(plan).await
            {
                *self.0.dropped.lock() += 1;
                tracing::debug!(%error, "an event is dropped");
            }
            writer.pending = None;
        }
    }

    /// Writes an event, again and again while the server cannot take it.
    async fn write(&self, plan: &Plan) -> Result<()> {
        let mut backoff = Backoff::new(WRITE_RETRY, self.0.random.clone());
        loop {
            let result = match plan {
                Plan::Nothing => return Ok(()),
                Plan::Create(event) => self.create(event).await,
                Plan::Bump(event) => match self.bump(event).await {
                    Err(error) if error.is_not_found() => self.create(event).await,
                    result => result,
                },
            };
            match result {
                Err(error) if is_transient(&error) && backoff.failures() + 1 < WRITE_TRIES => {
                    backoff.wait().await;
                }
                result => return result,
            }
        }
    }

    fn api(&self, event: &Event) -> Api<Event> {
        let namespace = event.metadata.namespace.clone().unwrap_or_default();
        Api::namespaced(Arc::clone(&self.0.client), namespace)
    }

    async fn create(&self, event: &Event) -> Result<()> {
        match self.api(event).create(event.clone()).await {
            // Names are unique: this is the event, of a try whose answer was lost.
            Err(error) if error.is_already_exists() => Ok(()),
            result => result.map(drop),
        }
    }

    async fn bump(&self, event: &Event) -> Result<()> {
        let patch = serde_json::json!({
            "count": event.count,
            "lastTimestamp": event.last_timestamp,
            "message": event.message,
        });
        let name = event.metadata.name.as_deref().unwrap_or_default();
        let patch = Patch::Merge(patch.to_string().into());
        self.api(event).patch(name, patch).await.map(drop)
    }
}

/// Whether the same write may succeed later.
fn is_transient(error: &Error) -> bool {
    match error {
        Error::Transport(_) => true,
        Error::Api(status) => status.code == 429 || status.code >= 500,
        Error::Decode { .. } => false,
    }
}

impl fmt::Debug for EventRecorder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("EventRecorder")
            .field("waiting", &self.0.queue.lock().len())
            .field("dropped", &self.dropped())
            .finish_non_exhaustive()
    }
}
