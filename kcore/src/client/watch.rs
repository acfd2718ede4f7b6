//! What a watch yields.

use std::fmt;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use futures::Stream;
use futures::stream::BoxStream;

use crate::Result;
use crate::object::Object;

/// One change of a collection, as seen through the watch's selectors.
/// <https://kubernetes.io/docs/reference/using-api/api-concepts/#efficient-detection-of-changes>
#[derive(Debug, Clone)]
pub enum WatchEvent {
    /// The object is new, or new to the selector.
    Added(Object),
    /// The object changed.
    Modified(Object),
    /// The object is gone, or gone from the selector: its last state, at the deletion's version.
    Deleted(Object),
    /// Nothing up to this version follows.
    Bookmark {
        /// The version.
        resource_version: u64,
        /// Whether this ends the initial events.
        initial_events_end: bool,
    },
}

impl WatchEvent {
    /// The object, unless it is a bookmark.
    #[must_use]
    pub fn object(&self) -> Option<&Object> {
        match self {
            Self::Added(object) | Self::Modified(object) | Self::Deleted(object) => Some(object),
            Self::Bookmark { .. } => None,
        }
    }

    /// The version after which a watch goes on from here.
    #[must_use]
    pub fn resource_version(&self) -> u64 {
        match self {
            Self::Added(object) | Self::Modified(object) | Self::Deleted(object) => {
                object.resource_version()
            }
            Self::Bookmark { resource_version, .. } => *resource_version,
        }
    }
}

/// Changes that arrived together. Cloning one shares it.
pub type WatchBatch = Arc<[WatchEvent]>;

/// A running watch: a stream of batches. It ends when the server closes it; an error (410 for a
/// reader that fell behind) is its last item.
pub struct WatchStream(BoxStream<'static, Result<WatchBatch>>);

impl WatchStream {
    /// A watch over any stream of batches.
    pub fn new(stream: impl Stream<Item = Result<WatchBatch>> + Send + 'static) -> Self {
        Self(Box::pin(stream))
    }
}

impl Stream for WatchStream {
    type Item = Result<WatchBatch>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.0.as_mut().poll_next(cx)
    }
}

impl fmt::Debug for WatchStream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("WatchStream")
    }
}
