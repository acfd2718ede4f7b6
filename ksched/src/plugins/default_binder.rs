//! DefaultBinder: binds through the API.

use std::sync::Arc;

use async_trait::async_trait;
use k8s_openapi::api::core::v1::{Binding, ObjectReference, Pod};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kcore::client::{Api, DynClient};

use crate::framework::{BindPlugin, CycleState, ExtensionPoints, Handle, SchedulerPlugin, Status};
use crate::snapshot::PodInfo;

/// Posts a Binding that carries the pod's uid: a pod of the same name that took its place
/// meanwhile is not bound (C11).
/// <https://kubernetes.io/docs/reference/kubernetes-api/workload-resources/binding-v1/>
#[derive(Debug, Clone)]
pub struct DefaultBinder {
    client: DynClient,
}

impl DefaultBinder {
    /// A binder that uses the scheduler's client.
    #[must_use]
    pub fn new(handle: &Handle) -> Self {
        Self { client: Arc::clone(handle.client()) }
    }
}

impl SchedulerPlugin for DefaultBinder {
    fn register(self: Arc<Self>, points: &mut ExtensionPoints) {
        points.bind(self);
    }
}

#[async_trait]
impl BindPlugin for DefaultBinder {
    fn binds_every_pod(&self) -> bool {
        true
    }

    async fn bind(&self, _: &CycleState, pod: &PodInfo, node: &str) -> Status {
        let binding = Binding {
            metadata: ObjectMeta {
                namespace: Some(pod.namespace().to_owned()),
                name: Some(pod.name().to_owned()),
                uid: pod.pod().metadata.uid.clone(),
                ..ObjectMeta::default()
            },
            target: ObjectReference {
                kind: Some("Node".to_owned()),
                name: Some(node.to_owned()),
                ..ObjectReference::default()
            },
        };
        let api: Api<Pod> = Api::namespaced(Arc::clone(&self.client), pod.namespace());
        match api.post(pod.name(), "binding", binding).await {
            Ok(_) => Status::success(),
            Err(error) => Status::error(format!("binding pod {} to {node}: {error}", pod.key())),
        }
    }
}
