//! How a Pod is summed up in one line.

use jiff::Timestamp;
use k8s_openapi::api::core::v1::{Container, ContainerStatus, Pod, PodSpec, PodStatus};
use serde_json::Value;

use super::cell::{NONE, age_of, name_of, or_none, since};
use super::printer::{Printer, age, cells, name, printer, text, wide};

pub(super) static POD: Printer = printer!(
    Pod,
    pod,
    [
        name(),
        text("Ready", "How many containers are ready, of how many."),
        text("Status", "The state that the pod's phase and its containers' states add up to."),
        text("Restarts", "How often containers were restarted, and when last."),
        age(),
        wide("IP", "The pod's address."),
        wide("Node", "The node it runs on."),
        wide("Nominated Node", "The node that room is made on for it."),
        wide("Readiness Gates", "How many of its readiness gates have opened, of how many."),
    ]
);

/// What the containers of a pod add up to.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Summary {
    pub(super) reason: String,
    pub(super) ready: usize,
    pub(super) total: usize,
    pub(super) restarts: i32,
    /// When a container last ended that was restarted.
    pub(super) last_restart: Option<Timestamp>,
}

fn pod(pod: &Pod, now: Timestamp) -> Vec<Value> {
    let (no_spec, no_status) = (PodSpec::default(), PodStatus::default());
    let spec = pod.spec.as_ref().unwrap_or(&no_spec);
    let status = pod.status.as_ref().unwrap_or(&no_status);
    let sum = summarize(pod, spec, status);
    let restarts = match sum.last_restart {
        Some(last) if sum.restarts != 0 => {
            format!("{} ({} ago)", sum.restarts, since(Some(last), now))
        }
        _ => sum.restarts.to_string(),
    };
    let address = status.pod_ips.iter().flatten().next().map(|ip| ip.ip.as_str());
    cells![
        name_of(&pod.metadata),
        format!("{}/{}", sum.ready, sum.total),
        sum.reason,
        restarts,
        age_of(&pod.metadata, now),
        or_none(address.or(status.pod_ip.as_deref())),
        or_none(spec.node_name.as_deref()),
        or_none(status.nominated_node_name.as_deref()),
        gates(spec, status),
    ]
}

fn gates(spec: &PodSpec, status: &PodStatus) -> String {
    let gates = spec.readiness_gates.as_deref().unwrap_or_default();
    if gates.is_empty() {
        return NONE.to_owned();
    }
    let open = gates.iter().filter(|gate| is_true(status, &gate.condition_type)).count();
    format!("{open}/{}", gates.len())
}

fn is_true(status: &PodStatus, condition: &str) -> bool {
    let mut conditions = status.conditions.iter().flatten();
    conditions.any(|one| one.type_ == condition && one.status == "True")
}

/// Sums up a pod.
pub(super) fn summarize(pod: &Pod, spec: &PodSpec, status: &PodStatus) -> Summary {
    let inits = spec.init_containers.as_deref().unwrap_or_default();
    let sidecars = inits.iter().filter(|container| is_sidecar(container)).count();
    let mut sum = Summary { total: spec.containers.len() + sidecars, ..Summary::default() };
    let own_reason = status.reason.as_deref().filter(|reason| !reason.is_empty());
    sum.reason = own_reason.or(status.phase.as_deref()).unwrap_or_default().to_owned();
    let gated =
        status.conditions.iter().flatten().any(|one| {
            one.type_ == "PodScheduled" && one.reason.as_deref() == Some("SchedulingGated")
        });
    if gated {
        "SchedulingGated".clone_into(&mut sum.reason);
    }
    let initializing = initialize(&mut sum, inits, status);
    if !initializing || is_true(status, "Initialized") {
        run(&mut sum, inits, status);
    }
    if pod.metadata.deletion_timestamp.is_some() {
        let ended = matches!(status.phase.as_deref(), Some("Succeeded" | "Failed"));
        if own_reason == Some("NodeLost") {
            "Unknown".clone_into(&mut sum.reason);
        } else if !ended {
            "Terminating".clone_into(&mut sum.reason);
        }
    }
    sum
}

fn is_sidecar(container: &Container) -> bool {
    container.restart_policy.as_deref() == Some("Always")
}

fn sidecar_of(inits: &[Container], status: &ContainerStatus) -> bool {
    inits.iter().any(|container| container.name == status.name && is_sidecar(container))
}

fn waiting_for(status: &ContainerStatus) -> Option<&str> {
    let waiting = status.state.as_ref()?.waiting.as_ref()?;
    waiting.reason.as_deref().filter(|reason| !reason.is_empty())
}

fn count_restarts(sum: &mut Summary, status: &ContainerStatus) {
    sum.restarts = sum.restarts.saturating_add(status.restart_count);
    let last = status.last_state.as_ref().and_then(|state| state.terminated.as_ref());
    let ended = last.and_then(|ended| ended.finished_at.as_ref()).map(|time| time.0);
    sum.last_restart = sum.last_restart.max(ended);
}

/// Why a container ended, without a reason of its own by signal or exit code.
fn ended(prefix: &str, status: &ContainerStatus) -> Option<String> {
    let ended = status.state.as_ref()?.terminated.as_ref()?;
    Some(match (ended.reason.as_deref(), ended.signal) {
        (Some(reason), _) if !reason.is_empty() => format!("{prefix}{reason}"),
        (_, Some(signal)) if signal != 0 => format!("{prefix}Signal:{signal}"),
        _ => format!("{prefix}ExitCode:{}", ended.exit_code),
    })
}

/// Whether the init containers are still at it; the first that is tells the reason.
fn initialize(sum: &mut Summary, inits: &[Container], status: &PodStatus) -> bool {
    for (at, init) in status.init_container_statuses.iter().flatten().enumerate() {
        count_restarts(sum, init);
        let end = init.state.as_ref().and_then(|state| state.terminated.as_ref());
        if end.is_some_and(|end| end.exit_code == 0) {
            continue;
        }
        if sidecar_of(inits, init) && init.started == Some(true) {
            sum.ready += usize::from(init.ready);
            continue;
        }
        sum.reason = match (ended("Init:", init), waiting_for(init)) {
            (Some(reason), _) => reason,
            (None, Some(reason)) if reason != "PodInitializing" => format!("Init:{reason}"),
            _ => format!("Init:{at}/{}", inits.len()),
        };
        return true;
    }
    false
}

/// Adds up the containers of a pod that is initialized.
fn run(sum: &mut Summary, inits: &[Container], status: &PodStatus) {
    // From here on only those init containers count that run beside the others.
    (sum.restarts, sum.last_restart) = (0, None);
    let inits_run = status.init_container_statuses.iter().flatten();
    for sidecar in inits_run.filter(|init| sidecar_of(inits, init)) {
        count_restarts(sum, sidecar);
    }
    let mut running = false;
    for container in status.container_statuses.iter().flatten().rev() {
        count_restarts(sum, container);
        if let Some(reason) = waiting_for(container) {
            reason.clone_into(&mut sum.reason);
        } else if let Some(reason) = ended("", container) {
            sum.reason = reason;
        } else if container.ready
            && container.state.as_ref().is_some_and(|state| state.running.is_some())
        {
            running = true;
            sum.ready += 1;
        }
    }
    if sum.reason == "Completed" && running {
        let ready = is_true(status, "Ready");
        sum.reason = if ready { "Running" } else { "NotReady" }.to_owned();
    }
}
