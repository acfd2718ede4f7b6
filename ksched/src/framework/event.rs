//! What happens in a cluster that may make a pod schedulable.

use std::fmt;
use std::ops::BitOr;
use std::sync::Arc;

use k8s_openapi::api::core::v1::{Namespace, Node, PersistentVolume, PersistentVolumeClaim};
use k8s_openapi::api::storage::v1::{
    CSIDriver, CSINode, CSIStorageCapacity, StorageClass, VolumeAttachment,
};

use crate::snapshot::PodInfo;

/// What an event is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum EventResource {
    /// Anything at all.
    Any,
    /// A pod that is on a node.
    AssignedPod,
    /// The waiting pod itself.
    UnscheduledPod,
    /// A node.
    Node,
    /// A namespace.
    Namespace,
    /// A PersistentVolume.
    PersistentVolume,
    /// A PersistentVolumeClaim.
    PersistentVolumeClaim,
    /// A StorageClass.
    StorageClass,
    /// A CSINode.
    CsiNode,
    /// A CSIDriver.
    CsiDriver,
    /// A CSIStorageCapacity.
    CsiStorageCapacity,
    /// A VolumeAttachment.
    VolumeAttachment,
    /// A PodGroup; its events carry no objects.
    PodGroup,
}

/// What happened to it: a set of actions.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Action(u32);

impl Action {
    /// It came.
    pub const ADD: Self = Self(1);
    /// It went.
    pub const DELETE: Self = Self(1 << 1);
    /// A node's allocatable resources changed.
    pub const UPDATE_NODE_ALLOCATABLE: Self = Self(1 << 2);
    /// A node's labels changed.
    pub const UPDATE_NODE_LABEL: Self = Self(1 << 3);
    /// A node's taints, or whether it takes pods, changed.
    pub const UPDATE_NODE_TAINT: Self = Self(1 << 4);
    /// A node's conditions changed.
    pub const UPDATE_NODE_CONDITION: Self = Self(1 << 5);
    /// A node's annotations changed.
    pub const UPDATE_NODE_ANNOTATION: Self = Self(1 << 6);
    /// A pod's labels changed.
    pub const UPDATE_POD_LABEL: Self = Self(1 << 7);
    /// A pod asks for less than before.
    pub const UPDATE_POD_SCALE_DOWN: Self = Self(1 << 8);
    /// A pod tolerates more than before.
    pub const UPDATE_POD_TOLERATIONS: Self = Self(1 << 9);
    /// A pod's last scheduling gate was removed.
    pub const UPDATE_POD_GATES_ELIMINATED: Self = Self(1 << 10);
    /// Something else about it changed.
    pub const UPDATE_OTHER: Self = Self(1 << 11);
    /// The features that a node declares changed.
    pub const UPDATE_NODE_DECLARED_FEATURE: Self = Self(1 << 12);
    /// Any change.
    pub const UPDATE: Self = Self(0b1_1111_1111_1100);
    /// Anything.
    pub const ALL: Self = Self(0b1_1111_1111_1111);
    /// Nothing.
    pub const NONE: Self = Self(0);

    /// Whether the two have an action in common.
    #[must_use]
    pub const fn intersects(self, other: Self) -> bool {
        self.0 & other.0 != 0
    }
}

impl BitOr for Action {
    type Output = Self;
    fn bitor(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }
}

/// An event, or a set of them that a plugin listens to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ClusterEvent {
    /// What it is about.
    pub resource: EventResource,
    /// What happened.
    pub action: Action,
}

impl ClusterEvent {
    /// Everything that can happen.
    pub const EVERYTHING: Self = Self::new(EventResource::Any, Action::ALL);

    /// An event.
    #[must_use]
    pub const fn new(resource: EventResource, action: Action) -> Self {
        Self { resource, action }
    }

    /// Whether `event` is one of these.
    #[must_use]
    pub fn covers(&self, event: &Self) -> bool {
        let any = [self.resource, event.resource].contains(&EventResource::Any);
        (any || self.resource == event.resource) && self.action.intersects(event.action)
    }
}

/// The object an event is about, before or after.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub enum EventObject {
    /// A pod.
    Pod(Arc<PodInfo>),
    /// A node.
    Node(Arc<Node>),
    /// A namespace.
    Namespace(Arc<Namespace>),
    /// A PersistentVolume.
    PersistentVolume(Arc<PersistentVolume>),
    /// A PersistentVolumeClaim.
    PersistentVolumeClaim(Arc<PersistentVolumeClaim>),
    /// A StorageClass.
    StorageClass(Arc<StorageClass>),
    /// A CSINode.
    CsiNode(Arc<CSINode>),
    /// A CSIDriver.
    CsiDriver(Arc<CSIDriver>),
    /// A CSIStorageCapacity.
    CsiStorageCapacity(Arc<CSIStorageCapacity>),
    /// A VolumeAttachment.
    VolumeAttachment(Arc<VolumeAttachment>),
}

impl EventObject {
    /// The node, if it is one.
    #[must_use]
    pub fn node(&self) -> Option<&Arc<Node>> {
        match self {
            Self::Node(node) => Some(node),
            _ => None,
        }
    }

    /// The pod, if it is one.
    #[must_use]
    pub fn pod(&self) -> Option<&Arc<PodInfo>> {
        match self {
            Self::Pod(pod) => Some(pod),
            _ => None,
        }
    }
}

/// An event with its objects.
#[derive(Debug, Clone)]
pub struct Happening {
    /// What happened.
    pub event: ClusterEvent,
    /// The object before; absent if it came.
    pub old: Option<EventObject>,
    /// The object after; absent if it went.
    pub new: Option<EventObject>,
}

impl Happening {
    /// The pod before and after, if it is about one.
    #[must_use]
    pub fn pods(&self) -> (Option<&Arc<PodInfo>>, Option<&Arc<PodInfo>>) {
        let [old, new] = [&self.old, &self.new].map(Option::as_ref);
        (old.and_then(EventObject::pod), new.and_then(EventObject::pod))
    }
}

/// Whether an event may make a pod schedulable.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum QueueingHint {
    /// It cannot help.
    Skip,
    /// It may help: try the pod again.
    Queue,
}

type Hint = Arc<dyn Fn(&PodInfo, &Happening) -> QueueingHint + Send + Sync>;

/// A set of events that may help pods a plugin turned away, and a finer look at each.
#[derive(Clone)]
pub struct EventRegistration {
    /// The events.
    pub events: ClusterEvent,
    hint: Option<Hint>,
}

impl EventRegistration {
    /// Every such event may help.
    #[must_use]
    pub const fn new(resource: EventResource, action: Action) -> Self {
        Self { events: ClusterEvent::new(resource, action), hint: None }
    }

    /// Only events that `hint` queues may help. A hint must never skip what could help: it is
    /// the only thing that wakes the pod before the flush after five minutes.
    #[must_use]
    pub fn hint(
        mut self,
        hint: impl Fn(&PodInfo, &Happening) -> QueueingHint + Send + Sync + 'static,
    ) -> Self {
        self.hint = Some(Arc::new(hint));
        self
    }

    /// Whether something that happened may help a pod.
    #[must_use]
    pub fn helps(&self, pod: &PodInfo, happening: &Happening) -> bool {
        self.events.covers(&happening.event)
            && self.hint.as_ref().is_none_or(|hint| hint(pod, happening) == QueueingHint::Queue)
    }
}

impl fmt::Debug for EventRegistration {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("EventRegistration").field("events", &self.events).finish_non_exhaustive()
    }
}
