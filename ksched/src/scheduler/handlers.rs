//! What the informers tell, on its way into cache and queue.

use std::sync::Arc;

use k8s_openapi::api::core::v1::{Namespace, Node, PersistentVolume, PersistentVolumeClaim, Pod};
use k8s_openapi::api::storage::v1::{
    CSIDriver, CSINode, CSIStorageCapacity, StorageClass, VolumeAttachment,
};
use kcore::informer::{Change, Informers, Registration};
use kcore::kind::Kind;
use tokio::time::Instant;

use super::shared::Shared;
use crate::framework::{Action, ClusterEvent, EventObject, EventResource, Happening};
use crate::snapshot::{PodInfo, pod_requests, resized};

/// Follows nodes.
pub(super) fn on_node(shared: &Arc<Shared>) -> impl Fn(Change<Arc<Node>>) + Send + Sync + 'static {
    let shared = Arc::clone(shared);
    move |change| {
        let node = change.latest();
        if !shared.shard.has(node.metadata.name.as_deref().unwrap_or_default()) {
            return;
        }
        let action = match &change {
            Change::Added(_) => Action::ADD,
            Change::Deleted(_) => Action::DELETE,
            Change::Updated { old, new } => node_changes(old, new),
        };
        let happening = Happening {
            event: ClusterEvent::new(EventResource::Node, action),
            old: change.before().cloned().map(EventObject::Node),
            new: change.after().cloned().map(EventObject::Node),
        };
        {
            let mut state = shared.state.lock();
            if change.is_deleted() {
                state.cache.remove_node(node.metadata.name.as_deref().unwrap_or_default());
            } else {
                state.cache.set_node(Arc::clone(node));
            }
            if action != Action::NONE {
                state.queue.happened(&happening, Instant::now());
            }
        }
        shared.more.notify_one();
    }
}

/// What differs between two states of a node, as far as pods may care. A heartbeat is nothing.
fn node_changes(old: &Node, new: &Node) -> Action {
    let mut action = Action::NONE;
    let mut note = |differs: bool, what: Action| {
        if differs {
            action = action | what;
        }
    };
    let (a, b) = (old.status.as_ref(), new.status.as_ref());
    note(
        a.map(|status| &status.allocatable) != b.map(|status| &status.allocatable),
        Action::UPDATE_NODE_ALLOCATABLE,
    );
    note(old.metadata.labels != new.metadata.labels, Action::UPDATE_NODE_LABEL);
    note(old.metadata.annotations != new.metadata.annotations, Action::UPDATE_NODE_ANNOTATION);
    let taints = |node: &Node| {
        let spec = node.spec.as_ref();
        spec.map(|spec| (spec.taints.clone(), spec.unschedulable.unwrap_or_default()))
    };
    note(taints(old) != taints(new), Action::UPDATE_NODE_TAINT);
    let conditions = |node: &Node| -> Vec<(String, String)> {
        let status = node.status.iter().flat_map(|status| status.conditions.iter().flatten());
        status.map(|condition| (condition.type_.clone(), condition.status.clone())).collect()
    };
    note(conditions(old) != conditions(new), Action::UPDATE_NODE_CONDITION);
    action
}

/// Follows pods.
pub(super) fn on_pod(shared: &Arc<Shared>) -> impl Fn(Change<Arc<Pod>>) + Send + Sync + 'static {
    let shared = Arc::clone(shared);
    move |change| {
        let pod = shared.read(Arc::clone(change.latest()));
        if change.is_deleted() || is_over(pod.pod()) {
            gone(&shared, &change, &pod);
        } else if !pod.node_name().is_empty() {
            placed(&shared, &change, pod);
        } else {
            waits(&shared, &change, pod);
        }
        shared.more.notify_one();
    }
}

/// Follows a kind that only decides whether waiting pods are tried again.
fn on_other<K: Kind>(
    shared: &Arc<Shared>,
    resource: EventResource,
    wrap: fn(Arc<K>) -> EventObject,
) -> impl Fn(Change<Arc<K>>) + Send + Sync + 'static {
    let shared = Arc::clone(shared);
    move |change| {
        let event = Happening {
            event: ClusterEvent::new(resource, action_of(&change)),
            old: change.before().cloned().map(wrap),
            new: change.after().cloned().map(wrap),
        };
        shared.state.lock().queue.happened(&event, Instant::now());
        shared.more.notify_one();
    }
}

/// Follows what else the plugins have registered for.
pub(super) fn on_others(shared: &Arc<Shared>, informers: &Informers) -> Vec<Registration> {
    let mut registrations = Vec::new();
    macro_rules! follow {
        ($($kind:ident => $resource:ident),*) => {$(
            if shared.listens_to(EventResource::$resource) {
                let handler = on_other(shared, EventResource::$resource, EventObject::$resource);
                registrations.push(informers.of::<$kind>().on_change(handler));
            }
        )*};
    }
    follow!(
        Namespace => Namespace,
        PersistentVolume => PersistentVolume,
        PersistentVolumeClaim => PersistentVolumeClaim,
        StorageClass => StorageClass,
        CSINode => CsiNode,
        CSIDriver => CsiDriver,
        CSIStorageCapacity => CsiStorageCapacity,
        VolumeAttachment => VolumeAttachment
    );
    k8s_openapi::k8s_if_ge_1_37! {
        if shared.listens_to(EventResource::PodGroup) {
            type PodGroup = k8s_openapi::api::scheduling::v1beta1::PodGroup;
            let handler = on_change(shared, EventResource::PodGroup);
            registrations.push(informers.of::<PodGroup>().on_change(handler));
        }
    }
    registrations
}

k8s_openapi::k8s_if_ge_1_37! {
    /// Tells that objects of a kind came, went or changed, but not which.
    fn on_change<K: Kind>(
        shared: &Arc<Shared>,
        resource: EventResource,
    ) -> impl Fn(Change<Arc<K>>) + Send + Sync + 'static {
        let shared = Arc::clone(shared);
        move |change| {
            let event = ClusterEvent::new(resource, action_of(&change));
            let event = Happening { event, old: None, new: None };
            shared.state.lock().queue.happened(&event, Instant::now());
            shared.more.notify_one();
        }
    }
}

fn action_of<K>(change: &Change<K>) -> Action {
    match change {
        Change::Added(_) => Action::ADD,
        Change::Deleted(_) => Action::DELETE,
        Change::Updated { .. } => Action::UPDATE,
    }
}

fn is_over(pod: &Pod) -> bool {
    let phase = pod.status.as_ref().and_then(|status| status.phase.as_deref());
    matches!(phase, Some("Succeeded" | "Failed"))
}

fn is_placed(pod: &Pod) -> bool {
    let node = pod.spec.as_ref().and_then(|spec| spec.node_name.as_deref());
    node.is_some_and(|node| !node.is_empty())
}

fn happening(change: &Change<Arc<Pod>>, resource: EventResource, action: Action) -> Happening {
    Happening {
        event: ClusterEvent::new(resource, action),
        old: change.before().cloned().map(EventObject::Pod),
        new: change.after().cloned().map(EventObject::Pod),
    }
}

/// A pod takes no room any more: it was deleted, or has ended.
fn gone(shared: &Shared, change: &Change<Arc<Pod>>, pod: &PodInfo) {
    let mut state = shared.state.lock();
    state.queue.remove(pod.uid());
    let took_room = state.cache.remove_pod(pod.uid());
    if took_room {
        let mut event = happening(change, EventResource::AssignedPod, Action::DELETE);
        event.old = Some(EventObject::Pod(Arc::clone(pod.pod())));
        event.new = None;
        state.queue.happened(&event, Instant::now());
    }
}

/// A pod is on a node, whoever bound it.
fn placed(shared: &Shared, change: &Change<Arc<Pod>>, pod: Arc<PodInfo>) {
    let before = change.before().filter(|before| is_placed(before));
    let action = before.map_or(Action::ADD, |before| pod_changes(before, pod.pod()));
    let mut state = shared.state.lock();
    state.queue.remove(pod.uid());
    state.cache.set_pod(pod);
    if action != Action::NONE {
        let event = happening(change, EventResource::AssignedPod, action);
        state.queue.happened(&event, Instant::now());
    }
}

/// A pod has no node yet.
fn waits(shared: &Shared, change: &Change<Arc<Pod>>, pod: Arc<PodInfo>) {
    let Some(framework) = shared.framework(pod.pod()) else { return };
    let now = Instant::now();
    let mut state = shared.state.lock();
    if pod.pod().metadata.deletion_timestamp.is_some() {
        state.queue.remove(pod.uid());
        return;
    }
    let action = change.before().map_or(Action::NONE, |before| pod_changes(before, pod.pod()));
    let uid = Arc::clone(pod.shared_uid());
    state.queue.set(pod, framework, now);
    if change.before().is_none() && shared.gathers {
        let event = happening(change, EventResource::UnscheduledPod, Action::ADD);
        state.queue.happened(&event, now);
    }
    if action != Action::NONE {
        let event = happening(change, EventResource::UnscheduledPod, action);
        state.queue.happened_to(&uid, &event, now);
    }
}

/// What differs between two states of a pod, as far as scheduling may care. Status is nothing.
fn pod_changes(old: &Pod, new: &Pod) -> Action {
    let mut action = Action::NONE;
    let mut note = |differs: bool, what: Action| {
        if differs {
            action = action | what;
        }
    };
    note(old.metadata.labels != new.metadata.labels, Action::UPDATE_POD_LABEL);
    let (Some(a), Some(b)) = (&old.spec, &new.spec) else { return action };
    note(a.tolerations != b.tolerations, Action::UPDATE_POD_TOLERATIONS);
    let gated = |gates: &Option<Vec<_>>| gates.as_ref().is_some_and(|gates| !gates.is_empty());
    note(
        gated(&a.scheduling_gates) && !gated(&b.scheduling_gates),
        Action::UPDATE_POD_GATES_ELIMINATED,
    );
    note(a.node_selector != b.node_selector || a.affinity != b.affinity, Action::UPDATE_OTHER);
    let spec = a.containers != b.containers || a.resources != b.resources;
    if spec || resized(old) != resized(new) {
        let (before, after) = (pod_requests(old), pod_requests(new));
        let names = before.scalar.iter().map(|(name, _)| &**name);
        let names = names.chain(["cpu", "memory", "ephemeral-storage"]);
        let less = names.into_iter().any(|name| after.get(name) < before.get(name));
        note(less, Action::UPDATE_POD_SCALE_DOWN);
    }
    action
}
