//! What a node knows of a pod that the pod's object may not say yet.

use std::net::IpAddr;

use kcore::quantity::Quantity;

use crate::runtime::chain::chainable;

/// What a node knows of a pod it runs.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct PodFacts {
    /// The node's name.
    pub node_name: String,
    /// The node's addresses, the primary one first.
    pub host_ips: Vec<IpAddr>,
    /// The pod's addresses, the primary one first; none before its sandbox is there.
    pub pod_ips: Vec<IpAddr>,
    /// What the node can give to pods: what a container without a limit may use.
    pub allocatable: Allocatable,
}

chainable!(PodFacts {
    node_name: into String,
    host_ips: each IpAddr,
    pod_ips: each IpAddr,
    allocatable: into Allocatable,
});

/// What a node can give to pods.
/// <https://kubernetes.io/docs/tasks/administer-cluster/reserve-compute-resources/>
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Allocatable {
    /// CPU, in cores.
    pub cpu: Quantity,
    /// Memory, in bytes.
    pub memory: Quantity,
    /// Local storage, in bytes.
    pub ephemeral_storage: Quantity,
}

chainable!(Allocatable {
    cpu: into Quantity,
    memory: into Quantity,
    ephemeral_storage: into Quantity,
});
