//! What the runtime has of one pod, in an order that answers questions.

use std::collections::BTreeMap;
use std::net::IpAddr;

use k8s_openapi::api::core::v1::{Container, ContainerStatus as ApiStatus};

use crate::runtime::{
    ContainerId, ContainerState, ContainerStatus, SandboxId, SandboxState, SandboxStatus,
};

/// What the runtime has of one pod.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Observed {
    sandboxes: Vec<SandboxStatus>,
    containers: Vec<ContainerStatus>,
    /// What containers that ended left to be read, by their ids.
    pub messages: BTreeMap<ContainerId, String>,
}

impl Observed {
    /// What was seen, in any order.
    #[must_use]
    pub fn new(mut sandboxes: Vec<SandboxStatus>, mut containers: Vec<ContainerStatus>) -> Self {
        // Newest first. Attempts count over all sandboxes of a pod.
        sandboxes.sort_by(|a, b| {
            let key = |status: &SandboxStatus| (status.summary.attempt, status.summary.created_at);
            key(b).cmp(&key(a))
        });
        containers.sort_by(|a, b| {
            let key =
                |status: &ContainerStatus| (status.summary.attempt, status.summary.created_at);
            key(b).cmp(&key(a))
        });
        Self { sandboxes, containers, messages: BTreeMap::new() }
    }

    /// Its sandboxes, the newest first.
    #[must_use]
    pub fn sandboxes(&self) -> &[SandboxStatus] {
        &self.sandboxes
    }

    /// Its containers, the newest first.
    #[must_use]
    pub fn containers(&self) -> &[ContainerStatus] {
        &self.containers
    }

    /// Whether the runtime has nothing of the pod.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.sandboxes.is_empty() && self.containers.is_empty()
    }

    /// The sandbox in which containers can be started: the newest one, if it is ready.
    #[must_use]
    pub fn ready_sandbox(&self) -> Option<&SandboxStatus> {
        self.sandboxes.first().filter(|status| status.summary.state == SandboxState::Ready)
    }

    /// The newest container of that name.
    #[must_use]
    pub fn latest(&self, name: &str) -> Option<&ContainerStatus> {
        self.runs(name).next()
    }

    /// The containers of that name, the newest first.
    pub fn runs(&self, name: &str) -> impl Iterator<Item = &ContainerStatus> {
        self.containers.iter().filter(move |status| status.summary.name == name)
    }

    /// The newest container of that name in a sandbox.
    #[must_use]
    pub fn latest_in(&self, sandbox: &SandboxId, name: &str) -> Option<&ContainerStatus> {
        self.runs(name).find(|status| status.summary.sandbox == *sandbox)
    }

    /// The containers that run.
    pub fn running(&self) -> impl Iterator<Item = &ContainerStatus> {
        self.containers.iter().filter(|status| status.state() == ContainerState::Running)
    }

    /// The attempt of a container's next run.
    #[must_use]
    pub fn next_attempt(&self, name: &str) -> Option<u32> {
        self.latest(name).map(|status| status.summary.attempt.saturating_add(1))
    }

    /// The pod's addresses, the primary one first.
    #[must_use]
    pub fn ips(&self) -> &[IpAddr] {
        self.sandboxes.first().map(|status| status.ips.as_slice()).unwrap_or_default()
    }
}

/// What probes say of a container that runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct Health {
    /// Its startup probe has succeeded, or it has none.
    pub started: bool,
    /// Its readiness probe succeeds, or it has none.
    pub ready: bool,
    /// Its startup probe has failed.
    pub startup_failed: bool,
    /// Its liveness probe has failed.
    pub liveness_failed: bool,
}

impl Health {
    /// What holds of a container until its probes have answered.
    #[must_use]
    pub fn initial(container: &Container) -> Self {
        Self {
            started: container.startup_probe.is_none(),
            ready: container.readiness_probe.is_none(),
            startup_failed: false,
            liveness_failed: false,
        }
    }

    /// What holds of a container that the API knows already under that id: an agent that starts
    /// anew takes nobody's traffic away (N6).
    #[must_use]
    pub fn adopted(container: &Container, api: Option<&ApiStatus>, id: &str) -> Self {
        let initial = Self::initial(container);
        match api.filter(|api| api.container_id.as_deref() == Some(id)) {
            Some(api) => Self {
                started: initial.started || api.started == Some(true),
                ready: initial.ready || api.ready,
                ..initial
            },
            None => initial,
        }
    }

    /// Whether the container gets traffic.
    #[must_use]
    pub fn serves(&self) -> bool {
        self.started && self.ready
    }
}

/// What probes say, by container. A container that is not among them is as [`Health::initial`].
pub type HealthMap = BTreeMap<ContainerId, Health>;
