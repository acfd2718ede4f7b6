//! What the API is told of a pod: its phase, its containers, its addresses.

use std::collections::BTreeMap;
use std::net::IpAddr;

use jiff::Timestamp;
use k8s_openapi::api::core::v1::{
    ContainerState as ApiState, ContainerStateRunning, ContainerStateTerminated,
    ContainerStateWaiting, ContainerStatus as ApiContainerStatus, HostIP, Pod, PodIP, PodSpec,
    PodStatus,
};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

use super::conditions::{Facts, compute_conditions, is_ours};
use super::observed::{Health, HealthMap, Observed};
use super::plan::UNKNOWN_EXIT_CODE;
use super::{Member, Role, ephemeral_members, init_members, main_members, restarts_after};
use crate::runtime::{ContainerState, ContainerStatus};

/// Why a container does not run yet, or again.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Waiting {
    /// One word: `CrashLoopBackOff`, `ErrImagePull`.
    pub reason: String,
    /// For people.
    pub message: String,
}

impl Waiting {
    /// Waits for `reason`.
    #[must_use]
    pub fn new(reason: impl Into<String>, message: impl Into<String>) -> Self {
        Self { reason: reason.into(), message: message.into() }
    }
}

/// Whether the pod is to live, as its agent has decided.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum Fate {
    /// It goes on.
    #[default]
    Lives,
    /// It is being ended; nothing starts again.
    Ends,
    /// It is being ended because of this reason and message, and has failed whatever its
    /// containers say: `Evicted`, `DeadlineExceeded`.
    Fails(String, String),
}

/// Everything a status is made from besides the pod itself.
#[derive(Debug, Clone, Copy)]
pub struct StatusFacts<'a> {
    /// What the runtime has.
    pub observed: &'a Observed,
    /// What probes say.
    pub health: &'a HealthMap,
    /// Why containers wait, by name.
    pub waiting: &'a BTreeMap<String, Waiting>,
    /// Whether the pod is to live.
    pub fate: &'a Fate,
    /// The node's addresses, the primary one first.
    pub host_ips: &'a [IpAddr],
    /// The runtime's name, which container ids begin with.
    pub runtime: &'a str,
    /// What was said before, if that is newer than what the API has.
    pub before: Option<&'a PodStatus>,
    /// When the agent first saw the pod, if its status does not say yet.
    pub seen_at: Timestamp,
    /// The time.
    pub now: Timestamp,
}

/// The status of `pod`. What others keep in it (conditions, resource claims) stays as it is.
///
/// Times come with the second that the API has.
#[must_use]
pub fn compute_pod_status(pod: &Pod, facts: &StatusFacts<'_>) -> PodStatus {
    let empty = PodStatus::default();
    let api = pod.status.as_ref().unwrap_or(&empty);
    let before = facts.before.unwrap_or(api);
    let Some(spec) = &pod.spec else { return before.clone() };
    let writer = Writer { spec, facts };
    let init = writer.statuses(init_members(spec), &before.init_container_statuses);
    let main = writer.statuses(main_members(spec), &before.container_statuses);
    let ephemeral = writer.statuses(ephemeral_members(spec), &before.ephemeral_container_statuses);
    let final_phase = [api, before].map(|status| status.phase.as_deref().unwrap_or_default());
    let phase = writer.phase(final_phase, &init, &main);
    let mut status = foreign(api);
    status.start_time.clone_from(&before.start_time);
    status.host_ip.clone_from(&before.host_ip);
    status.host_ips.clone_from(&before.host_ips);
    status.pod_ip.clone_from(&before.pod_ip);
    status.pod_ips.clone_from(&before.pod_ips);
    status.reason.clone_from(&before.reason);
    status.message.clone_from(&before.message);
    if let Fate::Fails(reason, message) = facts.fate {
        status.reason = Some(reason.clone());
        status.message = Some(message.clone());
    }
    let now = whole_second(facts.now);
    let conditions = Facts {
        pod,
        spec,
        before: before.conditions.as_deref().unwrap_or_default(),
        phase,
        init: &init,
        main: &main,
        has_sandbox: facts.observed.ready_sandbox().is_some(),
        now,
    };
    status.conditions = Some(compute_conditions(&conditions));
    status.phase = Some(phase.to_owned());
    let listed = |list: Vec<ApiContainerStatus>| (!list.is_empty()).then_some(list);
    status.init_container_statuses = listed(init);
    status.container_statuses = listed(main);
    status.ephemeral_container_statuses = listed(ephemeral);
    status.start_time.get_or_insert(Time(whole_second(facts.seen_at)));
    status.observed_generation = pod.metadata.generation.or(status.observed_generation);
    write_addresses(&mut status, spec, facts);
    status
}

/// `ours`, with what others keep in `api`: conditions of theirs, resource claims.
#[must_use]
pub fn merge_status(api: &PodStatus, ours: &PodStatus) -> PodStatus {
    let mut status = PodStatus {
        phase: ours.phase.clone(),
        reason: ours.reason.clone(),
        message: ours.message.clone(),
        start_time: ours.start_time.clone(),
        host_ip: ours.host_ip.clone(),
        host_ips: ours.host_ips.clone(),
        pod_ip: ours.pod_ip.clone(),
        pod_ips: ours.pod_ips.clone(),
        init_container_statuses: ours.init_container_statuses.clone(),
        container_statuses: ours.container_statuses.clone(),
        ephemeral_container_statuses: ours.ephemeral_container_statuses.clone(),
        observed_generation: ours.observed_generation,
        ..foreign(api)
    };
    let conditions = ours.conditions.iter().flatten().filter(|it| is_ours(&it.type_));
    let foreign = api.conditions.iter().flatten().filter(|it| !is_ours(&it.type_));
    status.conditions = Some(conditions.chain(foreign).cloned().collect());
    status
}

/// What of a status others keep.
fn foreign(api: &PodStatus) -> PodStatus {
    PodStatus {
        allocated_resources: api.allocated_resources.clone(),
        extended_resource_claim_status: api.extended_resource_claim_status.clone(),
        nominated_node_name: api.nominated_node_name.clone(),
        qos_class: api.qos_class.clone(),
        resize: api.resize.clone(),
        resource_claim_statuses: api.resource_claim_statuses.clone(),
        resources: api.resources.clone(),
        ..PodStatus::default()
    }
}

fn write_addresses(status: &mut PodStatus, spec: &PodSpec, facts: &StatusFacts<'_>) {
    let text = |ip: &IpAddr| ip.to_string();
    if let Some(host) = facts.host_ips.first() {
        status.host_ip = Some(text(host));
        let all = facts.host_ips.iter().map(|ip| HostIP { ip: text(ip) });
        status.host_ips = Some(all.collect());
    }
    let host_network = spec.host_network == Some(true);
    let ips = if host_network { facts.host_ips } else { facts.observed.ips() };
    // The address of a pod that ended stays, as upstream's does.
    if let Some(ip) = ips.first() {
        status.pod_ip = Some(text(ip));
        status.pod_ips = Some(ips.iter().map(|ip| PodIP { ip: text(ip) }).collect());
    }
}

/// The API's times have seconds.
pub(crate) fn whole_second(at: Timestamp) -> Timestamp {
    Timestamp::from_second(at.as_second()).unwrap_or(at)
}

struct Writer<'a> {
    spec: &'a PodSpec,
    facts: &'a StatusFacts<'a>,
}

impl Writer<'_> {
    fn statuses<'m>(
        &self,
        members: impl Iterator<Item = Member<'m>>,
        old: &Option<Vec<ApiContainerStatus>>,
    ) -> Vec<ApiContainerStatus> {
        members
            .map(|member| {
                let before = old.iter().flatten().find(|status| status.name == member.name());
                self.status(&member, before)
            })
            .collect()
    }

    fn status(
        &self,
        member: &Member<'_>,
        before: Option<&ApiContainerStatus>,
    ) -> ApiContainerStatus {
        let observed = self.facts.observed;
        let Some(latest) = observed.latest(member.name()) else {
            return self.unseen(member, before);
        };
        let health = (latest.state() == ContainerState::Running).then(|| {
            let known = self.facts.health.get(&latest.summary.id).copied();
            let id = self.container_id(latest);
            known.unwrap_or_else(|| Health::adopted(&member.container, before, &id))
        });
        let mut status = ApiContainerStatus {
            name: member.name().to_owned(),
            image: member.container.image.clone().unwrap_or_default(),
            image_id: latest.image_id.clone(),
            container_id: Some(self.container_id(latest)),
            restart_count: i32::try_from(latest.summary.attempt).unwrap_or(i32::MAX),
            started: Some(health.is_some_and(|health| health.started)),
            state: Some(self.state(latest)),
            ready: health.is_some_and(|health| health.serves()),
            ..ApiContainerStatus::default()
        };
        let previous = observed.runs(member.name()).nth(1);
        status.last_state = previous
            .filter(|previous| previous.state() == ContainerState::Exited)
            .map(|previous| self.state(previous));
        let code = latest.exit.as_ref().map_or(UNKNOWN_EXIT_CODE, |exit| exit.code);
        let exited = latest.state() == ContainerState::Exited;
        if member.role == Role::Init {
            status.ready = exited && code == 0;
        }
        let restarts = exited && restarts_after(self.spec, member, code);
        if let Some(waiting) = self.facts.waiting.get(member.name()).filter(|_| {
            *self.facts.fate == Fate::Lives
                && (restarts || latest.state() == ContainerState::Created)
        }) {
            if exited {
                status.last_state = status.state.take();
            }
            status.state = Some(waiting_state(&waiting.reason, &waiting.message));
            status.started = Some(false);
        }
        status
    }

    /// A container that the runtime does not have.
    fn unseen(
        &self,
        member: &Member<'_>,
        before: Option<&ApiContainerStatus>,
    ) -> ApiContainerStatus {
        let ended = before
            .filter(|before| before.state.as_ref().is_some_and(|state| state.terminated.is_some()));
        if let Some(before) = ended {
            return before.clone();
        }
        let init = self.spec.init_containers.as_ref().is_some_and(|list| !list.is_empty());
        let usual = if init { "PodInitializing" } else { "ContainerCreating" };
        let waiting = self.facts.waiting.get(member.name());
        let (reason, message) = waiting
            .map_or((usual, ""), |waiting| (waiting.reason.as_str(), waiting.message.as_str()));
        let ran = before
            .filter(|before| before.state.as_ref().is_some_and(|state| state.running.is_some()));
        let mut status = ApiContainerStatus {
            name: member.name().to_owned(),
            image: member.container.image.clone().unwrap_or_default(),
            restart_count: before.map_or(0, |before| before.restart_count),
            last_state: before.and_then(|before| before.last_state.clone()),
            started: Some(false),
            state: Some(waiting_state(reason, message)),
            ..ApiContainerStatus::default()
        };
        if let Some(ran) = ran {
            let lost = ApiState { terminated: Some(lost(ran)), ..ApiState::default() };
            status.restart_count = ran.restart_count.saturating_add(1);
            if *self.facts.fate == Fate::Lives {
                status.last_state = Some(lost);
            } else {
                status.state = Some(lost);
            }
        } else if *self.facts.fate != Fate::Lives && member.role != Role::Ephemeral {
            status.state = Some(waiting_state(usual, ""));
        }
        status
    }

    fn container_id(&self, status: &ContainerStatus) -> String {
        format!("{}://{}", self.facts.runtime, status.summary.id)
    }

    fn state(&self, status: &ContainerStatus) -> ApiState {
        let time = |at: Timestamp| Time(whole_second(at));
        match status.state() {
            ContainerState::Running => ApiState {
                running: Some(ContainerStateRunning { started_at: status.started_at.map(time) }),
                ..ApiState::default()
            },
            ContainerState::Exited => {
                ApiState { terminated: Some(self.terminated(status)), ..ApiState::default() }
            }
            ContainerState::Created => waiting_state("ContainerCreating", ""),
            ContainerState::Unknown => waiting_state("ContainerStatusUnknown", ""),
        }
    }

    fn terminated(&self, status: &ContainerStatus) -> ContainerStateTerminated {
        let time = |at: Timestamp| Time(whole_second(at));
        let exit = status.exit.as_ref();
        let left = self.facts.observed.messages.get(&status.summary.id);
        let message = left.filter(|text| !text.is_empty()).or(exit.map(|exit| &exit.message));
        ContainerStateTerminated {
            container_id: Some(self.container_id(status)),
            exit_code: exit.map_or(UNKNOWN_EXIT_CODE, |exit| exit.code),
            signal: None,
            reason: exit.map(|exit| exit.reason.clone()),
            message: message.filter(|text| !text.is_empty()).cloned(),
            started_at: status.started_at.map(time),
            finished_at: exit.map(|exit| time(exit.finished_at)),
        }
    }

    /// The phase. One that is final never changes.
    /// <https://kubernetes.io/docs/concepts/workloads/pods/pod-lifecycle/#pod-phase>
    fn phase(
        &self,
        before: [&str; 2],
        init: &[ApiContainerStatus],
        main: &[ApiContainerStatus],
    ) -> &'static str {
        if let Some(known) = ["Succeeded", "Failed"].into_iter().find(|it| before.contains(it)) {
            return known;
        }
        let runs = self.facts.observed.running().next().is_some();
        let ends = *self.facts.fate != Fate::Lives;
        // A phase is final once nothing runs any more.
        if matches!(self.facts.fate, Fate::Fails(..)) && !runs {
            return "Failed";
        }
        let count = Count::of(main);
        if ends && !runs {
            let well = count.succeeded == main.len();
            return if well { "Succeeded" } else { "Failed" };
        }
        if self.init_failed(init, &count) && !runs {
            return "Failed";
        }
        if self.init_pending(init, &count) || self.sidecar_waits(init) || count.waiting > 0 {
            return "Pending";
        }
        if count.running > 0 {
            return "Running";
        }
        if count.stopped == 0 {
            return "Pending";
        }
        match (self.none_restarts(main), count.stopped == count.succeeded) {
            // Its sidecars still run, or something restarts.
            _ if runs => "Running",
            (false, _) => "Running",
            (true, true) => "Succeeded",
            (true, false) => "Failed",
        }
    }

    fn none_restarts(&self, main: &[ApiContainerStatus]) -> bool {
        main_members(self.spec).all(|member| {
            let status = main.iter().find(|status| status.name == member.name());
            let ended = status.and_then(|status| status.state.as_ref()?.terminated.as_ref());
            ended.is_some_and(|ended| !restarts_after(self.spec, &member, ended.exit_code))
        })
    }

    /// Whether a sidecar has never run.
    fn sidecar_waits(&self, init: &[ApiContainerStatus]) -> bool {
        let sidecars = init_members(self.spec).zip(init);
        let sidecars = sidecars.filter(|(member, _)| member.role == Role::Sidecar);
        Count::of(sidecars.map(|(_, status)| status)).waiting > 0
    }

    /// Whether an init container failed that is not run again.
    fn init_failed(&self, init: &[ApiContainerStatus], main: &Count) -> bool {
        !main.any_ran()
            && init_members(self.spec).zip(init).any(|(member, status)| {
                let state = status.state.as_ref();
                let now = state.and_then(|state| state.terminated.as_ref());
                let last = status.last_state.as_ref().and_then(|state| state.terminated.as_ref());
                let code = now.or(last).map_or(0, |ended| ended.exit_code);
                let again = restarts_after(self.spec, &member, code);
                member.role == Role::Init && code != 0 && !again
            })
    }

    fn init_pending(&self, init: &[ApiContainerStatus], main: &Count) -> bool {
        !main.any_ran()
            && init_members(self.spec).zip(init).any(|(member, status)| match member.role {
                Role::Sidecar => status.started != Some(true),
                _ => !status.ready,
            })
    }
}

/// How many containers are in which state.
#[derive(Default)]
struct Count {
    waiting: usize,
    running: usize,
    stopped: usize,
    succeeded: usize,
}

impl Count {
    fn of<'a>(statuses: impl IntoIterator<Item = &'a ApiContainerStatus>) -> Self {
        let mut count = Self::default();
        for status in statuses {
            let state = status.state.clone().unwrap_or_default();
            let ran = status.last_state.as_ref().is_some_and(|last| last.terminated.is_some());
            if state.running.is_some() {
                count.running += 1;
            } else if let Some(ended) = state.terminated {
                count.stopped += 1;
                count.succeeded += usize::from(ended.exit_code == 0);
            } else if ran {
                count.stopped += 1;
            } else {
                count.waiting += 1;
            }
        }
        count
    }

    fn any_ran(&self) -> bool {
        self.running + self.stopped > 0
    }
}

fn waiting_state(reason: &str, message: &str) -> ApiState {
    let message = (!message.is_empty()).then(|| message.to_owned());
    let waiting = ContainerStateWaiting { reason: Some(reason.to_owned()), message };
    ApiState { waiting: Some(waiting), ..ApiState::default() }
}

/// The end of a container that the API knows as running and the runtime does not know.
fn lost(status: &ApiContainerStatus) -> ContainerStateTerminated {
    let running = status.state.as_ref().and_then(|state| state.running.as_ref());
    ContainerStateTerminated {
        container_id: status.container_id.clone(),
        exit_code: UNKNOWN_EXIT_CODE,
        reason: Some("ContainerStatusUnknown".to_owned()),
        message: Some("The container could not be located when the pod was terminated".to_owned()),
        started_at: running.and_then(|running| running.started_at.clone()),
        ..ContainerStateTerminated::default()
    }
}

#[cfg(test)]
#[path = "status_tests.rs"]
mod tests;
