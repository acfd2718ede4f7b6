//! What is to be done for a pod, and what is said of it: plain functions over API objects and what
//! the runtime shows. Nothing here waits or acts; the agent does.
//!
//! | module | is |
//! | --- | --- |
//! | [`plan`] | [`compute_pod_actions`]: what to start, kill and remove now |
//! | [`status`] | [`compute_pod_status`]: what the API is told |
//! | [`config`] | what sandboxes and containers are made from |
//! | [`observed`] | what the runtime has of one pod |
//! | [`backoff`] | how long a container that crashes waits |
//!
//! <https://kubernetes.io/docs/concepts/workloads/pods/pod-lifecycle/>

pub mod backoff;
#[cfg(test)]
mod builders;
mod conditions;
pub mod config;
pub mod observed;
pub mod plan;
pub mod status;

use std::time::Duration;

use k8s_openapi::api::core::v1::{
    Container, ContainerRestartRule, EphemeralContainer, Pod, PodSpec,
};

pub use config::{ContainerParts, container_config, container_hash, sandbox_config};
pub use observed::{Health, Observed};
pub use plan::{Kill, KillReason, PodActions, Situation, Start, compute_pod_actions};
pub use status::{StatusFacts, Waiting, compute_pod_status};

/// What a pod gets that does not say how long it may take to end.
/// <https://kubernetes.io/docs/concepts/workloads/pods/pod-lifecycle/#pod-termination>
pub const DEFAULT_GRACE: Duration = Duration::from_secs(30);
/// The annotation of a pod that stands for one the node has from a file.
pub const MIRROR_ANNOTATION: &str = "kubernetes.io/config.mirror";

/// Which of a pod's lists a container is in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Role {
    /// It runs to its end before the pod's work begins.
    Init,
    /// It is among the init containers and restarts always: it starts in their order and stays.
    /// <https://kubernetes.io/docs/concepts/workloads/pods/sidecar-containers/>
    Sidecar,
    /// It does the pod's work.
    Main,
    /// It was added to look at the pod, and is never restarted.
    Ephemeral,
}

/// A container of a pod, with its role. An ephemeral one is seen as the container it is like.
#[derive(Debug, Clone)]
pub struct Member<'a> {
    /// Its role.
    pub role: Role,
    /// Its specification.
    pub container: std::borrow::Cow<'a, Container>,
}

impl Member<'_> {
    /// Its name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.container.name
    }
}

/// What restarts a container.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RestartPolicy {
    /// Any end.
    Always,
    /// An end with another code than zero.
    OnFailure,
    /// Nothing.
    Never,
}

impl RestartPolicy {
    fn parse(text: Option<&str>) -> Self {
        match text {
            Some("OnFailure") => Self::OnFailure,
            Some("Never") => Self::Never,
            _ => Self::Always,
        }
    }
}

/// The pod's restart policy.
#[must_use]
pub fn restart_policy(spec: &PodSpec) -> RestartPolicy {
    RestartPolicy::parse(spec.restart_policy.as_deref())
}

/// Whether a container that ended with `code` is to run again.
///
/// The container's own rules come first, then its own policy, then the pod's. An init container
/// that ended well is done whatever the policy says.
/// <https://kubernetes.io/docs/concepts/workloads/pods/pod-lifecycle/#restart-policy>
#[must_use]
pub fn restarts_after(spec: &PodSpec, member: &Member<'_>, code: i32) -> bool {
    let rules = member.container.restart_policy_rules.as_deref().unwrap_or_default();
    if rules.iter().any(|rule| rule.action == "Restart" && rule_matches(rule, code)) {
        return true;
    }
    let policy = match (member.role, member.container.restart_policy.as_deref()) {
        (Role::Sidecar, _) => RestartPolicy::Always,
        (Role::Ephemeral, _) => RestartPolicy::Never,
        (_, Some(own)) => RestartPolicy::parse(Some(own)),
        (_, None) => restart_policy(spec),
    };
    match policy {
        RestartPolicy::Never => false,
        RestartPolicy::OnFailure => code != 0,
        RestartPolicy::Always => code != 0 || member.role != Role::Init,
    }
}

fn rule_matches(rule: &ContainerRestartRule, code: i32) -> bool {
    let Some(codes) = &rule.exit_codes else { return false };
    let among = codes.values.as_deref().unwrap_or_default().contains(&code);
    match codes.operator.as_str() {
        "In" => among,
        "NotIn" => !among,
        _ => false,
    }
}

fn is_sidecar(container: &Container) -> bool {
    container.restart_policy.as_deref() == Some("Always")
}

/// Init containers and sidecars, in their order.
pub fn init_members(spec: &PodSpec) -> impl Iterator<Item = Member<'_>> {
    spec.init_containers.iter().flatten().map(|container| Member {
        role: if is_sidecar(container) { Role::Sidecar } else { Role::Init },
        container: std::borrow::Cow::Borrowed(container),
    })
}

/// The containers that do the pod's work.
pub fn main_members(spec: &PodSpec) -> impl Iterator<Item = Member<'_>> {
    let borrowed = std::borrow::Cow::Borrowed;
    spec.containers
        .iter()
        .map(move |container| Member { role: Role::Main, container: borrowed(container) })
}

/// The containers that were added to look at the pod.
pub fn ephemeral_members(spec: &PodSpec) -> impl Iterator<Item = Member<'_>> {
    spec.ephemeral_containers.iter().flatten().map(|container| Member {
        role: Role::Ephemeral,
        container: std::borrow::Cow::Owned(like(container)),
    })
}

/// Every container of a pod: init containers first, then the main ones, then ephemeral ones.
pub fn members(spec: &PodSpec) -> impl Iterator<Item = Member<'_>> {
    init_members(spec).chain(main_members(spec)).chain(ephemeral_members(spec))
}

/// The container of that name.
#[must_use]
pub fn member<'a>(spec: &'a PodSpec, name: &str) -> Option<Member<'a>> {
    members(spec).find(|member| member.name() == name)
}

fn like(ephemeral: &EphemeralContainer) -> Container {
    let it = ephemeral.clone();
    Container {
        name: it.name,
        image: it.image,
        command: it.command,
        args: it.args,
        working_dir: it.working_dir,
        env: it.env,
        env_from: it.env_from,
        image_pull_policy: it.image_pull_policy,
        security_context: it.security_context,
        stdin: it.stdin,
        stdin_once: it.stdin_once,
        tty: it.tty,
        termination_message_path: it.termination_message_path,
        termination_message_policy: it.termination_message_policy,
        volume_mounts: it.volume_mounts,
        volume_devices: it.volume_devices,
        resources: it.resources,
        ..Container::default()
    }
}

/// Why the events' field path of a container looks so: it tells kubectl whose event it is.
#[must_use]
pub fn field_path(member: &Member<'_>) -> String {
    let list = match member.role {
        Role::Init | Role::Sidecar => "initContainers",
        Role::Main => "containers",
        Role::Ephemeral => "ephemeralContainers",
    };
    format!("spec.{list}{{{}}}", member.name())
}

/// How long the pod may take to end, as whoever deletes it said, or as its specification does.
#[must_use]
pub fn grace(pod: &Pod) -> Duration {
    let deleting = pod.metadata.deletion_grace_period_seconds;
    let spec = pod.spec.as_ref().and_then(|spec| spec.termination_grace_period_seconds);
    // Upstream leaves a container a second, so that a signal is sent before it is killed.
    deleting.or(spec).map_or(DEFAULT_GRACE, |seconds| {
        Duration::from_secs(u64::try_from(seconds).unwrap_or_default().max(1))
    })
}

/// `name_namespace(uid)`, by which messages name a pod.
#[must_use]
pub fn described(pod: &Pod) -> String {
    let text = |value: &Option<String>| value.clone().unwrap_or_default();
    let meta = &pod.metadata;
    format!("{}_{}({})", text(&meta.name), text(&meta.namespace), text(&meta.uid))
}

/// The pod's uid; empty if it has none.
#[must_use]
pub fn uid(pod: &Pod) -> &str {
    pod.metadata.uid.as_deref().unwrap_or_default()
}

/// The pod's phase; empty if it has none.
#[must_use]
pub fn phase(pod: &Pod) -> &str {
    pod.status.as_ref().and_then(|status| status.phase.as_deref()).unwrap_or_default()
}

/// Whether the pod ended for good.
#[must_use]
pub fn is_terminal(phase: &str) -> bool {
    matches!(phase, "Succeeded" | "Failed")
}
