//! Pods. <https://kubernetes.io/docs/concepts/workloads/pods/>

mod defaults;
mod update;
mod validate;

use k8s_openapi::api::core::v1::{Container, Pod, PodCondition, PodStatus, ResourceRequirements};

use super::{FieldErrors, FieldPath, KindStrategy};
use crate::registry::Subresource;

pub(super) use defaults::default_template;
pub(super) use validate::validate_template;

/// Rules of Pods.
#[derive(Debug)]
pub(crate) struct PodStrategy;

impl KindStrategy for PodStrategy {
    type Object = Pod;

    fn apply_defaults(&self, object: &mut Pod) {
        defaults::default_pod(object);
    }

    fn prepare_create(&self, object: &mut Pod) {
        object.status = Some(PodStatus {
            phase: Some("Pending".to_owned()),
            qos_class: Some(qos_class(object).to_owned()),
            conditions: scheduling_gated(object),
            ..PodStatus::default()
        });
    }

    fn prepare_status(&self, new: &mut Pod, old: &Pod) {
        let status = new.status.get_or_insert_default();
        if status.qos_class.is_none() {
            status.qos_class = old.status.as_ref().and_then(|old| old.qos_class.clone());
        }
    }

    fn take_part(&self, part: Subresource, new: &mut Pod, old: &Pod) {
        update::take_part(part, new, old);
    }

    fn validate(&self, object: &Pod, errors: &mut FieldErrors) {
        let field = FieldPath::new("spec");
        match &object.spec {
            Some(spec) => validate::validate_spec(spec, &field, errors),
            None => errors.required(&field.child("containers"), ""),
        }
    }

    fn validate_update(&self, new: &Pod, old: &Pod, errors: &mut FieldErrors) {
        update::validate_update(new, old, errors);
    }

    fn selectable(&self) -> &'static [&'static str] {
        &[
            "spec.nodeName",
            "spec.restartPolicy",
            "spec.schedulerName",
            "spec.serviceAccountName",
            "spec.hostNetwork",
            "status.phase",
            "status.podIP",
            "status.nominatedNodeName",
        ]
    }

    fn indexed(&self) -> &'static [&'static str] {
        &["spec.nodeName"]
    }

    fn fields(&self, object: &Pod) -> Vec<(&'static str, String)> {
        let spec = object.spec.as_ref();
        let status = object.status.as_ref();
        let host_network = spec.and_then(|spec| spec.host_network).unwrap_or(false);
        let mut fields = vec![("spec.hostNetwork", host_network.to_string())];
        fields.extend(
            [
                ("spec.nodeName", spec.and_then(|s| s.node_name.as_ref())),
                ("spec.restartPolicy", spec.and_then(|s| s.restart_policy.as_ref())),
                ("spec.schedulerName", spec.and_then(|s| s.scheduler_name.as_ref())),
                ("spec.serviceAccountName", spec.and_then(|s| s.service_account_name.as_ref())),
                ("status.phase", status.and_then(|s| s.phase.as_ref())),
                ("status.podIP", status.and_then(|s| s.pod_ip.as_ref())),
                ("status.nominatedNodeName", status.and_then(|s| s.nominated_node_name.as_ref())),
            ]
            .into_iter()
            .filter_map(|(path, value)| {
                Some((path, value.filter(|value| !value.is_empty())?.clone()))
            }),
        );
        fields
    }

    fn grace_period(&self, object: &Pod, asked: Option<i64>) -> Option<i64> {
        let spec = object.spec.as_ref();
        let phase = object.status.as_ref().and_then(|status| status.phase.as_deref());
        let bound = spec.and_then(|spec| spec.node_name.as_deref()).is_some_and(|n| !n.is_empty());
        // No agent has to be waited for (D6).
        if !bound || matches!(phase, Some("Succeeded" | "Failed")) {
            return Some(0);
        }
        let own = spec.and_then(|spec| spec.termination_grace_period_seconds).unwrap_or(30);
        match asked {
            // A negative period counts as the shortest one.
            Some(seconds) if seconds < 0 => Some(1),
            Some(seconds) => Some(seconds),
            None => Some(if own < 0 { 1 } else { own }),
        }
    }

    fn returns_deleted(&self) -> bool {
        true
    }
}

fn resources(container: &Container) -> Option<&ResourceRequirements> {
    container.resources.as_ref()
}

/// That a pod waits for its gates, where it has some: the scheduler does not look at it.
/// <https://kubernetes.io/docs/concepts/scheduling-eviction/pod-scheduling-readiness/>
fn scheduling_gated(pod: &Pod) -> Option<Vec<PodCondition>> {
    let gates = pod.spec.as_ref().and_then(|spec| spec.scheduling_gates.as_ref());
    gates.filter(|gates| !gates.is_empty()).map(|_| {
        vec![PodCondition {
            type_: "PodScheduled".to_owned(),
            status: "False".to_owned(),
            reason: Some("SchedulingGated".to_owned()),
            message: Some("Scheduling is blocked due to non-empty scheduling gates".to_owned()),
            ..PodCondition::default()
        }]
    })
}

/// The quality of service that requests and limits add up to.
/// <https://kubernetes.io/docs/concepts/workloads/pods/pod-qos/>
fn qos_class(pod: &Pod) -> &'static str {
    let Some(spec) = &pod.spec else { return "BestEffort" };
    let all = || spec.containers.iter().chain(spec.init_containers.iter().flatten());
    let counted = ["cpu", "memory"];
    let some = all().filter_map(resources).any(|resources| {
        [&resources.requests, &resources.limits]
            .into_iter()
            .flatten()
            .any(|list| list.keys().any(|name| counted.contains(&name.as_str())))
    });
    if !some {
        return "BestEffort";
    }
    let guaranteed = all().all(|container| {
        let Some(resources) = resources(container) else { return false };
        counted.iter().all(|name| {
            let limit = resources.limits.as_ref().and_then(|list| list.get(*name));
            let request = resources.requests.as_ref().and_then(|list| list.get(*name)).or(limit);
            limit.is_some() && request == limit
        })
    });
    if guaranteed { "Guaranteed" } else { "Burstable" }
}

#[cfg(test)]
mod tests;
