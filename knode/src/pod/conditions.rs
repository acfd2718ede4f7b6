//! The conditions that the node's agent keeps of a pod, in upstream's words.
//! <https://kubernetes.io/docs/concepts/workloads/pods/pod-lifecycle/#pod-conditions>

use jiff::Timestamp;
use k8s_openapi::api::core::v1::{ContainerStatus, Pod, PodCondition, PodSpec};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

use super::{Role, init_members, is_terminal, main_members};

const READY_TO_START: &str = "PodReadyToStartContainers";
const INITIALIZED: &str = "Initialized";
const READY: &str = "Ready";
const CONTAINERS_READY: &str = "ContainersReady";
const SCHEDULED: &str = "PodScheduled";

/// Whether the agent keeps conditions of that type.
pub(super) fn is_ours(kind: &str) -> bool {
    [READY_TO_START, INITIALIZED, READY, CONTAINERS_READY, SCHEDULED].contains(&kind)
}

/// What the conditions are made from.
pub(super) struct Facts<'a> {
    pub(super) pod: &'a Pod,
    pub(super) spec: &'a PodSpec,
    pub(super) before: &'a [PodCondition],
    pub(super) phase: &'a str,
    pub(super) init: &'a [ContainerStatus],
    pub(super) main: &'a [ContainerStatus],
    pub(super) has_sandbox: bool,
    pub(super) now: Timestamp,
}

/// A condition's status, reason and message.
type Verdict = (bool, &'static str, String);

/// The conditions of the pod: those that others keep as they are, ours anew. A condition that
/// stays the same keeps the time of its last change.
pub(super) fn compute_conditions(facts: &Facts<'_>) -> Vec<PodCondition> {
    let api: &[PodCondition] =
        facts.pod.status.as_ref().and_then(|status| status.conditions.as_deref()).unwrap_or(&[]);
    let containers_ready = containers_ready(facts);
    let ours = [
        (READY_TO_START, (facts.has_sandbox, "", String::new())),
        (INITIALIZED, initialized(facts)),
        (READY, ready(facts, &containers_ready, api)),
        (CONTAINERS_READY, containers_ready),
        (SCHEDULED, (true, "", String::new())),
    ];
    let mut conditions: Vec<PodCondition> =
        ours.into_iter().map(|(kind, verdict)| condition(facts, kind, verdict)).collect();
    let others = api.iter().filter(|old| conditions.iter().all(|new| new.type_ != old.type_));
    let others: Vec<PodCondition> = others.cloned().collect();
    conditions.extend(others);
    conditions
}

fn condition(facts: &Facts<'_>, kind: &str, (holds, reason, message): Verdict) -> PodCondition {
    let status = if holds { "True" } else { "False" };
    let old = facts.before.iter().find(|old| old.type_ == kind && old.status == status);
    let changed = old.and_then(|old| old.last_transition_time.clone());
    PodCondition {
        type_: kind.to_owned(),
        status: status.to_owned(),
        reason: (!reason.is_empty()).then(|| reason.to_owned()),
        message: (!message.is_empty()).then_some(message),
        last_transition_time: changed.or(Some(Time(facts.now))),
        last_probe_time: None,
        observed_generation: facts.pod.metadata.generation,
    }
}

/// `[a b]`, as Go prints a list.
fn listed(names: &[&str]) -> String {
    format!("[{}]", names.join(" "))
}

fn status_of<'a>(statuses: &'a [ContainerStatus], name: &str) -> Option<&'a ContainerStatus> {
    statuses.iter().find(|status| status.name == name)
}

fn initialized(facts: &Facts<'_>) -> Verdict {
    let main_started = facts.main.iter().any(has_run);
    if facts.phase == "Succeeded" {
        return (true, "PodCompleted", String::new());
    }
    if main_started {
        return (true, "", String::new());
    }
    let incomplete: Vec<&str> = facts
        .spec
        .init_containers
        .iter()
        .flatten()
        .zip(init_members(facts.spec))
        .filter(|(container, member)| {
            let status = status_of(facts.init, &container.name);
            !status.is_some_and(|status| match member.role {
                Role::Sidecar => status.started == Some(true),
                _ => status.ready,
            })
        })
        .map(|(container, _)| container.name.as_str())
        .collect();
    if incomplete.is_empty() {
        return (true, "", String::new());
    }
    let message = format!("containers with incomplete status: {}", listed(&incomplete));
    (false, "ContainersNotInitialized", message)
}

/// Whether a container runs or has run.
fn has_run(status: &ContainerStatus) -> bool {
    let state = status.state.as_ref();
    state.is_some_and(|state| state.running.is_some() || state.terminated.is_some())
        || status.last_state.as_ref().is_some_and(|state| state.terminated.is_some())
}

fn containers_ready(facts: &Facts<'_>) -> Verdict {
    let (mut unknown, mut unready) = (Vec::new(), Vec::new());
    let sidecars = init_members(facts.spec).filter(|member| member.role == Role::Sidecar);
    let sidecars: Vec<_> = sidecars.map(|member| (member, facts.init)).collect();
    let mains = main_members(facts.spec).map(|member| (member, facts.main));
    let all: Vec<_> = sidecars.into_iter().chain(mains).collect();
    for (member, statuses) in &all {
        // The names live as long as the specification.
        let name = member.name();
        match status_of(statuses, name) {
            None => unknown.push(name),
            Some(status) if !status.ready => unready.push(name),
            Some(_) => {}
        }
    }
    if facts.phase == "Succeeded" {
        return (false, "PodCompleted", String::new());
    }
    if is_terminal(facts.phase) {
        return (false, "PodFailed", String::new());
    }
    let mut messages = Vec::new();
    if !unknown.is_empty() {
        messages.push(format!("containers with unknown status: {}", listed(&unknown)));
    }
    if !unready.is_empty() {
        messages.push(format!("containers with unready status: {}", listed(&unready)));
    }
    if messages.is_empty() {
        return (true, "", String::new());
    }
    (false, "ContainersNotReady", messages.join(", "))
}

fn ready(facts: &Facts<'_>, containers: &Verdict, api: &[PodCondition]) -> Verdict {
    if !containers.0 {
        return containers.clone();
    }
    let gates = facts.spec.readiness_gates.as_deref().unwrap_or_default();
    let mut messages = Vec::new();
    for gate in gates {
        let kind = &gate.condition_type;
        match api.iter().find(|condition| condition.type_ == *kind) {
            None => messages.push(format!(
                "corresponding condition of pod readiness gate {kind:?} does not exist."
            )),
            Some(condition) if condition.status != "True" => messages.push(format!(
                "the status of pod readiness gate {kind:?} is not \"True\", but {}",
                condition.status
            )),
            Some(_) => {}
        }
    }
    if messages.is_empty() {
        return (true, "", String::new());
    }
    (false, "ReadinessGatesNotReady", messages.join(", "))
}
