//! Pod sandboxes: what the containers of one pod share.

use std::collections::BTreeMap;
use std::fmt::Debug;
use std::net::IpAddr;
use std::path::PathBuf;

use async_trait::async_trait;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::Result;
use crate::runtime::chain::{chainable, id};

id! {
    /// The name a runtime gave to a pod sandbox.
    SandboxId
}

/// The sandboxes of a runtime: one a pod, with its address.
///
/// Every operation is idempotent as CRI asks, so a caller that was cut off simply repeats it.
/// <https://kubernetes.io/docs/concepts/containers/cri/>
#[cfg_attr(
    not(feature = "mock"),
    diagnostic::on_unimplemented(
        message = "`{Self}` is not a backend of pod sandboxes",
        note = "implement `knode::runtime::Sandboxes`, or pass an `Arc` or `Box` of one that does"
    )
)]
#[cfg_attr(feature = "mock", mockall::automock)]
#[async_trait]
pub trait Sandboxes: Debug + Send + Sync + 'static {
    /// Creates and starts a sandbox, ready for containers.
    ///
    /// Fails with [`AlreadyExists`](crate::Error::AlreadyExists) while one of the same pod uid
    /// and attempt has not been removed, and with [`Exhausted`](crate::Error::Exhausted) when no
    /// address is left.
    ///
    /// **Contract**
    /// - `run_reports_a_ready_sandbox`
    /// - `run_refuses_a_second_sandbox_of_the_same_attempt`
    /// - `each_sandbox_has_an_address_of_its_own`
    /// - `sandboxes_survive_a_restart_of_the_agent`
    /// - `a_dropped_run_leaves_a_whole_sandbox_or_none`
    async fn run(&self, config: SandboxConfig) -> Result<SandboxId>;

    /// Kills what still runs in the sandbox and makes it `NotReady`. Stopping a stopped or
    /// unknown one is fine.
    ///
    /// **Contract**
    /// - `stop_sandbox_kills_its_containers`
    /// - `stop_sandbox_is_idempotent`
    async fn stop(&self, id: &SandboxId) -> Result<()>;

    /// Removes the sandbox, its containers and its address. Removing an unknown one is fine.
    ///
    /// **Contract**
    /// - `remove_sandbox_removes_its_containers`
    /// - `remove_sandbox_is_idempotent`
    /// - `removed_sandboxes_leave_nothing_behind`
    async fn remove(&self, id: &SandboxId) -> Result<()>;

    /// The sandbox as it is now; [`NotFound`](crate::Error::NotFound) if there is none.
    ///
    /// **Contract**
    /// - `status_of_an_unknown_sandbox_is_not_found`
    async fn status(&self, id: &SandboxId) -> Result<SandboxStatus>;

    /// The sandboxes that pass `filter`, ready or not, in the order of their ids.
    ///
    /// **Contract**
    /// - `list_sandboxes_filters_by_id_state_and_labels`
    async fn list(&self, filter: SandboxFilter) -> Result<Vec<SandboxSummary>>;
}

/// What a sandbox is made from.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
#[non_exhaustive]
pub struct SandboxConfig {
    /// The pod's name.
    pub name: String,
    /// The pod's namespace.
    pub namespace: String,
    /// The pod's uid; with [`attempt`](Self::attempt) it names the sandbox.
    pub uid: String,
    /// How often the pod's sandbox was made before.
    pub attempt: u32,
    /// The host name its containers see; empty for the runtime's choice.
    pub hostname: String,
    /// Labels, by which sandboxes are listed.
    pub labels: BTreeMap<String, String>,
    /// Annotations, kept as they are.
    pub annotations: BTreeMap<String, String>,
    /// Where the pod's containers log, as `/var/log/pods/<namespace>_<name>_<uid>`; containers'
    /// log paths are relative to it.
    pub log_directory: Option<PathBuf>,
    /// The pod shares the node's network and has no address of its own.
    pub host_network: bool,
    /// Name resolution.
    pub dns: DnsConfig,
    /// Host ports.
    pub port_mappings: Vec<PortMapping>,
}

chainable!(SandboxConfig {
    name: into String,
    namespace: into String,
    uid: into String,
    attempt: into u32,
    hostname: into String,
    labels: pairs String,
    annotations: pairs String,
    log_directory: into Option<PathBuf>,
    host_network: into bool,
    dns: into DnsConfig,
    port_mappings: each PortMapping,
});

/// What stands in `/etc/resolv.conf`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
#[non_exhaustive]
pub struct DnsConfig {
    /// `nameserver` lines.
    pub servers: Vec<String>,
    /// The `search` line.
    pub searches: Vec<String>,
    /// The `options` line.
    pub options: Vec<String>,
}

chainable!(DnsConfig { servers: each String, searches: each String, options: each String });

/// A port of the node that leads to one of the pod.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct PortMapping {
    /// The transport.
    pub protocol: Protocol,
    /// The pod's port.
    pub container_port: u16,
    /// The node's port.
    pub host_port: u16,
    /// The node's address; `None` for all.
    pub host_ip: Option<IpAddr>,
}

impl PortMapping {
    /// The node's `host_port` leads to the pod's `container_port` over `protocol`.
    #[must_use]
    pub fn new(protocol: Protocol, container_port: u16, host_port: u16) -> Self {
        Self { protocol, container_port, host_port, host_ip: None }
    }
}

chainable!(PortMapping { host_ip: into Option<IpAddr> });

/// A transport protocol of a port.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub enum Protocol {
    /// TCP.
    #[default]
    Tcp,
    /// UDP.
    Udp,
    /// SCTP.
    Sctp,
}

/// Whether containers can be created in a sandbox.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum SandboxState {
    /// They can.
    Ready,
    /// It was stopped, or its network is gone.
    NotReady,
}

/// A sandbox in a list.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct SandboxSummary {
    /// Its id.
    pub id: SandboxId,
    /// The pod's name.
    pub name: String,
    /// The pod's namespace.
    pub namespace: String,
    /// The pod's uid.
    pub uid: String,
    /// Its attempt.
    pub attempt: u32,
    /// Its state.
    pub state: SandboxState,
    /// When it was made.
    pub created_at: Timestamp,
    /// Its labels.
    pub labels: BTreeMap<String, String>,
    /// Its annotations.
    pub annotations: BTreeMap<String, String>,
}

impl SandboxSummary {
    /// The summary of a sandbox made from `config`.
    #[must_use]
    pub fn new(
        id: SandboxId,
        config: &SandboxConfig,
        state: SandboxState,
        created_at: Timestamp,
    ) -> Self {
        Self {
            id,
            name: config.name.clone(),
            namespace: config.namespace.clone(),
            uid: config.uid.clone(),
            attempt: config.attempt,
            state,
            created_at,
            labels: config.labels.clone(),
            annotations: config.annotations.clone(),
        }
    }
}

/// A sandbox in full.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct SandboxStatus {
    /// What a list shows.
    pub summary: SandboxSummary,
    /// Its addresses, the primary one first; none with the node's network.
    pub ips: Vec<IpAddr>,
}

impl SandboxStatus {
    /// The status of a sandbox with `ips`.
    #[must_use]
    pub fn new(summary: SandboxSummary, ips: Vec<IpAddr>) -> Self {
        Self { summary, ips }
    }
}

/// Which sandboxes to list. The default lists all.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct SandboxFilter {
    /// Only this one.
    pub id: Option<SandboxId>,
    /// Only those in this state.
    pub state: Option<SandboxState>,
    /// Only those with all of these labels.
    pub labels: BTreeMap<String, String>,
}

chainable!(SandboxFilter {
    id: into Option<SandboxId>,
    state: into Option<SandboxState>,
    labels: pairs String,
});

impl SandboxFilter {
    /// Whether a sandbox passes.
    #[must_use]
    pub fn matches(
        &self,
        id: &SandboxId,
        state: SandboxState,
        labels: &BTreeMap<String, String>,
    ) -> bool {
        self.id.as_ref().is_none_or(|wanted| wanted == id)
            && self.state.is_none_or(|wanted| wanted == state)
            && holds(labels, &self.labels)
    }
}

/// Whether `labels` hold all of `wanted`.
pub(super) fn holds(labels: &BTreeMap<String, String>, wanted: &BTreeMap<String, String>) -> bool {
    wanted.iter().all(|(key, value)| labels.get(key) == Some(value))
}
