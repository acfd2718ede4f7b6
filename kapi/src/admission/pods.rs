//! What new Pods are given: an account, tolerations, a priority.

use std::sync::Arc;

use async_trait::async_trait;
use k8s_openapi::api::core::v1::{Pod, ServiceAccount as Account, Toleration};
use k8s_openapi::api::scheduling::v1::PriorityClass;
use kcore::kind::Typed;
use kcore::name::Resource;
use kcore::status::Status;

use super::{AdmissionPlugin, AdmissionRequest, Operation};
use crate::strategy::optional;

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

/// Turns the name of a priority class into a number.
/// <https://kubernetes.io/docs/reference/access-authn-authz/admission-controllers/#priority>
#[derive(Debug, Default, Clone, Copy)]
pub struct Priority;

impl Priority {
    /// The class a Pod names, or the cluster's default one.
    fn class(
        request: &AdmissionRequest<'_>,
        name: Option<&str>,
    ) -> Result<Option<Arc<PriorityClass>>, Box<Status>> {
        let resource = Resource::of::<PriorityClass>();
        let Some(name) = name.filter(|name| !name.is_empty()) else {
            let classes = request.cluster.list(&resource, None);
            let mut classes: Vec<_> = classes
                .iter()
                .filter_map(|object| object.view::<PriorityClass>().ok())
                .filter(|class| class.global_default == Some(true))
                .collect();
            // Of several defaults the lowest counts, so that none is raised by mistake.
            classes.sort_by_key(|class| optional::<i32>(class.value));
            return Ok(classes.into_iter().next());
        };
        let found = request.cluster.get(&resource, "", name);
        let class = found.and_then(|object| object.view::<PriorityClass>().ok());
        class.map(Some).ok_or_else(|| {
            forbidden(request, &format!("no PriorityClass with name {name} was found")).into()
        })
    }
}

#[async_trait]
impl AdmissionPlugin for Priority {
    fn name(&self) -> &'static str {
        "Priority"
    }

    fn handles(&self, request: &AdmissionRequest<'_>) -> bool {
        is_new_pod(request)
    }

    async fn admit(
        &self,
        request: &AdmissionRequest<'_>,
        object: Option<&mut dyn Typed>,
    ) -> Result<(), Status> {
        let Some(spec) = pod_of(object).and_then(|pod| pod.spec.as_mut()) else { return Ok(()) };
        let class =
            Self::class(request, spec.priority_class_name.as_deref()).map_err(|status| *status)?;
        let value: i32 =
            class.as_ref().and_then(|class| optional::<i32>(class.value)).unwrap_or_default();
        if spec.priority.is_some_and(|priority| priority != value) {
            return Err(forbidden(
                request,
                &format!(
                    "the integer value of priority ({}) must not be provided in pod spec; priority \
                     admission controller computed {value} from the given PriorityClass name",
                    spec.priority.unwrap_or_default()
                ),
            ));
        }
        let policy = class.as_ref().and_then(|class| class.preemption_policy.clone());
        let policy = policy.unwrap_or_else(|| "PreemptLowerPriority".to_owned());
        if spec.preemption_policy.as_ref().is_some_and(|own| *own != policy) {
            return Err(forbidden(
                request,
                &format!(
                    "the string value of PreemptionPolicy ({}) must not be provided in pod spec; \
                     priority admission controller computed {policy} from the given PriorityClass \
                     name",
                    spec.preemption_policy.as_deref().unwrap_or_default()
                ),
            ));
        }
        if let Some(class) = &class {
            spec.priority_class_name.clone_from(&class.metadata.name);
        }
        spec.priority = Some(value);
        spec.preemption_policy = Some(policy);
        Ok(())
    }
}
