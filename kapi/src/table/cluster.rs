//! Nodes, namespaces, events, and what configures a cluster.

use std::collections::BTreeMap;

use jiff::Timestamp;
use k8s_openapi::api::coordination::v1::Lease;
use k8s_openapi::api::core::v1::{
    ComponentStatus, ConfigMap, Event, Namespace, Node, NodeStatus, ResourceQuota, Secret,
    ServiceAccount,
};
use k8s_openapi::api::flowcontrol::v1::{FlowSchema, PriorityLevelConfiguration};
use k8s_openapi::api::node::v1::RuntimeClass;
use k8s_openapi::api::policy::v1::PodDisruptionBudget;
use k8s_openapi::api::scheduling::v1::PriorityClass;
use k8s_openapi::apimachinery::pkg::api::resource::Quantity;
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;
use serde_json::Value;

use super::cell::{NONE, UNKNOWN, age_of, list_or_none, name_of, or_none, since};
use super::printer::{Column, Printer, age, cells, column, name, number, printer, text, wide};
use crate::versions::read;

pub(super) fn printer(group: &str, kind: &str) -> Option<&'static Printer> {
    Some(match (group, kind) {
        ("", "Node") => &NODE,
        ("", "Namespace") => &NAMESPACE,
        ("", "Event") => &EVENT,
        ("", "ComponentStatus") => &COMPONENT_STATUS,
        ("", "ConfigMap") => &CONFIG_MAP,
        ("", "Secret") => &SECRET,
        ("", "ServiceAccount") => &SERVICE_ACCOUNT,
        ("", "ResourceQuota") => &RESOURCE_QUOTA,
        ("coordination.k8s.io", "Lease") => &LEASE,
        ("policy", "PodDisruptionBudget") => &BUDGET,
        ("scheduling.k8s.io", "PriorityClass") => &PRIORITY_CLASS,
        ("node.k8s.io", "RuntimeClass") => &RUNTIME_CLASS,
        ("flowcontrol.apiserver.k8s.io", "FlowSchema") => &FLOW_SCHEMA,
        ("flowcontrol.apiserver.k8s.io", "PriorityLevelConfiguration") => &PRIORITY_LEVEL,
        _ => return None,
    })
}

static NODE: Printer = printer!(
    Node,
    node,
    [
        name(),
        text("Status", "Whether the node is ready, and whether it takes pods."),
        text("Roles", "The roles that its labels give it."),
        age(),
        text("Version", "The version of its agent."),
        wide("Internal-IP", "Its address within the cluster."),
        wide("External-IP", "Its address for the outside."),
        wide("OS-Image", "Its operating system."),
        wide("Kernel-Version", "The version of its kernel."),
        wide("Container-Runtime", "What runs its containers, and in which version."),
    ]
);

fn node(node: &Node, now: Timestamp) -> Vec<Value> {
    let no_status = NodeStatus::default();
    let status = node.status.as_ref().unwrap_or(&no_status);
    let info = status.node_info.as_ref();
    let or_unknown = |value: Option<&String>| match value {
        Some(value) if !value.is_empty() => value.clone(),
        _ => UNKNOWN.to_owned(),
    };
    cells![
        name_of(&node.metadata),
        node_state(node, status),
        roles(node),
        age_of(&node.metadata, now),
        info.map_or_else(String::new, |info| info.kubelet_version.clone()),
        address(status, "InternalIP"),
        address(status, "ExternalIP"),
        or_unknown(info.map(|info| &info.os_image)),
        or_unknown(info.map(|info| &info.kernel_version)),
        or_unknown(info.map(|info| &info.container_runtime_version)),
    ]
}

fn node_state(node: &Node, status: &NodeStatus) -> String {
    let mut conditions = status.conditions.iter().flatten();
    let mut words = vec![match conditions.find(|one| one.type_ == "Ready") {
        Some(ready) if ready.status == "True" => "Ready",
        Some(_) => "NotReady",
        None => "Unknown",
    }];
    if node.spec.as_ref().is_some_and(|spec| spec.unschedulable == Some(true)) {
        words.push("SchedulingDisabled");
    }
    words.join(",")
}

fn roles(node: &Node) -> String {
    let mut roles = std::collections::BTreeSet::new();
    for (label, value) in node.metadata.labels.iter().flatten() {
        match label.strip_prefix("node-role.kubernetes.io/") {
            Some(role) if !role.is_empty() => _ = roles.insert(role),
            _ if label == "kubernetes.io/role" && !value.is_empty() => _ = roles.insert(value),
            _ => {}
        }
    }
    list_or_none(roles)
}

fn address(status: &NodeStatus, kind: &str) -> String {
    let found = status.addresses.iter().flatten().find(|address| address.type_ == kind);
    or_none(found.map(|address| address.address.as_str()))
}

static NAMESPACE: Printer = printer!(
    Namespace,
    |object, now| {
        let phase = object.status.as_ref().and_then(|status| status.phase.clone());
        cells![name_of(&object.metadata), phase.unwrap_or_default(), age_of(&object.metadata, now)]
    },
    [name(), text("Status", "Whether it is in use, or on its way out."), age()]
);

static EVENT: Printer = printer!(
    Event,
    event,
    [
        text("Last Seen", "How long ago it last happened."),
        text("Type", "Normal, or a warning."),
        text("Reason", "Why it was reported, in a word."),
        text("Object", "What it is about."),
        wide("Subobject", "Which part of the object."),
        wide("Source", "Who reported it."),
        text("Message", "What happened."),
        wide("First Seen", "How long ago it first happened."),
        column("Count", "integer", 1, "How often it happened."),
        Column { priority: 1, ..name() },
    ]
);

fn event(event: &Event, now: Timestamp) -> Vec<Value> {
    let at = event.event_time.as_ref().map(|time| time.0);
    let first = event.first_timestamp.as_ref().map(|time| time.0).or(at);
    let mut last = event.last_timestamp.as_ref().map(|time| time.0).or(first);
    let mut count = event.count.filter(|count| *count > 0).unwrap_or(1);
    if let Some(series) = &event.series {
        last = series.last_observed_time.as_ref().map(|time| time.0).or(last);
        count = series.count.unwrap_or(count);
    }
    let about = &event.involved_object;
    let kind = about.kind.as_deref().unwrap_or_default().to_lowercase();
    let object = match about.name.as_deref() {
        Some(name) if !name.is_empty() => format!("{kind}/{name}"),
        _ => kind,
    };
    let source = event.source.as_ref();
    let component = source.and_then(|source| source.component.as_deref()).unwrap_or_default();
    let component = match component {
        "" => event.reporting_component.as_deref().unwrap_or_default(),
        component => component,
    };
    let host = source.and_then(|source| source.host.as_deref()).unwrap_or_default();
    let host = match host {
        "" => event.reporting_instance.as_deref().unwrap_or_default(),
        host => host,
    };
    let source =
        if host.is_empty() { component.to_owned() } else { format!("{component}, {host}") };
    cells![
        since(last, now),
        event.type_.clone().unwrap_or_default(),
        event.reason.clone().unwrap_or_default(),
        object,
        about.field_path.clone().unwrap_or_default(),
        source,
        event.message.as_deref().unwrap_or_default().trim(),
        since(first, now),
        count,
        name_of(&event.metadata),
    ]
}

static COMPONENT_STATUS: Printer = printer!(
    ComponentStatus,
    |object, _| {
        let mut all = object.conditions.iter().flatten();
        let healthy = all.find(|condition| condition.type_ == "Healthy");
        let status = match healthy.map(|condition| condition.status.as_str()) {
            Some("True") => "Healthy",
            Some("False") => "Unhealthy",
            _ => "Unknown",
        };
        let message = healthy.and_then(|condition| condition.message.clone());
        let error = healthy.and_then(|condition| condition.error.clone());
        cells![
            name_of(&object.metadata),
            status,
            message.unwrap_or_default(),
            error.unwrap_or_default(),
        ]
    },
    [
        name(),
        text("Status", "Whether the component is well."),
        text("Message", "What it says."),
        text("Error", "What is wrong with it."),
    ]
);

static CONFIG_MAP: Printer = printer!(
    ConfigMap,
    |object, now| {
        let count =
            object.data.iter().flatten().count() + object.binary_data.iter().flatten().count();
        cells![name_of(&object.metadata), count, age_of(&object.metadata, now)]
    },
    [name(), number("Data", "How many keys it has."), age()]
);

static SECRET: Printer = printer!(
    Secret,
    |object, now| {
        cells![
            name_of(&object.metadata),
            object.type_.clone().unwrap_or_default(),
            object.data.iter().flatten().count(),
            age_of(&object.metadata, now),
        ]
    },
    [name(), text("Type", "What it is for."), number("Data", "How many keys it has."), age()]
);

static SERVICE_ACCOUNT: Printer = printer!(
    ServiceAccount,
    |object, now| {
        let secrets = object.secrets.iter().flatten().count();
        cells![name_of(&object.metadata), secrets, age_of(&object.metadata, now)]
    },
    [name(), text("Secrets", "How many secrets it names."), age()]
);

static RESOURCE_QUOTA: Printer = printer!(
    ResourceQuota,
    |object, now| {
        let status = object.status.clone().unwrap_or_default();
        let (hard, used) = (status.hard.unwrap_or_default(), status.used.unwrap_or_default());
        cells![
            name_of(&object.metadata),
            quota(&hard, &used, false),
            quota(&hard, &used, true),
            age_of(&object.metadata, now),
        ]
    },
    [
        name(),
        text("Request", "What is used of what may be asked for."),
        text("Limit", "What is used of what limits may add up to."),
        age(),
    ]
);

fn quota(
    hard: &BTreeMap<String, Quantity>,
    used: &BTreeMap<String, Quantity>,
    limits: bool,
) -> String {
    let all = hard.iter().filter(|(resource, _)| resource.starts_with("limits.") == limits);
    let parts: Vec<String> = all
        .map(|(resource, hard)| {
            let used = used.get(resource).map_or("0", |used| used.0.as_str());
            format!("{resource}: {used}/{}", hard.0)
        })
        .collect();
    parts.join(", ")
}

static LEASE: Printer = printer!(
    Lease,
    |object, now| {
        let holder = object.spec.as_ref().and_then(|spec| spec.holder_identity.clone());
        cells![name_of(&object.metadata), holder.unwrap_or_default(), age_of(&object.metadata, now)]
    },
    [name(), text("Holder", "Who holds it."), age()]
);

static BUDGET: Printer = printer!(
    PodDisruptionBudget,
    |object, now| {
        let spec = object.spec.clone().unwrap_or_default();
        let allowed = object.status.as_ref().map(|status| *read(&status.disruptions_allowed));
        let text = |value: Option<IntOrString>| match value {
            None => "N/A".to_owned(),
            Some(IntOrString::Int(number)) => number.to_string(),
            Some(IntOrString::String(text)) => text,
        };
        cells![
            name_of(&object.metadata),
            text(spec.min_available),
            text(spec.max_unavailable),
            allowed.unwrap_or(0),
            age_of(&object.metadata, now),
        ]
    },
    [
        name(),
        text("Min Available", "How many pods must stay."),
        text("Max Unavailable", "How many pods may be gone."),
        number("Allowed Disruptions", "How many pods may be evicted now."),
        age(),
    ]
);

static PRIORITY_CLASS: Printer = printer!(
    PriorityClass,
    |object, now| {
        let preemption = object.preemption_policy.clone();
        cells![
            name_of(&object.metadata),
            *read(&object.value),
            object.global_default.unwrap_or(false),
            age_of(&object.metadata, now),
            preemption.unwrap_or_else(|| "PreemptLowerPriority".to_owned()),
        ]
    },
    [
        name(),
        number("Value", "The priority; a greater one goes first."),
        column("Global-Default", "boolean", 0, "Whether pods get it that name none."),
        age(),
        text("PreemptionPolicy", "Whether its pods may drive others out."),
    ]
);

static RUNTIME_CLASS: Printer = printer!(
    RuntimeClass,
    |object, now| {
        cells![name_of(&object.metadata), object.handler.clone(), age_of(&object.metadata, now),]
    },
    [name(), text("Handler", "What the container runtime calls it."), age()]
);

static FLOW_SCHEMA: Printer = printer!(
    FlowSchema,
    |object, now| {
        let spec = read(&object.spec);
        let method = spec.distinguisher_method.as_ref().map(|method| method.type_.as_str());
        let conditions = object.status.as_ref().and_then(|status| status.conditions.as_ref());
        let dangling = conditions
            .into_iter()
            .flatten()
            .find(|condition| *read(&condition.type_) == "Dangling");
        let missing = dangling.and_then(|condition| condition.status.clone());
        cells![
            name_of(&object.metadata),
            spec.priority_level_configuration.name.clone(),
            spec.matching_precedence.unwrap_or(0),
            or_none(method),
            age_of(&object.metadata, now),
            missing.unwrap_or_else(|| "?".to_owned()),
        ]
    },
    [
        name(),
        text("PriorityLevel", "The priority level of the requests it matches."),
        number("MatchingPrecedence", "The schema with the least goes first."),
        text("DistinguisherMethod", "What tells flows apart."),
        age(),
        text("MissingPL", "Whether the priority level is missing."),
    ]
);

static PRIORITY_LEVEL: Printer = printer!(
    PriorityLevelConfiguration,
    |object, now| {
        let spec = read(&object.spec);
        let queuing =
            spec.limited.as_ref().and_then(|limited| read(&limited.limit_response).queuing.clone());
        let shares = match (&spec.limited, &spec.exempt) {
            (Some(limited), _) => limited.nominal_concurrency_shares,
            (None, Some(exempt)) => exempt.nominal_concurrency_shares,
            _ => None,
        };
        let text =
            |value: Option<i32>| value.map_or_else(|| NONE.to_owned(), |number| number.to_string());
        cells![
            name_of(&object.metadata),
            spec.type_.clone(),
            text(shares),
            text(queuing.as_ref().and_then(|queuing| queuing.queues)),
            text(queuing.as_ref().and_then(|queuing| queuing.hand_size)),
            text(queuing.as_ref().and_then(|queuing| queuing.queue_length_limit)),
            age_of(&object.metadata, now),
        ]
    },
    [
        name(),
        text("Type", "Whether the level is limited."),
        text("NominalConcurrencyShares", "Its share of the server's seats."),
        text("Queues", "How many queues it has."),
        text("HandSize", "How many queues a flow may go to."),
        text("QueueLengthLimit", "How many requests wait in a queue at most."),
        age(),
    ]
);
