//! Evicting Pods within their disruption budgets.
//! <https://kubernetes.io/docs/concepts/scheduling-eviction/api-eviction/>

use std::sync::Arc;

use jiff::Timestamp;
use k8s_openapi::api::core::v1::Pod;
use k8s_openapi::api::policy::v1::{Eviction, PodDisruptionBudget};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{self as meta, Time};
use kcore::client::{Body, DeleteOptions, Path, Preconditions, WriteOptions};
use kcore::kind::Typed;
use kcore::name::Resource;
use kcore::object::Object;
use kcore::selector::LabelSelector;
use kcore::status::{Cause, Reason, Status};

use super::decode::typed_of;
use super::subresource::decode;
use super::track::Track;
use super::update::{Change, Update};
use super::{ClusterView, Identity, Result, Server};
use crate::registry::{Row, Subresource, cast_mut};
use crate::versions::{of, read};

/// Disrupted Pods that a budget may list before the controller has caught up.
const MAX_DISRUPTED: usize = 2_000;
/// Seconds a client waits while a budget's status is being worked out.
const RETRY_S: u32 = 10;

impl Server {
    /// Deletes a Pod if its disruption budget allows it.
    pub(super) async fn evict(
        &self,
        user: &Identity,
        row: &Arc<Row>,
        path: Path<'_>,
        body: Body,
    ) -> Result<Object> {
        let eviction: Eviction = decode(body, "Eviction")?;
        if eviction.metadata.name.as_deref().is_some_and(|name| name != path.name) {
            return Err(
                Status::bad_request("name in URL does not match name in Eviction object").into()
            );
        }
        // Whoever may evict a Pod need not be allowed to read it.
        let of_pod = Path { subresource: "", ..path };
        let object = self.get_authorized(row, of_pod, &Default::default()).await?;
        let pod = object.view::<Pod>().map_err(Status::internal)?;
        let mut options = delete_options(eviction.delete_options.as_ref())?;
        if counts(&pod) {
            let budgets = self.budgets_of(&pod, path.namespace.unwrap_or_default());
            match budgets.as_slice() {
                [] => {}
                [budget] => {
                    if !unhealthy_and_free(&pod, budget) && !options.dry_run {
                        self.spend(user, budget, &pod).await?;
                    }
                    // The Pod that was counted is the one that goes.
                    options.preconditions.uid = pod.metadata.uid.clone();
                }
                _ => {
                    return Err(Status::internal(
                        "This pod has more than one PodDisruptionBudget, which the eviction \
                         subresource does not support.",
                    )
                    .into());
                }
            }
        }
        self.delete_authorized(user, row, of_pod, &options).await?;
        let status = Status { code: 201, ..Status::success() };
        Object::from_json(&status.to_json(), None).map_err(|error| Status::internal(error).into())
    }

    fn budgets_of(&self, pod: &Pod, namespace: &str) -> Vec<Arc<PodDisruptionBudget>> {
        let labels = pod.metadata.labels.clone().unwrap_or_default();
        let resource = Resource::of::<PodDisruptionBudget>();
        let budgets = ClusterView::list(self, &resource, Some(namespace));
        budgets
            .iter()
            .filter_map(|object| object.view::<PodDisruptionBudget>().ok())
            .filter(|budget| {
                let selector = budget.spec.as_ref().and_then(|spec| spec.selector.as_ref());
                LabelSelector::from_api(selector).is_ok_and(|selector| selector.matches(&labels))
            })
            .collect()
    }

    /// Takes one disruption off a budget, or says that none is left.
    async fn spend(&self, user: &Identity, budget: &PodDisruptionBudget, pod: &Pod) -> Result<()> {
        let resource = Resource::of::<PodDisruptionBudget>();
        let row = self.row(&resource)?;
        let name = budget.metadata.name.clone().unwrap_or_default();
        let path = Path {
            subresource: "status",
            ..Path::object(&resource, budget.metadata.namespace.as_deref(), &name)
        };
        let options = WriteOptions::default();
        let subresource = Some(Subresource::Status);
        let track = Track::Changes;
        let update = Update { user, path, row, subresource, options: &options, track };
        let pod = pod.metadata.name.clone().unwrap_or_default();
        self.change(&update, &Spend { pod, now: self.options.clock.now() }).await?;
        Ok(())
    }
}

/// One disruption, written into a budget's status.
struct Spend {
    pod: String,
    now: Timestamp,
}

impl Change for Spend {
    fn apply(&self, _: &Server, _: &Row, current: &Object) -> Result<Box<dyn Typed>> {
        let mut typed = typed_of(current)?.boxed_clone();
        let name = current.meta().name.clone();
        let budget = cast_mut::<PodDisruptionBudget>(&mut *typed);
        let generation = budget.metadata.generation.unwrap_or_default();
        let status = budget.status.get_or_insert_default();
        if status.observed_generation.unwrap_or_default() < generation {
            return Err(refused(
                format!(
                    "Cannot evict pod as it would violate the pod's disruption budget: the \
                     disruption budget {name} is still being processed by the server."
                ),
                "",
                RETRY_S,
            )
            .into());
        }
        let disrupted = status.disrupted_pods.get_or_insert_default();
        if disrupted.len() > MAX_DISRUPTED {
            return Err(Status::internal(format!(
                "DisruptedPods map too big - too many evictions not confirmed by PDB controller \
                 for {name}"
            ))
            .into());
        }
        let allowed = *read(&status.disruptions_allowed);
        if allowed <= 0 {
            let detail = format!(
                "The disruption budget {name} needs {} healthy pods and has {} currently",
                read(&status.desired_healthy),
                read(&status.current_healthy)
            );
            return Err(refused(
                "Cannot evict pod as it would violate the pod's disruption budget.".to_owned(),
                &detail,
                0,
            )
            .into());
        }
        status.disruptions_allowed = of(allowed - 1);
        disrupted.insert(self.pod.clone(), Time(self.now));
        Ok(typed)
    }
}

fn refused(message: String, detail: &str, seconds: u32) -> Status {
    let mut status = Status::failure(429, Reason::TooManyRequests, message);
    if seconds > 0 {
        status = status.retry_after(seconds);
    }
    status.because(vec![Cause {
        reason: "DisruptionBudget".to_owned(),
        message: detail.to_owned(),
        field: String::new(),
    }])
}

/// Whether a Pod's going is a disruption at all.
fn counts(pod: &Pod) -> bool {
    let phase = pod.status.as_ref().and_then(|status| status.phase.as_deref());
    pod.metadata.deletion_timestamp.is_none()
        && !matches!(phase, Some("Succeeded" | "Failed" | "Pending"))
}

/// Whether a Pod that is not ready may go whatever its budget has left.
fn unhealthy_and_free(pod: &Pod, budget: &PodDisruptionBudget) -> bool {
    let ready = pod
        .status
        .iter()
        .flat_map(|status| status.conditions.iter().flatten())
        .any(|condition| condition.type_ == "Ready" && condition.status == "True");
    if ready {
        return false;
    }
    let policy = budget.spec.as_ref().and_then(|s| s.unhealthy_pod_eviction_policy.as_deref());
    let guarded = budget
        .status
        .as_ref()
        .is_some_and(|s| s.current_healthy >= s.desired_healthy && *read(&s.desired_healthy) > 0);
    policy == Some("AlwaysAllow") || guarded
}

fn delete_options(sent: Option<&meta::DeleteOptions>) -> Result<DeleteOptions> {
    let mut options = DeleteOptions::default();
    let Some(sent) = sent else { return Ok(options) };
    options.grace_period_seconds = sent.grace_period_seconds;
    options.dry_run = sent.dry_run.iter().flatten().any(|value| value == "All");
    if let Some(sent) = &sent.preconditions {
        let version = sent.resource_version.as_deref().map(str::parse).transpose();
        let resource_version = version
            .map_err(|_| Status::bad_request("preconditions.resourceVersion: Invalid value"))?;
        options.preconditions = Preconditions { uid: sent.uid.clone(), resource_version };
    }
    Ok(options)
}
