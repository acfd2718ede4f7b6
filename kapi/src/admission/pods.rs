//! What new Pods are given: an account, and tolerations.

use async_trait::async_trait;
use k8s_openapi::api::core::v1::{Pod, ServiceAccount as Account, Toleration};
use kcore::kind::Typed;
use kcore::name::Resource;
use kcore::status::Status;

use super::{AdmissionPlugin, AdmissionRequest, Operation};

/// The annotation that keeps the agent's own Pods apart.
const MIRROR: &str = "kubernetes.io/config.mirror";

fn is_new_pod(request: &AdmissionRequest<'_>) -> bool {
    request.operation == Operation::Create && request.is::<Pod>()
}

fn pod_of(object: Option<&mut dyn Typed>) -> Option<&mut Pod> {
    object?.as_any_mut().downcast_mut::<Pod>()
}

fn forbidden(request: &AdmissionRequest<'_>, why: &str) -> Status {
    Status::forbidden("", "pods", request.name, why)
}

/// Gives Pods their ServiceAccount, and refuses those whose account does not exist.
/// <https://kubernetes.io/docs/reference/access-authn-authz/admission-controllers/#serviceaccount>
#[derive(Debug, Default, Clone, Copy)]
pub struct ServiceAccount;

#[async_trait]
impl AdmissionPlugin for ServiceAccount {
    fn name(&self) -> &'static str {
        "ServiceAccount"
    }

    fn handles(&self, request: &AdmissionRequest<'_>) -> bool {
        is_new_pod(request)
    }

    async fn admit(
        &self,
        request: &AdmissionRequest<'_>,
        object: Option<&mut dyn Typed>,
    ) -> Result<(), Status> {
        let Some(pod) = pod_of(object) else { return Ok(()) };
        let mirror = pod.metadata.annotations.as_ref().is_some_and(|all| all.contains_key(MIRROR));
        let Some(spec) = pod.spec.as_mut().filter(|_| !mirror) else { return Ok(()) };
        let name = spec.service_account_name.clone().filter(|name| !name.is_empty());
        let name = name.unwrap_or_else(|| "default".to_owned());
        let namespace = request.namespace;
        let found = request.cluster.get(&Resource::of::<Account>(), namespace, &name);
        let account = found.and_then(|object| object.view::<Account>().ok()).ok_or_else(|| {
            let why = format!(
                "error looking up service account {namespace}/{name}: serviceaccount {name:?} not \
                 found"
            );
            forbidden(request, &why)
        })?;
        spec.service_account_name = Some(name.clone());
        spec.service_account = Some(name);
        if spec.image_pull_secrets.as_ref().is_none_or(Vec::is_empty) {
            spec.image_pull_secrets.clone_from(&account.image_pull_secrets);
        }
        Ok(())
    }
}

/// Lets Pods stay for a while on nodes that are not ready or not reachable (C12).
/// <https://kubernetes.io/docs/reference/access-authn-authz/admission-controllers/#defaulttolerationseconds>
#[derive(Debug, Clone, Copy)]
pub struct DefaultTolerationSeconds {
    not_ready: i64,
    unreachable: i64,
}

impl Default for DefaultTolerationSeconds {
    /// Five minutes on both.
    fn default() -> Self {
        Self { not_ready: 300, unreachable: 300 }
    }
}

impl DefaultTolerationSeconds {
    /// Seconds on nodes that are not ready, and on nodes that are not reachable.
    #[must_use]
    pub fn new(not_ready: i64, unreachable: i64) -> Self {
        Self { not_ready, unreachable }
    }
}

#[async_trait]
impl AdmissionPlugin for DefaultTolerationSeconds {
    fn name(&self) -> &'static str {
        "DefaultTolerationSeconds"
    }

    fn handles(&self, request: &AdmissionRequest<'_>) -> bool {
        is_new_pod(request)
    }

    async fn admit(
        &self,
        _request: &AdmissionRequest<'_>,
        object: Option<&mut dyn Typed>,
    ) -> Result<(), Status> {
        let Some(spec) = pod_of(object).and_then(|pod| pod.spec.as_mut()) else { return Ok(()) };
        let tolerations = spec.tolerations.get_or_insert_default();
        for (key, seconds) in [
            ("node.kubernetes.io/not-ready", self.not_ready),
            ("node.kubernetes.io/unreachable", self.unreachable),
        ] {
            let covers = |toleration: &Toleration| {
                let effect = toleration.effect.as_deref().unwrap_or_default();
                let of = toleration.key.as_deref().unwrap_or_default();
                (of == key || of.is_empty()) && (effect == "NoExecute" || effect.is_empty())
            };
            if !tolerations.iter().any(covers) {
                tolerations.push(Toleration {
                    key: Some(key.to_owned()),
                    operator: Some("Exists".to_owned()),
                    effect: Some("NoExecute".to_owned()),
                    toleration_seconds: Some(seconds),
                    value: None,
                });
            }
        }
        Ok(())
    }
}
