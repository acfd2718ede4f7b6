//! What keeps the cache fed: one listing, then one watch of the store.

use std::sync::Arc;
use std::time::Duration;

use kcore::collections::HashSet;
use kcore::object::Object;
use kcore::random::Random;
use kstore::{KeyRange, RangeOptions, Revision, Store, WatchOptions};
use tokio::time::Instant;

use super::pump::Step;
use super::{Cache, PREFIX};

/// Records read at once while the cache is filled.
const PAGE: usize = 1_000;
/// How long a revision is waited for before the store is asked how far it is: what others keep in
/// the same store moves its revision without a word to this watch.
const ASK_AFTER: Duration = Duration::from_millis(20);
/// How often typed views that nobody holds are dropped.
const SWEEP_PERIOD: Duration = Duration::from_secs(10);
/// First and longest pause before the store is listed again after a failure.
const BACKOFF: (Duration, Duration) = (Duration::from_millis(50), Duration::from_secs(5));

/// The task that feeds a cache from a store. It runs until it is dropped.
pub(crate) struct Feed {
    store: Arc<dyn Store>,
    cache: Arc<Cache>,
    random: Random,
    /// Whether the cache has been filled before.
    filled: bool,
}

impl Feed {
    pub(crate) fn new(store: Arc<dyn Store>, cache: Arc<Cache>, random: Random) -> Self {
        Self { store, cache, random, filled: false }
    }

    /// Lists the store into the cache. Afterwards reads can be served.
    ///
    /// # Errors
    /// Those of the store.
    pub(crate) async fn fill(&mut self) -> kstore::Result<Revision> {
        let mut gone: HashSet<(usize, Arc<str>)> = HashSet::default();
        for (at, kind) in self.cache.kinds.iter().enumerate() {
            gone.extend(kind.keys().into_iter().map(|key| (at, key)));
        }
        let mut changed: Vec<(usize, Arc<str>, Object)> = Vec::new();
        let whole = KeyRange::prefix(PREFIX);
        let mut range = whole.clone();
        let mut options = RangeOptions::default().limit(PAGE);
        let revision = loop {
            let page = self.store.range(range, options.clone()).await?;
            for record in &page.records {
                let Some((at, key)) = route(&self.cache, &record.key) else { continue };
                let kind = &self.cache.kinds[at];
                let revision = record.modified.0;
                let key: Arc<str> = key.into();
                gone.remove(&(at, Arc::clone(&key)));
                if kind.get(&key).is_some_and(|known| known.resource_version() >= revision) {
                    continue;
                }
                match kind.decode(&record.value, revision) {
                    Ok(object) => changed.push((at, key, object)),
                    Err(error) => skip(&record.key, &error),
                }
            }
            options = options.at(page.revision);
            match page.records.last().filter(|_| page.more) {
                Some(last) => range = whole.after(&last.key),
                None => break page.revision,
            }
        };
        if self.filled {
            self.catch_up(changed, gone, revision);
        } else {
            for (at, key, object) in changed {
                self.cache.kinds[at].load(&key, object);
            }
            self.cache.kinds.iter().for_each(|kind| kind.start(revision.0));
            self.filled = true;
        }
        self.cache.applied.advance(revision.0);
        self.cache.set_ready(true);
        Ok(revision)
    }

    /// Turns the difference between the cache and a new listing into changes, in the order of
    /// their revisions.
    fn catch_up(
        &self,
        mut changed: Vec<(usize, Arc<str>, Object)>,
        gone: HashSet<(usize, Arc<str>)>,
        revision: Revision,
    ) {
        changed.sort_by_key(|(_, _, object)| object.resource_version());
        let mut gone: Vec<_> = gone.into_iter().collect();
        gone.sort_unstable();
        self.cache.change(|dirty| {
            for (at, key, object) in changed {
                self.cache.kinds[at].put(&key, object, dirty);
            }
            for (at, key) in gone {
                self.cache.kinds[at].delete(&key, revision.0, dirty);
            }
        });
    }

    /// Follows the store from `revision` on, for ever.
    pub(crate) async fn follow(mut self, mut revision: Revision) {
        let mut pause = BACKOFF.0;
        loop {
            let error = self.watch(revision).await;
            self.cache.set_ready(false);
            tracing::warn!(%error, "watch of the store ended, listing again");
            loop {
                tokio::time::sleep(self.random.jitter(pause, 0.5)).await;
                match self.fill().await {
                    Ok(filled) => {
                        revision = filled;
                        pause = BACKOFF.0;
                        break;
                    }
                    Err(error) => {
                        tracing::warn!(%error, "store cannot be listed, trying again");
                        pause = (pause * 2).min(BACKOFF.1);
                    }
                }
            }
        }
    }

    async fn watch(&mut self, revision: Revision) -> kstore::Error {
        let options = WatchOptions::default().after(revision);
        match self.store.watch(KeyRange::prefix(PREFIX), options).await {
            Ok(stream) => self.cache.begin(stream),
            Err(error) => return error,
        }
        let mut sweep = tokio::time::interval(SWEEP_PERIOD);
        let cache = Arc::clone(&self.cache);
        let (mut ask_at, mut flush_at): (Option<Instant>, Option<Instant>) = (None, None);
        loop {
            let now = Instant::now();
            let (asking, flushing) = (ask_at.unwrap_or(now), flush_at.unwrap_or(now));
            kcore::select! {
                step = cache.step() => match step {
                    Step::FlushAt(at) => flush_at = Some(at),
                    Step::Ended(error) => return error,
                },
                () = tokio::time::sleep_until(flushing), if flush_at.is_some() => {
                    flush_at = None;
                    cache.flush_due();
                }
                () = cache.applied.awaited(), if ask_at.is_none() => {
                    ask_at = Some(Instant::now() + ASK_AFTER);
                }
                () = tokio::time::sleep_until(asking), if ask_at.is_some() => {
                    ask_at = cache.applied.is_awaited().then(|| {
                        cache.request_progress();
                        Instant::now() + ASK_AFTER
                    });
                }
                _ = sweep.tick() => self.sweep().await,
            }
        }
    }

    async fn sweep(&self) {
        for kind in &self.cache.kinds {
            kind.drop_idle_views();
            tokio::task::yield_now().await;
        }
    }
}

pub(super) fn route<'a>(cache: &Cache, key: &'a [u8]) -> Option<(usize, &'a str)> {
    cache.route(std::str::from_utf8(key).ok()?)
}

/// A record that is no object must not stop the others from being served.
pub(super) fn skip(key: &[u8], error: &kcore::Error) {
    tracing::error!(key = %key.escape_ascii(), %error, "stored record is no object, left out");
}
