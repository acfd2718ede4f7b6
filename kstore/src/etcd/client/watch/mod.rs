//! Watches of an etcd cluster, which outlive the members that serve them.

mod cursor;
mod feed;
mod queue;

use std::future::poll_fn;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use futures::stream;

use self::cursor::Cursor;
use self::feed::Feed;
use self::queue::{Abandon, Bounds, Queue};
use super::Shared;
use crate::{KeyRange, Result, WatchOptions, WatchStream};

/// Counts a watch for as long as it is open.
struct Counted(Arc<Shared>);

impl Counted {
    fn new(shared: &Arc<Shared>) -> Self {
        shared.watchers.fetch_add(1, Ordering::Relaxed);
        Self(Arc::clone(shared))
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.watchers.fetch_sub(1, Ordering::Relaxed);
    }
}

/// Opens a watch. A task follows the cluster and ends when the watcher is dropped.
pub(super) async fn open(
    shared: &Arc<Shared>,
    range: KeyRange,
    options: WatchOptions,
) -> Result<WatchStream> {
    let counted = Counted::new(shared);
    // Read from a majority: a member that lags would begin in the past.
    let now = shared.revision().await?;
    let cursor = Cursor::new(range, options.previous, options.after.unwrap_or(now), now);
    let queue = Arc::new(Queue::default());
    let bounds = Bounds {
        revisions: shared.options.watch_backlog,
        bytes: shared.options.watch_backlog_bytes,
    };
    let feed =
        Feed::new(Arc::clone(shared), cursor, (Arc::clone(&queue), bounds), options.progress);
    tokio::spawn(feed.run(now));
    let guard = (Abandon(Arc::clone(&queue)), counted);
    let batches = stream::unfold((Arc::clone(&queue), guard), |(queue, guard)| async move {
        let batch = poll_fn(|cx| queue.poll(cx)).await?;
        Some((batch, (queue, guard)))
    });
    Ok(WatchStream::new(batches).on_progress_request(move || queue.ask()))
}
