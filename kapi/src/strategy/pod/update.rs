//! What of a Pod may change once it exists.
//! <https://kubernetes.io/docs/concepts/workloads/pods/#pod-update-and-replacement>

use k8s_openapi::api::core::v1::{Container, Pod, PodSpec, Toleration};

use super::super::{FieldErrors, FieldPath};
use crate::registry::Subresource;

const ALLOWED: &str = "pod updates may not change fields other than \
     `spec.containers[*].image`,`spec.initContainers[*].image`,`spec.activeDeadlineSeconds`,\
     `spec.tolerations` (only additions to existing tolerations),\
     `spec.terminationGracePeriodSeconds` (allow it to be set to 1 if it was previously negative)";

/// Keeps everything but the part that a subresource writes.
pub(super) fn take_part(part: Subresource, new: &mut Pod, old: &Pod) {
    let mut next = old.clone();
    let (Some(sent), Some(kept)) = (new.spec.take(), next.spec.as_mut()) else { return };
    match part {
        Subresource::EphemeralContainers => kept.ephemeral_containers = sent.ephemeral_containers,
        Subresource::Resize => {
            let resize = |kept: &mut Vec<Container>, sent: Vec<Container>| {
                for container in sent {
                    if let Some(own) = kept.iter_mut().find(|own| own.name == container.name) {
                        own.resources = container.resources;
                        own.resize_policy = container.resize_policy;
                    }
                }
            };
            resize(&mut kept.containers, sent.containers);
            if let (Some(kept), Some(sent)) = (&mut kept.init_containers, sent.init_containers) {
                resize(kept, sent);
            }
        }
        _ => {
            new.spec = Some(sent);
            return;
        }
    }
    *new = next;
}

pub(super) fn validate_update(new: &Pod, old: &Pod, errors: &mut FieldErrors) {
    let (Some(new), Some(old)) = (&new.spec, &old.spec) else { return };
    let field = FieldPath::new("spec");
    if new.containers.len() != old.containers.len() {
        errors
            .forbidden(&field.child("containers"), "pod updates may not add or remove containers");
        return;
    }
    check_deadline(new, old, &field, errors);
    check_tolerations(new, old, &field, errors);
    check_gates(new, old, &field, errors);
    // What may change is made equal; whatever differs then may not.
    let mut munged = new.clone();
    copy_images(&mut munged.containers, &old.containers);
    if let (Some(new), Some(old)) = (&mut munged.init_containers, &old.init_containers) {
        copy_images(new, old);
    }
    munged.active_deadline_seconds = old.active_deadline_seconds;
    munged.tolerations.clone_from(&old.tolerations);
    munged.scheduling_gates.clone_from(&old.scheduling_gates);
    if old.scheduling_gates.as_ref().is_some_and(|gates| !gates.is_empty()) {
        // A Pod that nobody schedules yet may be told where to go.
        munged.node_selector.clone_from(&old.node_selector);
        munged.affinity.clone_from(&old.affinity);
    }
    let (grace, before) =
        (new.termination_grace_period_seconds, old.termination_grace_period_seconds);
    if before.is_some_and(|before| before < 0) && grace == Some(1) {
        munged.termination_grace_period_seconds = before;
    }
    if munged != *old {
        errors.forbidden(&field, ALLOWED);
    }
}

fn copy_images(new: &mut [Container], old: &[Container]) {
    for (new, old) in new.iter_mut().zip(old) {
        new.image.clone_from(&old.image);
    }
}

fn check_deadline(new: &PodSpec, old: &PodSpec, field: &FieldPath, errors: &mut FieldErrors) {
    let field = field.child("activeDeadlineSeconds");
    match (new.active_deadline_seconds, old.active_deadline_seconds) {
        (Some(new), Some(old)) if new > old => {
            let detail = "must be less than or equal to previous value";
            errors.invalid(&field, new, detail);
        }
        (None, Some(_)) => {
            errors.invalid(
                &field,
                None::<i64>,
                "must not update from a positive integer to nil value",
            );
        }
        _ => {}
    }
}

fn check_tolerations(new: &PodSpec, old: &PodSpec, field: &FieldPath, errors: &mut FieldErrors) {
    let new = new.tolerations.as_deref().unwrap_or_default();
    // The seconds of a toleration may change, the rest of it not.
    let timeless = |one: &Toleration| Toleration { toleration_seconds: None, ..one.clone() };
    let kept = old
        .tolerations
        .iter()
        .flatten()
        .all(|before| new.iter().any(|now| timeless(now) == timeless(before)));
    if !kept {
        errors.forbidden(
            &field.child("tolerations"),
            "existing toleration can not be modified except its tolerationSeconds",
        );
    }
}

fn check_gates(new: &PodSpec, old: &PodSpec, field: &FieldPath, errors: &mut FieldErrors) {
    let before = old.scheduling_gates.as_deref().unwrap_or_default();
    for gate in new.scheduling_gates.iter().flatten() {
        if !before.contains(gate) {
            let field = field.child("schedulingGates");
            errors.forbidden(&field, "only deletion is allowed, but found new scheduling gate");
        }
    }
}
