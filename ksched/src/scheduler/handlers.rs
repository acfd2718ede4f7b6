//! What the informers tell, on its way into cache and queue.

use std::sync::Arc;

use k8s_openapi::api::core::v1::{Namespace, Node, PersistentVolume, PersistentVolumeClaim, Pod};
use k8s_openapi::api::storage::v1::{
    CSIDriver, CSINode, CSIStorageCapacity, StorageClass, VolumeAttachment,
};
use kcore::informer::{Change, Informers, Registration};
use kcore::kind::Kind;
use kcore::object::Object;
use tokio::time::Instant;

use super::shared::Shared;
use crate::framework::{Action, ClusterEvent, EventObject, EventResource, Happening};
use crate::snapshot::{PodInfo, RequiredFeatures, declared_features, pod_requests, resized};

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
    note(declared_features(old) != declared_features(new), Action::UPDATE_NODE_DECLARED_FEATURE);
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

/// Follows pods. What it was before is what cache and queue know of it.
pub(super) fn on_pod(shared: &Arc<Shared>) -> impl Fn(&Change<Object>) + Send + Sync + 'static {
    let shared = Arc::clone(shared);
    move |change| {
        let object = change.latest();
        if change.is_deleted() {
            gone(&shared, &object.meta().uid);
        } else {
            match object.view::<Pod>() {
                Ok(pod) if is_over(&pod) => gone(&shared, &object.meta().uid),
                Ok(whole) => {
                    let pod = shared.read(object, &whole);
                    if pod.node_name().is_empty() {
                        waits(&shared, pod);
                    } else {
                        placed(&shared, change.before(), pod, &whole);
                    }
                }
                Err(error) => tracing::error!(%error, "the pod is left out"),
            }
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

/// An event about a pod.
fn happening(
    resource: EventResource,
    action: Action,
    old: Option<Arc<PodInfo>>,
    new: Option<Arc<PodInfo>>,
) -> Happening {
    let event = ClusterEvent::new(resource, action);
    Happening { event, old: old.map(EventObject::Pod), new: new.map(EventObject::Pod) }
}

/// A pod takes no room any more: it was deleted, or has ended.
fn gone(shared: &Shared, uid: &str) {
    let mut state = shared.state.lock();
    state.queue.remove(uid);
    if let Some(pod) = state.cache.remove_pod(uid) {
        let event = happening(EventResource::AssignedPod, Action::DELETE, Some(pod), None);
        state.queue.happened(&event, Instant::now());
    }
}

/// A pod is on a node, whoever bound it. Neither state is [held](PodInfo::pod) for being compared.
fn placed(shared: &Shared, before: Option<&Object>, pod: Arc<PodInfo>, whole: &Pod) {
    let mut state = shared.state.lock();
    state.queue.remove(pod.uid());
    let known = state.cache.confirmed(pod.uid()).cloned();
    let action = match &known {
        None => Action::ADD,
        // Most of what is told of pods on nodes is their status.
        Some(known) if Arc::ptr_eq(known.template(), pod.template()) => Action::NONE,
        // What is not known may be anything.
        Some(_) => before
            .and_then(|before| before.view::<Pod>().ok())
            .map_or(Action::UPDATE, |before| pod_changes(&before, whole)),
    };
    state.cache.set_pod(Arc::clone(&pod));
    if action != Action::NONE {
        let event = happening(EventResource::AssignedPod, action, known, Some(pod));
        state.queue.happened(&event, Instant::now());
    }
}

/// A pod has no node yet.
fn waits(shared: &Shared, pod: Arc<PodInfo>) {
    let Some(framework) = shared.framework(pod.pod()) else { return };
    let now = Instant::now();
    let mut state = shared.state.lock();
    if pod.is_terminating() {
        state.queue.remove(pod.uid());
        return;
    }
    let known = state.queue.pod(pod.uid()).cloned();
    state.queue.set(Arc::clone(&pod), framework, now);
    match known {
        None if shared.gathers => {
            let event = happening(EventResource::UnscheduledPod, Action::ADD, None, Some(pod));
            state.queue.happened(&event, now);
        }
        None => {}
        Some(known) => {
            let action = pod_changes(known.pod(), pod.pod());
            if action != Action::NONE {
                let uid = Arc::clone(pod.shared_uid());
                let event =
                    happening(EventResource::UnscheduledPod, action, Some(known), Some(pod));
                state.queue.happened_to(&uid, &event, now);
            }
        }
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
    note(RequiredFeatures::of(a) != RequiredFeatures::of(b), Action::UPDATE_OTHER);
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

#[cfg(test)]
mod tests {
    use kapi::ApiServer;
    use kapi::auth::Identity;
    use kcore::client::DynClient;
    use kcore::clock::Clock;
    use kcore::component::Context;
    use kcore::event::{EventRecorder, Source};
    use kcore::random::Random;
    use kstore::MemoryStore;
    use serde_json::json;

    use super::*;
    use crate::testing::{Cluster, node, pod};

    #[tokio::test(start_paused = true)]
    async fn a_pod_on_a_node_that_changes_is_compared_without_being_held() {
        let api = ApiServer::new(MemoryStore::new());
        let client: DynClient = Arc::new(api.client(Identity::admin()));
        let ctx = Context::new(Clock::system(), Random::seeded(1));
        let (source, random) = (Source::default(), Random::seeded(2));
        let recorder = EventRecorder::new(Arc::clone(&client), source, Clock::system(), random);
        let framework = Arc::new(Cluster::new([]).framework().unwrap());
        let shared = Arc::new(Shared::new(client, vec![framework], recorder, &ctx));
        let follow = on_pod(&shared);
        let object = |name: &str, app: &str| {
            let pod = pod(name).uid(name).label("app", app).on("a").build();
            Object::from_typed(Pod::clone(&pod)).unwrap()
        };
        // The first of each shape stands for it.
        follow(&Change::Added(object("x", "a")));
        follow(&Change::Added(object("y", "b")));
        let (old, new) = (object("p", "a"), object("p", "b"));
        follow(&Change::Added(old.clone()));
        follow(&Change::Updated { old: old.clone(), new: new.clone() });
        let known = shared.state.lock().cache.confirmed("p").unwrap().labels()["app"].clone();
        assert_eq!(known, "b");
        assert_eq!((old.drop_idle_view(), new.drop_idle_view()), (false, false));
    }

    #[test]
    fn features_that_a_node_declares_are_told_apart_from_the_rest_of_it() {
        let declares = Action::UPDATE_NODE_DECLARED_FEATURE;
        let of = |old: &Node, new: &Node| node_changes(old, new);
        let (bare, one) = (node("a").build(), node("a").feature("One").build());
        let other = node("a").feature("Other").build();
        assert_eq!(of(&bare, &one), declares);
        assert_eq!(of(&one, &other), declares);
        assert_eq!(of(&other, &bare), declares);
        assert_eq!(of(&one, &node("a").feature("One").build()), Action::NONE);
        let labeled = node("a").label("x", "y").feature("One").build();
        assert_eq!(of(&one, &labeled), Action::UPDATE_NODE_LABEL);
        assert!(Action::UPDATE.intersects(declares) && Action::ALL.intersects(declares));
    }

    #[test]
    fn a_pod_that_requires_another_feature_has_changed() {
        let users =
            |own: bool| pod("p").spec("hostNetwork", true.into()).spec("hostUsers", own.into());
        let (host, own) = (users(true).build(), users(false).build());
        assert_eq!(pod_changes(&host, &own), Action::UPDATE_OTHER);
        let named = users(true).spec("hostname", json!("else")).build();
        assert_eq!(pod_changes(&host, &named), Action::NONE);
    }
}
