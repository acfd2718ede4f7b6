//! How to watch.

use std::fmt;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use futures::stream::BoxStream;
use futures::{Stream, StreamExt};

use crate::{Result, Revision, WatchBatch};

/// Where a watch starts and what it carries. Set what differs from the default.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct WatchOptions {
    /// Events strictly after this revision are told; unset: after the current one.
    pub after: Option<Revision>,
    /// Events carry the previous record.
    pub previous: bool,
    /// While nothing happens, tell the progress this often; unset: only when asked.
    pub progress: Option<Duration>,
}

impl WatchOptions {
    /// Tells the events strictly after `revision`.
    #[must_use]
    pub fn after(mut self, revision: Revision) -> Self {
        self.after = Some(revision);
        self
    }

    /// Lets events carry the record they replaced.
    #[must_use]
    pub fn previous(mut self) -> Self {
        self.previous = true;
        self
    }

    /// Tells the progress each `period` in which nothing else was told.
    #[must_use]
    pub fn progress(mut self, period: Duration) -> Self {
        self.progress = Some(period);
        self
    }
}

/// The events of a watch, as a stream. Dropping it ends the watch.
///
/// After an error the stream ends. Dropping the future of a `next()` loses nothing.
pub struct WatchStream {
    batches: BoxStream<'static, Result<WatchBatch>>,
    ask: Option<Arc<dyn Fn() + Send + Sync>>,
}

impl WatchStream {
    /// A watch that yields what `batches` yields.
    #[must_use]
    pub fn new(batches: impl Stream<Item = Result<WatchBatch>> + Send + 'static) -> Self {
        Self { batches: batches.boxed(), ask: None }
    }

    /// Calls `ask` when the watcher wants to know the progress. It must not block; the answer is a
    /// [`WatchBatch::Progress`] in the stream.
    #[must_use]
    pub fn on_progress_request(mut self, ask: impl Fn() + Send + Sync + 'static) -> Self {
        self.ask = Some(Arc::new(ask));
        self
    }

    /// Asks for a [`WatchBatch::Progress`], which comes after the events that are already there.
    /// Several requests may be answered by one.
    pub fn request_progress(&self) {
        if let Some(ask) = &self.ask {
            ask();
        }
    }

    /// The same watch with its batches passed through `layer`: how a wrapping store observes or
    /// cuts a watch and keeps its progress requests.
    #[must_use]
    pub fn map_batches<S>(
        self,
        layer: impl FnOnce(BoxStream<'static, Result<WatchBatch>>) -> S,
    ) -> Self
    where
        S: Stream<Item = Result<WatchBatch>> + Send + 'static,
    {
        Self { batches: layer(self.batches).boxed(), ask: self.ask }
    }
}

impl Stream for WatchStream {
    type Item = Result<WatchBatch>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.batches.as_mut().poll_next(cx)
    }
}

impl fmt::Debug for WatchStream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("WatchStream").finish_non_exhaustive()
    }
}
