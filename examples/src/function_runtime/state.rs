//! The sandboxes and containers that there are, and the tasks behind them.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;

use kcore::clock::Clock;
use knode::runtime::{
    ContainerConfig, ContainerId, ContainerState, ContainerStatus, ContainerSummary, Exit,
    SandboxConfig, SandboxId, SandboxState, SandboxStatus, SandboxSummary,
};
use knode::{Error, Result};
use tokio::sync::watch;
use tokio::task::AbortHandle;

use super::function::Log;

/// Addresses that sandboxes can have.
const ADDRESSES: u32 = 65_534;
/// The address before the first one.
const NETWORK: Ipv4Addr = Ipv4Addr::new(10, 98, 0, 0);

/// A sandbox is an address, and a directory for its containers' logs.
#[derive(Debug)]
pub(super) struct Sandbox {
    pub(super) config: SandboxConfig,
    pub(super) status: SandboxStatus,
}

/// A container, and the task that runs its function.
#[derive(Debug)]
pub(super) struct Container {
    pub(super) config: ContainerConfig,
    pub(super) status: ContainerStatus,
    pub(super) log: Log,
    /// True once it was asked to end.
    pub(super) asked: watch::Sender<bool>,
    /// True once it ended.
    pub(super) ended: watch::Sender<bool>,
    pub(super) task: Option<AbortHandle>,
}

impl Drop for Container {
    fn drop(&mut self) {
        if let Some(task) = &self.task {
            task.abort();
        }
    }
}

#[derive(Debug, Default)]
pub(super) struct State {
    made: u64,
    pub(super) sandboxes: BTreeMap<SandboxId, Sandbox>,
    pub(super) containers: BTreeMap<ContainerId, Container>,
}

impl State {
    /// A name that was never given before; names sort by age.
    fn name(&mut self, kind: &str) -> String {
        self.made += 1;
        format!("{kind}-{:016x}", self.made)
    }

    pub(super) fn add_sandbox(
        &mut self,
        config: SandboxConfig,
        clock: &Clock,
    ) -> Result<SandboxId> {
        let same =
            |it: &Sandbox| it.config.uid == config.uid && it.config.attempt == config.attempt;
        if self.sandboxes.values().any(same) {
            let name = format!("{}_{}", config.name, config.attempt);
            return Err(Error::AlreadyExists { kind: "sandbox", name });
        }
        let taken: Vec<IpAddr> =
            self.sandboxes.values().flat_map(|it| it.status.ips.clone()).collect();
        let ips = match config.host_network {
            true => vec![],
            false => vec![free_address(&taken)?],
        };
        let id = SandboxId::from(self.name("sandbox"));
        let ready = SandboxState::Ready;
        let summary = SandboxSummary::new(id.clone(), &config, ready, clock.now());
        let status = SandboxStatus::new(summary, ips);
        self.sandboxes.insert(id.clone(), Sandbox { config, status });
        Ok(id)
    }

    /// The sandbox, if containers can be made and started in it.
    pub(super) fn ready(&self, id: &SandboxId) -> Result<&Sandbox> {
        let sandbox = self.sandboxes.get(id).ok_or_else(|| no_sandbox(id))?;
        match sandbox.status.summary.state {
            SandboxState::Ready => Ok(sandbox),
            state => Err(Error::InvalidState {
                kind: "sandbox",
                id: id.to_string(),
                state: format!("{state:?}"),
                needed: "Ready",
            }),
        }
    }

    pub(super) fn add_container(
        &mut self,
        sandbox: &SandboxId,
        config: ContainerConfig,
        clock: &Clock,
    ) -> Result<ContainerId> {
        let directory = self.ready(sandbox)?.config.log_directory.clone();
        let same = |it: &Container| {
            let (name, attempt) = (&it.config.name, it.config.attempt);
            it.status.summary.sandbox == *sandbox
                && *name == config.name
                && attempt == config.attempt
        };
        if self.containers.values().any(same) {
            let name = format!("{}_{}", config.name, config.attempt);
            return Err(Error::AlreadyExists { kind: "container", name });
        }
        let named = !config.log_path.as_os_str().is_empty();
        let log_path = directory.filter(|_| named).map(|it| it.join(&config.log_path));
        let id = ContainerId::from(self.name("container"));
        let created = ContainerState::Created;
        let summary =
            ContainerSummary::new(id.clone(), sandbox.clone(), &config, created, clock.now());
        let status = ContainerStatus::new(summary, config.image.clone())
            .log_path(log_path)
            .mounts(config.mounts.clone());
        let (asked, ended) = (watch::Sender::new(false), watch::Sender::new(false));
        let log = Log::default();
        let container = Container { config, status, log, asked, ended, task: None };
        self.containers.insert(id.clone(), container);
        Ok(id)
    }

    pub(super) fn container(&self, id: &ContainerId) -> Result<&Container> {
        self.containers.get(id).ok_or_else(|| no_container(id))
    }

    /// Records how a container ended, unless it is known already.
    pub(super) fn end(&mut self, id: &ContainerId, exit: Exit) {
        let Some(container) = self.containers.get_mut(id) else { return };
        if container.status.state() == ContainerState::Running {
            container.status.summary.state = ContainerState::Exited;
            container.status.exit = Some(exit);
            container.ended.send_replace(true);
        }
    }

    /// Ends a container without asking.
    pub(super) fn kill(&mut self, id: &ContainerId, clock: &Clock) {
        if let Some(task) = self.containers.get(id).and_then(|it| it.task.as_ref()) {
            task.abort();
        }
        self.end(id, Exit::with_signal(SIGKILL, clock.now()));
    }

    pub(super) fn containers_of(&self, sandbox: &SandboxId) -> Vec<ContainerId> {
        let of_it = self.containers.values().map(|it| &it.status.summary);
        of_it.filter(|it| it.sandbox == *sandbox).map(|it| it.id.clone()).collect()
    }
}

/// What a task is ended with; no function sees it.
const SIGKILL: i32 = 9;

fn free_address(taken: &[IpAddr]) -> Result<IpAddr> {
    let all = (1..=ADDRESSES).map(|at| IpAddr::from(Ipv4Addr::from_bits(NETWORK.to_bits() + at)));
    let exhausted = Error::Exhausted { what: "pod addresses", limit: u64::from(ADDRESSES) };
    all.into_iter().find(|address| !taken.contains(address)).ok_or(exhausted)
}

pub(super) fn no_sandbox(id: &SandboxId) -> Error {
    Error::NotFound { kind: "sandbox", id: id.to_string() }
}

pub(super) fn no_container(id: &ContainerId) -> Error {
    Error::NotFound { kind: "container", id: id.to_string() }
}

pub(super) fn not_created(container: &Container) -> Error {
    Error::InvalidState {
        kind: "container",
        id: container.status.summary.id.to_string(),
        state: format!("{:?}", container.status.state()),
        needed: "Created",
    }
}

/// The shared state.
pub(super) type Shared = Arc<parking_lot::Mutex<State>>;
