//! How a [`NodeAgent`](super::NodeAgent) works.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use k8s_openapi::api::core::v1::Taint;

use crate::probe::{NetworkProber, Prober};
use crate::runtime::chain::chainable;

/// How often a node's Lease is renewed.
/// <https://kubernetes.io/docs/concepts/architecture/nodes/#node-heartbeats>
pub const LEASE_RENEW_INTERVAL: Duration = Duration::from_secs(10);
/// How long a Lease holds.
pub const LEASE_DURATION_SECONDS: i32 = 40;
/// How often a node looks at itself, and writes its status if that changed.
pub const STATUS_INTERVAL: Duration = Duration::from_secs(10);
/// How often a status is written that did not change.
pub const STATUS_REPORT_INTERVAL: Duration = Duration::from_secs(300);
/// How many pods a node takes unless told otherwise.
pub const DEFAULT_MAX_PODS: u32 = 110;

/// How an agent works. The default is a node at `127.0.0.1` that is called as its machine, has
/// what its machine has, and keeps nothing on disk.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct AgentOptions {
    /// The node's name; empty for the machine's.
    pub name: String,
    /// Where the node is reached, the primary address first.
    pub addresses: Vec<IpAddr>,
    /// Labels besides those that every node has.
    pub labels: BTreeMap<String, String>,
    /// Taints that the node registers with.
    pub taints: Vec<Taint>,
    /// What the node has, as quantities; what is missing here is the machine's.
    pub capacity: BTreeMap<String, String>,
    /// What of it is kept for the system.
    pub reserved: BTreeMap<String, String>,
    /// How many pods it takes.
    pub max_pods: u32,
    /// Where volumes, logs and messages of containers are kept. Without one nothing is written:
    /// that is for runtimes that run nothing.
    pub data_dir: Option<PathBuf>,
    /// Who asks probes.
    pub prober: Arc<dyn Prober>,
    /// The port of the agent's own API, as the Node tells it; zero for none.
    pub port: u16,
    /// The node is cordoned from its first moment.
    pub unschedulable: bool,
}

impl Default for AgentOptions {
    fn default() -> Self {
        Self {
            name: String::new(),
            addresses: vec![Ipv4Addr::LOCALHOST.into()],
            labels: BTreeMap::new(),
            taints: Vec::new(),
            capacity: BTreeMap::new(),
            reserved: BTreeMap::new(),
            max_pods: DEFAULT_MAX_PODS,
            data_dir: None,
            prober: Arc::new(NetworkProber),
            port: 0,
            unschedulable: false,
        }
    }
}

chainable!(AgentOptions {
    name: into String,
    addresses: each IpAddr,
    labels: pairs String,
    taints: each Taint,
    capacity: pairs String,
    reserved: pairs String,
    max_pods: into u32,
    data_dir: into Option<PathBuf>,
    port: into u16,
    unschedulable: into bool,
});

impl AgentOptions {
    /// Asks probes through `prober`.
    #[must_use]
    pub fn prober(mut self, prober: impl Prober) -> Self {
        self.prober = Arc::new(prober);
        self
    }
}
