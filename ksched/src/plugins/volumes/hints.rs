//! Which events about volumes may help a pod.

use k8s_openapi::api::core::v1::PersistentVolumeClaim;

use super::claims;
use crate::framework::{EventObject, Happening, QueueingHint};
use crate::snapshot::PodInfo;

/// Queues the pod if this is so.
pub(in crate::plugins) fn queue_if(helps: bool) -> QueueingHint {
    if helps { QueueingHint::Queue } else { QueueingHint::Skip }
}

/// A claim that the pod itself mentions came, or changed.
pub(in crate::plugins) fn of_own_claim(pod: &PodInfo, what: &Happening) -> QueueingHint {
    queue_if(match &what.new {
        Some(EventObject::PersistentVolumeClaim(claim)) => mentions(pod, claim),
        _ => true,
    })
}

fn mentions(pod: &PodInfo, claim: &PersistentVolumeClaim) -> bool {
    let meta = &claim.metadata;
    let named = |name: &str| meta.name.as_deref() == Some(name);
    meta.namespace.as_deref().unwrap_or_default() == pod.namespace()
        && claims(pod).iter().any(|own| named(&own.name))
}

/// The pod that left, or changed.
pub(in crate::plugins) fn other(what: &Happening) -> Option<&PodInfo> {
    let (old, new) = what.pods();
    old.or(new).map(|pod| &**pod)
}
