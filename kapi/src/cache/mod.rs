//! The watch cache: every object of every kind, as of the last applied revision.
//!
//! One watch of the store feeds it. Reads are served from it, and a write is answered after its
//! own change has come through, so that what a client wrote it can read.

mod feed;
mod key;
mod kind;
mod pump;
mod ring;
mod waiters;
mod watch;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use kcore::collections::HashMap;
use kcore::object::{Object, RecentViews};
use parking_lot::Mutex;

pub(crate) use feed::Feed;
pub(crate) use kind::{KindCache, Part};
pub(crate) use ring::Lagged;
pub(crate) use watch::{Filter, Watcher};

use crate::registry::{Registry, Row, Verbs};
use pump::Pump;
use waiters::Applied;

/// Prefix of everything the server stores as objects.
pub(crate) const PREFIX: &str = "/registry/";
/// Typed views of recent writes that are kept for in-process readers.
const RECENT_VIEWS: usize = 2_048;

/// Every kind's cache.
#[derive(Debug)]
pub(crate) struct Cache {
    kinds: Vec<Arc<KindCache>>,
    by_prefix: HashMap<String, usize>,
    /// The cache of each row of the table, by the row's number.
    by_row: Vec<Option<usize>>,
    applied: Arc<Applied>,
    pump: Pump,
    ready: AtomicBool,
    recent: Mutex<RecentViews>,
}

impl Cache {
    /// An empty cache for the kinds that are stored.
    pub(crate) fn new(registry: &Registry) -> Self {
        let mut this = Self {
            kinds: Vec::new(),
            by_prefix: HashMap::default(),
            by_row: vec![None; registry.rows().len()],
            applied: Arc::default(),
            pump: Pump::default(),
            ready: AtomicBool::new(false),
            recent: Mutex::new(RecentViews::new(RECENT_VIEWS)),
        };
        for row in registry.rows() {
            if row.verbs == Verbs::All && row.stored_as.is_none() {
                this.by_prefix.insert(row.prefix(), this.kinds.len());
                this.by_row[row.number] = Some(this.kinds.len());
                this.kinds
                    .push(Arc::new(KindCache::new(Arc::clone(row), Arc::clone(&this.applied))));
            }
        }
        this
    }

    pub(crate) fn kinds(&self) -> &[Arc<KindCache>] {
        &self.kinds
    }

    /// The cache of a stored row.
    pub(crate) fn of(&self, row: &Row) -> Option<&Arc<KindCache>> {
        self.by_row[row.number].map(|at| &self.kinds[at])
    }

    /// The kind a store key belongs to, and the object's key within it.
    fn route<'a>(&self, key: &'a str) -> Option<(usize, &'a str)> {
        let rest = key.strip_prefix(PREFIX)?;
        let group = rest.find('/')?;
        let plural = rest[group + 1..].find('/')?;
        let (prefix, object) = key.split_at(PREFIX.len() + group + plural + 2);
        self.by_prefix.get(prefix).map(|at| (*at, object))
    }

    pub(crate) fn applied(&self) -> &Arc<Applied> {
        &self.applied
    }

    /// Whether the cache has been filled and is fed.
    pub(crate) fn is_ready(&self) -> bool {
        self.ready.load(Ordering::Acquire)
    }

    pub(crate) fn set_ready(&self, ready: bool) {
        self.ready.store(ready, Ordering::Release);
    }

    /// The typed views of these objects are at hand: those of the oldest ones are let go of.
    fn remember(&self, touched: Vec<Object>) {
        let oldest: Vec<Object> = {
            let mut recent = self.recent.lock();
            touched.into_iter().filter_map(|object| recent.touch(object)).collect()
        };
        for object in oldest {
            object.drop_idle_view();
        }
    }
}
