//! The informer without a type.

use std::collections::BTreeSet;
use std::fmt;
use std::sync::{Arc, Weak};

use async_trait::async_trait;
use parking_lot::Mutex;
use tokio::sync::watch;

use super::{Change, Index, Indexer, InformerOptions, InformerStatus, Reflector, Sink};
use crate::Result;
use crate::client::{DynClient, WatchEvent};
use crate::name::{NamespacedName, Resource};
use crate::object::Object;
use crate::random::Random;
use crate::stop::StopToken;

/// Changes that are handed to handlers before other tasks get their turn.
const CHANGES_PER_TURN: usize = 128;

type Handler = Arc<dyn Fn(&Change<Object>) + Send + Sync>;
/// Whether an object may enter the cache.
pub(super) type Check = fn(&Object) -> Result<()>;

/// One reflector, one cache and many handlers, over objects of any resource. Clones are handles
/// of one informer. For a Rust type use [`SharedInformer`](super::SharedInformer).
///
/// Handlers are plain functions, called one after the other on the informer's own task, after the
/// cache shows the change: what they look up is at least as new. They have to be quick, such as
/// adding a key to a work queue, since the next change waits for them; there is no queue in
/// between that could overflow. A handler that panics ends the run; its supervisor starts another.
///
/// Nothing moves until somebody [`run`](Self::run)s it.
#[derive(Clone)]
pub struct ObjectInformer(Arc<Inner>);

struct Inner {
    reflector: Reflector,
    target: Target,
    running: tokio::sync::Mutex<()>,
}

/// What the reflector feeds.
struct Target {
    indexer: Arc<Indexer>,
    check: Option<Check>,
    /// Held while a change goes into the cache and to the handlers, and while a new handler is
    /// told what is there: so each handler sees each change once.
    dispatch: Mutex<()>,
    handlers: Arc<Handlers>,
    synced: watch::Sender<bool>,
}

#[derive(Default)]
struct Handlers(Mutex<(u64, Vec<(u64, Handler)>)>);

/// Keeps a handler registered; dropping it takes the handler away. A call that runs at that
/// moment still ends.
#[must_use = "dropping a registration takes the handler away"]
pub struct Registration {
    handlers: Weak<Handlers>,
    id: u64,
}

impl Drop for Registration {
    fn drop(&mut self) {
        if let Some(handlers) = self.handlers.upgrade() {
            let gone = {
                let list = &mut handlers.0.lock().1;
                list.iter().position(|(id, _)| *id == self.id).map(|at| list.remove(at))
            };
            // What the handler owned is dropped outside of the lock.
            drop(gone);
        }
    }
}

impl fmt::Debug for Registration {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Registration").field(&self.id).finish()
    }
}

impl ObjectInformer {
    /// An informer of `resource`; `random` is drawn from for jitter.
    #[must_use]
    pub fn new(
        client: DynClient,
        resource: Resource,
        options: InformerOptions,
        random: Random,
    ) -> Self {
        Self::checked(client, resource, options, random, None)
    }

    pub(super) fn checked(
        client: DynClient,
        resource: Resource,
        options: InformerOptions,
        random: Random,
        check: Option<Check>,
    ) -> Self {
        let target = Target {
            indexer: Arc::default(),
            check,
            dispatch: Mutex::new(()),
            handlers: Arc::default(),
            synced: watch::Sender::new(false),
        };
        let reflector = Reflector::new(client, resource, options, random);
        Self(Arc::new(Inner { reflector, target, running: tokio::sync::Mutex::default() }))
    }

    /// The resource it follows.
    #[must_use]
    pub fn resource(&self) -> &Resource {
        self.0.reflector.resource()
    }

    /// The cache.
    #[must_use]
    pub fn indexer(&self) -> &Arc<Indexer> {
        &self.0.target.indexer
    }

    /// Adds an index, or returns the one of that name; see [`Indexer::add_index`].
    pub fn add_index(
        &self,
        name: &str,
        values: impl Fn(&Object) -> Vec<String> + Send + Sync + 'static,
    ) -> Index {
        self.0.target.indexer.add_index(name, values)
    }

    /// Calls `handler` for each change, as long as the registration is kept. What is in the cache
    /// already is told as added before this returns. A handler must not register another one.
    pub fn on_change(
        &self,
        handler: impl Fn(&Change<Object>) + Send + Sync + 'static,
    ) -> Registration {
        let target = &self.0.target;
        let handler: Handler = Arc::new(handler);
        let _one_at_a_time = target.dispatch.lock();
        let everything = crate::selector::LabelSelector::everything();
        for object in target.indexer.select(None, &everything) {
            handler(&Change::Added(object));
        }
        let mut handlers = target.handlers.0.lock();
        handlers.0 += 1;
        let id = handlers.0;
        handlers.1.push((id, handler));
        Registration { handlers: Arc::downgrade(&target.handlers), id }
    }

    /// Whether a whole list has reached the cache and all handlers.
    #[must_use]
    pub fn has_synced(&self) -> bool {
        *self.0.target.synced.borrow()
    }

    /// Waits until a whole list has reached the cache and all handlers.
    pub async fn wait_for_sync(&self) {
        let mut synced = self.0.target.synced.subscribe();
        // The sender is held by self.
        let _ = synced.wait_for(|synced| *synced).await;
    }

    /// What it did so far.
    #[must_use]
    pub fn status(&self) -> InformerStatus {
        InformerStatus { synced: self.has_synced(), ..self.0.reflector.status() }
    }

    /// Follows the collection until `stop`. It never fails: what goes wrong is waited out, and
    /// shows in [`status`](Self::status).
    ///
    /// Several may run one informer: one of them does the work, the others stand by. Dropping the
    /// future ends its work; the next run goes on from there.
    pub async fn run(&self, stop: StopToken) {
        let _only_one = crate::select! {
            () = stop.stopped() => return,
            guard = self.0.running.lock() => guard,
        };
        self.0.reflector.run(&self.0.target, &stop).await;
    }
}

impl Target {
    fn check<'a>(&self, mut objects: impl Iterator<Item = &'a Object>) -> Result<()> {
        self.check.map_or(Ok(()), |check| objects.try_for_each(check))
    }

    fn put(&self, object: &Object) {
        let _one_at_a_time = self.dispatch.lock();
        self.dispatch(self.indexer.put(object.clone()));
    }

    fn remove(&self, key: &NamespacedName, last: Option<&Object>) {
        let _one_at_a_time = self.dispatch.lock();
        self.dispatch(self.indexer.remove(key, last.cloned()));
    }

    fn dispatch(&self, changes: impl IntoIterator<Item = Change<Object>>) {
        for change in changes {
            let handlers = self.handlers.0.lock().1.clone();
            for (_, handler) in &handlers {
                handler(&change);
            }
        }
    }
}

#[async_trait]
impl Sink for Target {
    async fn replace(&self, objects: Vec<Object>) -> Result<()> {
        self.check(objects.iter())?;
        // New objects first: whoever counts what is there never finds less than there is (N6).
        for chunk in objects.chunks(CHANGES_PER_TURN) {
            for object in chunk {
                self.put(object);
            }
            tokio::task::yield_now().await;
        }
        let there: BTreeSet<NamespacedName> =
            objects.iter().map(|object| object.meta().key()).collect();
        let known = self.indexer.keys();
        for chunk in known.chunks(CHANGES_PER_TURN) {
            for key in chunk.iter().filter(|key| !there.contains(&***key)) {
                self.remove(key, None);
            }
            tokio::task::yield_now().await;
        }
        self.synced.send_replace(true);
        Ok(())
    }

    async fn apply(&self, events: &[WatchEvent]) -> Result<()> {
        self.check(events.iter().filter_map(WatchEvent::object))?;
        for chunk in events.chunks(CHANGES_PER_TURN) {
            for event in chunk {
                match event {
                    WatchEvent::Added(object) | WatchEvent::Modified(object) => self.put(object),
                    WatchEvent::Deleted(object) => {
                        self.remove(&object.meta().key(), Some(object));
                    }
                    WatchEvent::Bookmark { .. } => {}
                }
            }
            if events.len() > CHANGES_PER_TURN {
                tokio::task::yield_now().await;
            }
        }
        Ok(())
    }
}

impl fmt::Debug for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Target").field("indexer", &self.indexer).finish_non_exhaustive()
    }
}

impl fmt::Debug for ObjectInformer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ObjectInformer")
            .field("resource", &self.resource().group_resource())
            .field("status", &self.status())
            .finish_non_exhaustive()
    }
}
