//! Namespaces, Nodes, Leases, Events and priorities.

use k8s_openapi::api::coordination::v1::Lease;
use k8s_openapi::api::core::v1::{Event, Namespace, NamespaceStatus, Node};
use k8s_openapi::api::policy::v1::PodDisruptionBudget;
use k8s_openapi::api::scheduling::v1::PriorityClass;
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;

use super::{FieldErrors, FieldPath, KindStrategy, meta};
use crate::registry::Subresource;

/// The finalizer that the namespace controller takes off last.
const KUBERNETES: &str = "kubernetes";
/// The label by which selectors find a namespace of a name.
const NAME_LABEL: &str = "kubernetes.io/metadata.name";
/// The highest priority users may give; above it is the system's.
const HIGHEST_USER_PRIORITY: i32 = 1_000_000_000;

/// Rules of Namespaces.
#[derive(Debug)]
pub(crate) struct NamespaceStrategy;

impl KindStrategy for NamespaceStrategy {
    type Object = Namespace;

    fn check_name(&self, name: &str) -> Result<(), String> {
        meta::dns_label(name)
    }

    fn apply_defaults(&self, object: &mut Namespace) {
        if let Some(name) = object.metadata.name.clone().filter(|name| !name.is_empty()) {
            let labels = object.metadata.labels.get_or_insert_default();
            labels.insert(NAME_LABEL.to_owned(), name);
        }
    }

    fn prepare_create(&self, object: &mut Namespace) {
        object.status = Some(NamespaceStatus {
            phase: Some("Active".to_owned()),
            ..NamespaceStatus::default()
        });
        let finalizers = object.spec.get_or_insert_default().finalizers.get_or_insert_default();
        if !finalizers.iter().any(|known| known == KUBERNETES) {
            finalizers.push(KUBERNETES.to_owned());
        }
    }

    fn prepare_update(&self, new: &mut Namespace, old: &Namespace) {
        new.spec.clone_from(&old.spec);
    }

    fn take_part(&self, part: Subresource, new: &mut Namespace, old: &Namespace) {
        if part == Subresource::Finalize {
            let finalizers = new.spec.take().and_then(|spec| spec.finalizers);
            *new = old.clone();
            new.spec.get_or_insert_default().finalizers =
                finalizers.filter(|list| !list.is_empty());
        }
    }

    fn holds_deletion(&self, object: &Namespace) -> bool {
        let finalizers = object.spec.as_ref().and_then(|spec| spec.finalizers.as_ref());
        finalizers.is_some_and(|list| !list.is_empty())
    }

    fn begin_deletion(&self, object: &mut Namespace) {
        object.status.get_or_insert_default().phase = Some("Terminating".to_owned());
    }

    fn selectable(&self) -> &'static [&'static str] {
        &["status.phase"]
    }

    fn fields(&self, object: &Namespace) -> Vec<(&'static str, String)> {
        let phase = object.status.as_ref().and_then(|status| status.phase.clone());
        phase.map(|phase| ("status.phase", phase)).into_iter().collect()
    }
}

/// Rules of Nodes. <https://kubernetes.io/docs/concepts/architecture/nodes/>
#[derive(Debug)]
pub(crate) struct NodeStrategy;

impl KindStrategy for NodeStrategy {
    type Object = Node;

    fn apply_defaults(&self, object: &mut Node) {
        if let Some(status) = &mut object.status
            && status.allocatable.is_none()
        {
            status.allocatable.clone_from(&status.capacity);
        }
    }

    fn validate(&self, object: &Node, errors: &mut FieldErrors) {
        let field = FieldPath::new("spec.taints");
        let mut seen = Vec::new();
        let taints = object.spec.iter().flat_map(|spec| spec.taints.iter().flatten());
        for (at, taint) in taints.enumerate() {
            let field = field.index(at);
            errors.check(&field.child("key"), &taint.key, meta::qualified_name(&taint.key));
            if let Some(value) = &taint.value {
                errors.check(&field.child("value"), value, meta::label_value(value));
            }
            let effects = ["NoSchedule", "PreferNoSchedule", "NoExecute"];
            if !effects.contains(&taint.effect.as_str()) {
                errors.not_supported(&field.child("effect"), &taint.effect, &effects);
            }
            if seen.contains(&(&taint.key, &taint.effect)) {
                errors.duplicate(&field, taint);
            }
            seen.push((&taint.key, &taint.effect));
        }
    }

    fn validate_update(&self, new: &Node, old: &Node, errors: &mut FieldErrors) {
        let of = |node: &Node| {
            let spec = node.spec.as_ref();
            (
                spec.and_then(|spec| spec.provider_id.clone()).filter(|id| !id.is_empty()),
                spec.and_then(|spec| spec.pod_cidr.clone()).filter(|cidr| !cidr.is_empty()),
            )
        };
        let ((new_id, new_cidr), (old_id, old_cidr)) = (of(new), of(old));
        if old_id.is_some() && new_id != old_id {
            errors.forbidden(
                &FieldPath::new("spec.providerID"),
                "node updates may not change providerID except from \"\" to valid",
            );
        }
        if old_cidr.is_some() && new_cidr != old_cidr {
            errors.forbidden(
                &FieldPath::new("spec.podCIDRs"),
                "node updates may not change podCIDR except from \"\" to valid",
            );
        }
    }

    fn keeps_status_on_create(&self) -> bool {
        true
    }

    fn selectable(&self) -> &'static [&'static str] {
        &["spec.unschedulable"]
    }

    fn fields(&self, object: &Node) -> Vec<(&'static str, String)> {
        let cordoned = object.spec.as_ref().and_then(|spec| spec.unschedulable).unwrap_or(false);
        vec![("spec.unschedulable", cordoned.to_string())]
    }
}

/// Rules of Leases. <https://kubernetes.io/docs/concepts/architecture/leases/>
#[derive(Debug)]
pub(crate) struct LeaseStrategy;

impl KindStrategy for LeaseStrategy {
    type Object = Lease;

    fn create_on_update(&self) -> bool {
        true
    }

    fn unconditional_update(&self) -> bool {
        false
    }

    fn validate(&self, object: &Lease, errors: &mut FieldErrors) {
        let field = FieldPath::new("spec");
        let spec = object.spec.as_ref();
        let above_zero = "must be greater than 0";
        if let Some(seconds) = spec.and_then(|spec| spec.lease_duration_seconds)
            && seconds <= 0
        {
            errors.invalid(&field.child("leaseDurationSeconds"), seconds, above_zero);
        }
        if let Some(count) = spec.and_then(|spec| spec.lease_transitions)
            && count < 0
        {
            let detail = "must be greater than or equal to 0";
            errors.invalid(&field.child("leaseTransitions"), count, detail);
        }
    }
}

/// Rules of Events.
#[derive(Debug)]
pub(crate) struct CoreEventStrategy;

impl KindStrategy for CoreEventStrategy {
    type Object = Event;

    fn create_on_update(&self) -> bool {
        true
    }

    fn validate(&self, object: &Event, errors: &mut FieldErrors) {
        let involved = object.involved_object.namespace.as_deref().unwrap_or_default();
        let own = object.metadata.namespace.as_deref().unwrap_or_default();
        let fits = if involved.is_empty() {
            own == "default" || own == "kube-system"
        } else {
            own == involved
        };
        if !fits {
            errors.invalid(
                &FieldPath::new("involvedObject.namespace"),
                involved,
                "does not match event.namespace",
            );
        }
    }

    fn selectable(&self) -> &'static [&'static str] {
        &[
            "involvedObject.kind",
            "involvedObject.namespace",
            "involvedObject.name",
            "involvedObject.uid",
            "involvedObject.apiVersion",
            "involvedObject.resourceVersion",
            "involvedObject.fieldPath",
            "reason",
            "reportingComponent",
            "source",
            "type",
        ]
    }

    fn indexed(&self) -> &'static [&'static str] {
        &["involvedObject.uid", "involvedObject.name"]
    }

    fn fields(&self, object: &Event) -> Vec<(&'static str, String)> {
        let involved = &object.involved_object;
        let component = object.source.as_ref().and_then(|source| source.component.as_ref());
        [
            ("involvedObject.kind", involved.kind.as_ref()),
            ("involvedObject.namespace", involved.namespace.as_ref()),
            ("involvedObject.name", involved.name.as_ref()),
            ("involvedObject.uid", involved.uid.as_ref()),
            ("involvedObject.apiVersion", involved.api_version.as_ref()),
            ("involvedObject.resourceVersion", involved.resource_version.as_ref()),
            ("involvedObject.fieldPath", involved.field_path.as_ref()),
            ("reason", object.reason.as_ref()),
            ("reportingComponent", object.reporting_component.as_ref()),
            ("source", component.or(object.reporting_component.as_ref())),
            ("type", object.type_.as_ref()),
        ]
        .into_iter()
        .filter_map(|(path, value)| Some((path, value.filter(|value| !value.is_empty())?.clone())))
        .collect()
    }
}

/// Rules of PriorityClasses.
#[derive(Debug)]
pub(crate) struct PriorityClassStrategy;

impl KindStrategy for PriorityClassStrategy {
    type Object = PriorityClass;

    fn apply_defaults(&self, object: &mut PriorityClass) {
        if object.preemption_policy.as_deref().unwrap_or_default().is_empty() {
            object.preemption_policy = Some("PreemptLowerPriority".to_owned());
        }
    }

    fn validate(&self, object: &PriorityClass, errors: &mut FieldErrors) {
        let value: i32 = super::optional(object.value).unwrap_or_default();
        let name = object.metadata.name.as_deref().unwrap_or_default();
        let system = name.starts_with("system-");
        let known =
            [("system-cluster-critical", 2_000_000_000), ("system-node-critical", 2_000_001_000)];
        if system && !known.contains(&(name, value)) {
            errors.forbidden(
                &FieldPath::new("metadata.name"),
                "priority class names with 'system-' prefix are reserved for system use only. \
                 error: the name is not one of the system's",
            );
        }
        if !system && value > HIGHEST_USER_PRIORITY {
            errors.forbidden(
                &FieldPath::new("value"),
                format!(
                    "maximum allowed value of a user defined priority is {HIGHEST_USER_PRIORITY}"
                ),
            );
        }
        let policies = ["PreemptLowerPriority", "Never"];
        let policy = object.preemption_policy.as_deref().unwrap_or_default();
        if !policies.contains(&policy) {
            errors.not_supported(&FieldPath::new("preemptionPolicy"), policy, &policies);
        }
    }

    fn validate_update(&self, new: &PriorityClass, old: &PriorityClass, errors: &mut FieldErrors) {
        if new.value != old.value {
            errors.forbidden(&FieldPath::new("value"), "may not be changed in an update.");
        }
        if new.preemption_policy != old.preemption_policy {
            errors.invalid(
                &FieldPath::new("preemptionPolicy"),
                &new.preemption_policy,
                "field is immutable",
            );
        }
    }
}

/// Rules of PodDisruptionBudgets.
/// <https://kubernetes.io/docs/tasks/run-application/configure-pdb/>
#[derive(Debug)]
pub(crate) struct PodDisruptionBudgetStrategy;

impl KindStrategy for PodDisruptionBudgetStrategy {
    type Object = PodDisruptionBudget;

    fn validate(&self, object: &PodDisruptionBudget, errors: &mut FieldErrors) {
        let Some(spec) = &object.spec else { return };
        let field = FieldPath::new("spec");
        if spec.min_available.is_some() && spec.max_unavailable.is_some() {
            errors.invalid(&field, spec, "minAvailable and maxUnavailable cannot be both set");
        }
        for (name, value) in
            [("minAvailable", &spec.min_available), ("maxUnavailable", &spec.max_unavailable)]
        {
            if let Some(value) = value {
                validate_share(&field.child(name), value, errors);
            }
        }
        let policies = ["AlwaysAllow", "IfHealthyBudget"];
        if let Some(policy) = spec.unhealthy_pod_eviction_policy.as_deref()
            && !policies.contains(&policy)
        {
            errors.not_supported(&field.child("unhealthyPodEvictionPolicy"), policy, &policies);
        }
        super::selector::validate(spec.selector.as_ref(), &field.child("selector"), errors);
    }
}

/// A count that is not negative, or a percentage up to 100.
pub(super) fn validate_share(field: &FieldPath, value: &IntOrString, errors: &mut FieldErrors) {
    match value {
        IntOrString::Int(number) if *number < 0 => {
            errors.invalid(field, number, "must be greater than or equal to 0");
        }
        IntOrString::Int(_) => {}
        IntOrString::String(text) => match percent(text) {
            None => errors.invalid(
                field,
                text,
                "a valid percent string must be a numeric string followed by an ending '%' (e.g. \
                 '1%',  or '93%', regex used for validation is '[0-9]+%')",
            ),
            Some(percent) if percent > 100 => {
                errors.invalid(field, text, "must not be greater than 100%");
            }
            Some(_) => {}
        },
    }
}

/// The number of a percentage.
pub(super) fn percent(text: &str) -> Option<u32> {
    let digits = text.strip_suffix('%')?;
    let plain = !digits.is_empty() && digits.bytes().all(|b| b.is_ascii_digit());
    digits.parse().ok().filter(|_| plain)
}
