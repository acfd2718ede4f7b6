//! Events about objects, for those who look at them: `kubectl describe`, `kubectl get events`.
//!
//! A recorder never blocks and never fails its caller. What is said many times becomes one event
//! with a count; many alike become one; and who says too much about one object is not heard for a
//! while. <https://kubernetes.io/docs/reference/kubernetes-api/cluster-resources/event-v1/>

mod correlate;
mod lru;
mod recorder;
#[cfg(test)]
mod tests;

pub use correlate::{
    AGGREGATE_AFTER, AGGREGATE_WITHIN, CACHE_SIZE, Correlator, EventType, Occurrence, Plan,
    SPAM_BURST, SPAM_RATE, Source,
};
pub use recorder::{EventRecorder, FLUSH_TIMEOUT, QUEUE_CAPACITY, WRITE_RETRY, WRITE_TRIES};

use k8s_openapi::api::core::v1::ObjectReference;

use crate::kind::Kind;
use crate::object::Object;

/// A reference to an object, as events have it.
#[must_use]
pub fn reference_to<K: Kind>(object: &K) -> ObjectReference {
    let meta = object.metadata();
    ObjectReference {
        api_version: Some(crate::name::api_version(K::GROUP, K::VERSION).into_owned()),
        kind: Some(K::KIND.to_owned()),
        namespace: meta.namespace.clone(),
        name: meta.name.clone(),
        uid: meta.uid.clone(),
        resource_version: meta.resource_version.clone(),
        field_path: None,
    }
}

/// A reference to an object of any kind, as events have it.
#[must_use]
pub fn reference_to_object(object: &Object) -> ObjectReference {
    let meta = object.meta();
    let some = |text: &String| (!text.is_empty()).then(|| text.clone());
    ObjectReference {
        api_version: some(&meta.api_version),
        kind: some(&meta.kind),
        namespace: some(&meta.namespace),
        name: some(&meta.name),
        uid: some(&meta.uid),
        resource_version: Some(object.resource_version().to_string()),
        field_path: None,
    }
}
