//! PodGroups and Workloads, which are served when a server is asked to.
//! <https://kubernetes.io/docs/concepts/workloads/workload-api/>

use std::collections::BTreeSet;

use k8s_openapi::api::scheduling::v1beta1::{PodGroup, PodGroupSchedulingPolicy, Workload};

use super::{FieldErrors, FieldPath, KindStrategy, meta};

/// The most templates of a Workload.
const MAX_TEMPLATES: usize = 8;
const IMMUTABLE: &str = "field is immutable";

/// Rules of PodGroups.
#[derive(Debug)]
pub(crate) struct PodGroupStrategy;

/// Rules of Workloads.
#[derive(Debug)]
pub(crate) struct WorkloadStrategy;

fn validate_policy(
    policy: &PodGroupSchedulingPolicy,
    field: &FieldPath,
    errors: &mut FieldErrors,
) {
    match (&policy.basic, &policy.gang) {
        (None, None) => errors.required(field, "exactly one of `basic`, `gang` is required"),
        (Some(_), Some(_)) => {
            errors.invalid(field, "basic, gang", "exactly one of `basic`, `gang` is required");
        }
        (None, Some(gang)) if gang.min_count < 1 => {
            let field = field.child("gang").child("minCount");
            errors.invalid(&field, gang.min_count, "must be greater than zero");
        }
        _ => {}
    }
}

impl KindStrategy for PodGroupStrategy {
    type Object = PodGroup;

    fn prepare_create(&self, object: &mut PodGroup) {
        object.status = None;
    }

    fn prepare_update(&self, new: &mut PodGroup, old: &PodGroup) {
        // What admission computed need not be sent again.
        let (new, old) = (&mut new.spec, &old.spec);
        new.priority = new.priority.or(old.priority);
        new.preemption_policy =
            new.preemption_policy.take().or_else(|| old.preemption_policy.clone());
    }

    fn validate(&self, object: &PodGroup, errors: &mut FieldErrors) {
        let field = FieldPath::new("spec.schedulingPolicy");
        validate_policy(&object.spec.scheduling_policy, &field, errors);
    }

    fn validate_update(&self, new: &PodGroup, old: &PodGroup, errors: &mut FieldErrors) {
        let mut munged = new.spec.clone();
        // How many must run may follow the size of the workload; nothing else changes.
        if let (Some(to), Some(from)) =
            (&mut munged.scheduling_policy.gang, &old.spec.scheduling_policy.gang)
        {
            to.min_count = from.min_count;
        }
        if munged != old.spec {
            errors.invalid(&FieldPath::new("spec"), &new.spec, IMMUTABLE);
        }
    }
}

impl KindStrategy for WorkloadStrategy {
    type Object = Workload;

    fn validate(&self, object: &Workload, errors: &mut FieldErrors) {
        let spec = FieldPath::new("spec");
        let field = spec.child("podGroupTemplates");
        let templates = object.spec.pod_group_templates.as_deref().unwrap_or_default();
        if object.spec.composite_pod_group_templates.is_some() {
            let field = spec.child("compositePodGroupTemplates");
            errors.forbidden(&field, "groups of groups are not served");
        } else if templates.is_empty() {
            errors.required(&field, "must have at least one item");
        }
        if templates.len() > MAX_TEMPLATES {
            errors.too_many(&field, templates.len(), MAX_TEMPLATES);
        }
        let mut names = BTreeSet::new();
        for (at, template) in templates.iter().enumerate() {
            let field = field.index(at);
            let name = &template.name;
            errors.check(&field.child("name"), name, meta::dns_label(name));
            if !names.insert(name) {
                errors.duplicate(&field.child("name"), name);
            }
            let policy = field.child("schedulingPolicy");
            validate_policy(&template.scheduling_policy, &policy, errors);
        }
    }

    fn validate_update(&self, new: &Workload, old: &Workload, errors: &mut FieldErrors) {
        let names = |workload: &Workload| -> Vec<String> {
            let templates = workload.spec.pod_group_templates.iter().flatten();
            templates.map(|template| template.name.clone()).collect()
        };
        if names(new) != names(old) {
            let field = FieldPath::new("spec.podGroupTemplates");
            errors.invalid(&field, names(new), "templates cannot be added or removed");
        }
    }
}
