//! What to do for a pod now, from what it asks for and what the runtime has.
//!
//! A plan holds what can be done at once. Whoever carried it out looks again and plans again,
//! until a plan is empty: a sandbox first, then init containers one after another, then the rest.

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::core::v1::{Pod, PodSpec};

use super::backoff::Backoffs;
use super::config::{HASH_ANNOTATION, container_hash};
use super::observed::{Health, HealthMap, Observed};
use super::{Member, Role, ephemeral_members, init_members, main_members, restarts_after};
use crate::runtime::{
    ContainerId, ContainerState, ContainerStatus, SandboxId, SandboxState, SandboxStatus,
};

/// Ended containers of one name that are kept besides the newest: the one that
/// `kubectl logs --previous` shows.
pub const KEPT_RUNS: usize = 1;

/// Everything a plan is made from besides the pod itself.
#[derive(Debug, Clone, Copy)]
pub struct Situation<'a> {
    /// What the runtime has.
    pub observed: &'a Observed,
    /// What probes say.
    pub health: &'a HealthMap,
    /// How long containers that crash wait.
    pub backoffs: &'a Backoffs,
    /// The time.
    pub now: Timestamp,
}

/// What to do for a pod now.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct PodActions {
    /// The pod's work is done, or cannot go on: everything of it is to end.
    pub finish: bool,
    /// Make a sandbox, and it is the pod's so-many-th.
    pub create_sandbox: Option<u32>,
    /// Containers to end, all at once.
    pub kill: Vec<Kill>,
    /// Containers to start, one after another.
    pub start: Vec<Start>,
    /// Containers that wait before they are started again, and how long.
    pub hold: Vec<Hold>,
    /// Sandboxes that are of no use any more, to be stopped and removed.
    pub remove_sandboxes: Vec<SandboxId>,
    /// Ended containers that nobody looks at any more.
    pub remove: Vec<ContainerId>,
}

impl PodActions {
    /// Whether there is nothing to do now.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        let Self { finish, create_sandbox, kill, start, hold: _, remove_sandboxes, remove } = self;
        !finish
            && create_sandbox.is_none()
            && kill.is_empty()
            && start.is_empty()
            && remove_sandboxes.is_empty()
            && remove.is_empty()
    }
}

/// A container to start.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Start {
    /// Its name.
    pub name: String,
    /// Its role.
    pub role: Role,
    /// The attempt it gets.
    pub attempt: u32,
    /// How long its last run lasted, if it had one in this life of the pod.
    pub last_run: Option<SignedDuration>,
    /// It was created and has not been started.
    pub created: Option<ContainerId>,
}

/// A container to end.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Kill {
    /// Which.
    pub id: ContainerId,
    /// Its name.
    pub name: String,
    /// Why.
    pub reason: KillReason,
    /// It is started again afterwards.
    pub restarts: bool,
}

impl Kill {
    /// As the event says it.
    #[must_use]
    pub fn message(&self) -> String {
        let name = &self.name;
        let what = match self.reason {
            KillReason::Liveness => "failed liveness probe",
            KillReason::Startup => "failed startup probe",
            KillReason::Changed => "definition changed",
            KillReason::Unknown => {
                return format!(
                    "Container {name} is in an unknown state, try killing it before restart"
                );
            }
        };
        let again = if self.restarts { ", will be restarted" } else { "" };
        format!("Container {name} {what}{again}")
    }
}

/// Why a container is ended while its pod goes on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum KillReason {
    /// Its liveness probe failed.
    Liveness,
    /// Its startup probe failed.
    Startup,
    /// Its specification is another one now.
    Changed,
    /// The runtime cannot say how it is.
    Unknown,
}

/// A container that waits.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Hold {
    /// Its name.
    pub name: String,
    /// How much longer.
    pub remaining: Duration,
    /// How long altogether.
    pub wait: Duration,
}

/// What a container needs.
enum Need {
    /// Nothing: it runs, or it is done.
    Nothing,
    Start,
    Kill(KillReason),
}

/// What to do for `pod` now.
///
/// It is for a pod that is to live; one that is deleted is ended whatever it has.
#[must_use]
pub fn compute_pod_actions(pod: &Pod, situation: Situation<'_>) -> PodActions {
    let mut actions = PodActions::default();
    let Some(spec) = &pod.spec else { return actions };
    let observed = situation.observed;
    if is_done(spec, observed) {
        actions.finish = true;
        return actions;
    }
    let Some(sandbox) = observed.ready_sandbox() else {
        // A pod that restarts nothing does not outlive the sandbox it began in.
        if !observed.containers().is_empty() && !restarts_on_failure(spec) {
            actions.finish = true;
            return actions;
        }
        let next = observed.sandboxes().first().map(|status| status.summary.attempt);
        actions.create_sandbox = Some(next.map_or(0, |attempt| attempt.saturating_add(1)));
        actions.remove_sandboxes = useless(observed, None);
        return actions;
    };
    actions.remove_sandboxes = useless(observed, Some(sandbox));
    let planner = Planner { spec, sandbox: &sandbox.summary.id, situation };
    if planner.plan_init(&mut actions) {
        for member in main_members(spec) {
            planner.plan(&member, &mut actions);
        }
    }
    for member in ephemeral_members(spec) {
        if observed.latest(member.name()).is_none() {
            planner.plan(&member, &mut actions);
        }
    }
    actions.remove = outdated(spec, observed);
    actions
}

/// Whether the pod's work is done: nothing of it runs and nothing is to run again.
fn is_done(spec: &PodSpec, observed: &Observed) -> bool {
    let failed_for_good = init_members(spec).filter(|member| member.role == Role::Init).any(|it| {
        ended(observed.latest(it.name()))
            .is_some_and(|code| code != 0 && !restarts_after(spec, &it, code))
    });
    // A later run of the main containers says that an init container's failure is an old story.
    let main_seen = main_members(spec).any(|member| observed.latest(member.name()).is_some());
    if failed_for_good && !main_seen {
        return true;
    }
    main_members(spec).all(|member| {
        ended(observed.latest(member.name()))
            .is_some_and(|code| !restarts_after(spec, &member, code))
    })
}

/// Whether anything but a sidecar, which lives for the others, is run again after a failure.
fn restarts_on_failure(spec: &PodSpec) -> bool {
    let members = init_members(spec).chain(main_members(spec));
    let mut working = members.filter(|member| member.role != Role::Sidecar);
    working.any(|member| restarts_after(spec, &member, UNKNOWN_EXIT_CODE))
}

/// The exit code of a container that ended.
fn ended(status: Option<&ContainerStatus>) -> Option<i32> {
    let status = status?;
    if status.state() != ContainerState::Exited {
        return None;
    }
    Some(status.exit.as_ref().map_or(UNKNOWN_EXIT_CODE, |exit| exit.code))
}

/// The exit code of a container that nobody saw end.
pub(super) const UNKNOWN_EXIT_CODE: i32 = 137;

struct Planner<'a> {
    spec: &'a PodSpec,
    sandbox: &'a SandboxId,
    situation: Situation<'a>,
}

impl Planner<'_> {
    /// Plans init containers and sidecars in their order; true once the main ones may run.
    fn plan_init(&self, actions: &mut PodActions) -> bool {
        let observed = self.situation.observed;
        // What was removed long ago is not run again if something that comes later was started.
        let seen = |name: &str| observed.latest_in(self.sandbox, name).is_some();
        let main_seen = main_members(self.spec).any(|member| seen(member.name()));
        let members: Vec<Member<'_>> = init_members(self.spec).collect();
        for (at, member) in members.iter().enumerate() {
            let passed = main_seen || members[at + 1..].iter().any(|later| seen(later.name()));
            let status = observed.latest_in(self.sandbox, member.name());
            match member.role {
                Role::Sidecar => {
                    self.plan(member, actions);
                    let started = status.is_some_and(|status| {
                        status.state() == ContainerState::Running
                            && self.health(member, status).started
                    });
                    // What came after it once goes on while it starts again.
                    if !started && !main_seen && !passed {
                        return false;
                    }
                }
                _ if passed => {}
                _ if ended(status) == Some(0) => {}
                _ => {
                    self.plan(member, actions);
                    return false;
                }
            }
        }
        true
    }

    /// Plans one container by itself.
    fn plan(&self, member: &Member<'_>, actions: &mut PodActions) {
        let observed = self.situation.observed;
        let status = observed.latest_in(self.sandbox, member.name());
        match self.need(member, status) {
            Need::Nothing => {}
            Need::Kill(reason) => {
                if let Some(status) = status {
                    let (id, name) = (status.summary.id.clone(), member.name().to_owned());
                    let changed = reason == KillReason::Changed;
                    let restarts = restarts_after(self.spec, member, UNKNOWN_EXIT_CODE) || changed;
                    actions.kill.push(Kill { id, name, reason, restarts });
                    if changed {
                        // In the same plan: once it has ended only its restart policy counts.
                        self.plan_start(member, actions);
                    }
                }
            }
            Need::Start => self.plan_start(member, actions),
        }
    }

    fn plan_start(&self, member: &Member<'_>, actions: &mut PodActions) {
        let observed = self.situation.observed;
        let (name, now) = (member.name(), self.situation.now);
        let latest = observed.latest(name);
        let exit = latest.and_then(|status| status.exit.as_ref());
        if let Some(exit) = exit {
            let backoffs = self.situation.backoffs;
            if let Some(remaining) = backoffs.remaining(name, exit.finished_at, now) {
                let (name, wait) = (name.to_owned(), backoffs.wait(name));
                actions.hold.push(Hold { name, remaining, wait });
                return;
            }
        }
        let created = latest
            .filter(|status| status.state() == ContainerState::Created)
            .filter(|status| status.summary.sandbox == *self.sandbox);
        let started = latest.and_then(|status| status.started_at);
        actions.start.push(Start {
            name: name.to_owned(),
            role: member.role,
            attempt: match created {
                Some(status) => status.summary.attempt,
                None => observed.next_attempt(name).unwrap_or(0),
            },
            last_run: exit.map(|exit| {
                started.map_or(SignedDuration::ZERO, |at| exit.finished_at.duration_since(at))
            }),
            created: created.map(|status| status.summary.id.clone()),
        });
    }

    fn need(&self, member: &Member<'_>, status: Option<&ContainerStatus>) -> Need {
        let Some(status) = status else {
            // It may have ended in an earlier sandbox, and be done.
            let before = ended(self.situation.observed.latest(member.name()));
            let again = member.role == Role::Init
                || before.is_none_or(|code| restarts_after(self.spec, member, code));
            return if again { Need::Start } else { Need::Nothing };
        };
        match status.state() {
            ContainerState::Created => Need::Start,
            ContainerState::Unknown => Need::Kill(KillReason::Unknown),
            ContainerState::Running => self.need_of_running(member, status),
            ContainerState::Exited => {
                let code = ended(Some(status)).unwrap_or(UNKNOWN_EXIT_CODE);
                if restarts_after(self.spec, member, code) { Need::Start } else { Need::Nothing }
            }
        }
    }

    fn need_of_running(&self, member: &Member<'_>, status: &ContainerStatus) -> Need {
        // A new image is for an init container's next run.
        if matches!(member.role, Role::Init | Role::Ephemeral) {
            return Need::Nothing;
        }
        let made_from = status.summary.annotations.get(HASH_ANNOTATION);
        if made_from.is_some_and(|hash| *hash != container_hash(&member.container)) {
            return Need::Kill(KillReason::Changed);
        }
        let health = self.health(member, status);
        if health.startup_failed {
            Need::Kill(KillReason::Startup)
        } else if health.liveness_failed {
            Need::Kill(KillReason::Liveness)
        } else {
            Need::Nothing
        }
    }

    fn health(&self, member: &Member<'_>, status: &ContainerStatus) -> Health {
        let known = self.situation.health.get(&status.summary.id).copied();
        known.unwrap_or_else(|| Health::initial(&member.container))
    }
}

/// Sandboxes without a use: all but the one to keep; a stopped one that is the newest stays until
/// its successor is there, for its attempt is counted on.
fn useless(observed: &Observed, keep: Option<&SandboxStatus>) -> Vec<SandboxId> {
    let kept = keep.or(observed.sandboxes().first()).map(|status| &status.summary.id);
    let has_containers = |status: &SandboxStatus| {
        observed.containers().iter().any(|it| it.summary.sandbox == status.summary.id)
    };
    observed
        .sandboxes()
        .iter()
        .filter(|status| Some(&status.summary.id) != kept)
        // What ran in it is the previous run of its containers, until they have run again.
        .filter(|status| status.summary.state == SandboxState::Ready || !has_containers(status))
        .map(|status| status.summary.id.clone())
        .collect()
}

/// Containers beyond the newest and the one before it; of init containers that are through, all
/// but the newest.
fn outdated(spec: &PodSpec, observed: &Observed) -> Vec<ContainerId> {
    let mut outdated = Vec::new();
    for member in super::members(spec) {
        let older = observed.runs(member.name()).skip(1 + KEPT_RUNS);
        let gone = older.filter(|status| status.state() != ContainerState::Running);
        outdated.extend(gone.map(|status| status.summary.id.clone()));
    }
    outdated
}

#[cfg(test)]
#[path = "plan_tests.rs"]
mod tests;
