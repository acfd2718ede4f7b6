//! What the loop, the handlers and the bindings of one run share.

use std::sync::Arc;

use k8s_openapi::api::core::v1::Pod;
use kcore::client::DynClient;
use kcore::clock::Clock;
use kcore::component::Context;
use kcore::event::EventRecorder;
use kcore::object::{Object, RecentViews};
use kcore::random::Random;
use parking_lot::Mutex;
use tokio::sync::Notify;

use super::shard::Shard;
use crate::cache::Cache;
use crate::framework::{Action, ClusterEvent, DEFAULT_SCHEDULER_NAME, EventResource, Framework};
use crate::queue::SchedulingQueue;
use crate::snapshot::{PodInfo, Templates};
use crate::telling::Telling;

/// Pods with a node whose typed views are kept, since more may be told of them soon.
const RECENT_VIEWS: usize = 1_024;

/// One run's state. One lock guards cache and queue together, so that a pod is never seen in
/// neither of them; it is never held while anything is decided or awaited.
pub(super) struct Shared {
    pub(super) client: DynClient,
    pub(super) frameworks: Vec<Arc<Framework>>,
    pub(super) recorder: EventRecorder,
    pub(super) clock: Clock,
    pub(super) random: Random,
    pub(super) state: Mutex<State>,
    templates: Mutex<(Templates, RecentViews)>,
    telling: Telling,
    /// Whether a plugin waits for other pods to come.
    pub(super) gathers: bool,
    /// The nodes that are this scheduler's.
    pub(super) shard: Shard,
    /// The queue may have a pod to try.
    pub(super) more: Notify,
    /// A plugin has failed on a pod that was not tried yet.
    pub(super) faulted: Notify,
}

#[derive(Default)]
pub(super) struct State {
    pub(super) cache: Cache,
    pub(super) queue: SchedulingQueue,
}

impl Shared {
    pub(super) fn new(
        client: DynClient,
        frameworks: Vec<Arc<Framework>>,
        recorder: EventRecorder,
        ctx: &Context,
    ) -> Self {
        let (clock, random) = (ctx.clock().clone(), ctx.random().fork());
        let (state, more) = (Mutex::default(), Notify::new());
        let templates = Mutex::new((Templates::default(), RecentViews::new(RECENT_VIEWS)));
        let comes = ClusterEvent::new(EventResource::UnscheduledPod, Action::ADD);
        let events = frameworks.iter().flat_map(|framework| &framework.points.events);
        let gathers = events.flat_map(|(_, all)| all).any(|event| event.events.covers(&comes));
        Self {
            client,
            frameworks,
            recorder,
            clock,
            random,
            state,
            templates,
            telling: Telling::default(),
            gathers,
            shard: Shard::default(),
            more,
            faulted: Notify::new(),
        }
    }

    /// Whether one more success is told of.
    pub(super) fn tells_of_success(&self) -> bool {
        self.telling.one_more()
    }

    /// Reads a pod, and shares what it has in common with others. One that has a node is not held
    /// whole.
    pub(super) fn read(&self, object: &Object, pod: &Arc<Pod>) -> Arc<PodInfo> {
        let mut locked = self.templates.lock();
        let (templates, recent) = &mut *locked;
        let node = pod.spec.as_ref().and_then(|spec| spec.node_name.as_deref());
        let (read, oldest) = match node.unwrap_or_default() {
            "" => (templates.read(Arc::clone(pod)), None),
            _ => (templates.read_placed(object, pod), recent.touch(object.clone())),
        };
        drop(locked);
        if let Some(oldest) = oldest {
            oldest.drop_idle_view();
        }
        Arc::new(read)
    }

    /// Whether a plugin has registered for events of a kind by name.
    pub(super) fn listens_to(&self, resource: EventResource) -> bool {
        let events = self.frameworks.iter().flat_map(|framework| &framework.points.events);
        events.flat_map(|(_, events)| events).any(|event| event.events.resource == resource)
    }

    /// The profile that is responsible for a pod, if it is this scheduler's.
    pub(super) fn framework(&self, pod: &Pod) -> Option<&Arc<Framework>> {
        let name = pod.spec.as_ref().and_then(|spec| spec.scheduler_name.as_deref());
        let name = name.filter(|name| !name.is_empty()).unwrap_or(DEFAULT_SCHEDULER_NAME);
        self.frameworks.iter().find(|framework| framework.scheduler_name() == name)
    }
}
