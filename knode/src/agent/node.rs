//! What the agent says of its node: a plain function from what it knows to a Node.
//! <https://kubernetes.io/docs/reference/node/node-status/>

use std::collections::BTreeMap;
use std::net::IpAddr;

use jiff::Timestamp;
use k8s_openapi::api::core::v1::{
    ContainerImage, DaemonEndpoint, Node, NodeAddress, NodeCondition, NodeDaemonEndpoints,
    NodeSpec, NodeStatus, NodeSystemInfo,
};
use k8s_openapi::apimachinery::pkg::api::resource::Quantity as ApiQuantity;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use kcore::quantity::Quantity;

use super::machine::{Pressure, architecture};
use super::options::AgentOptions;
use crate::pod::status::whole_second;
use crate::runtime::Image;

/// How many images a Node names.
const MAX_IMAGES: usize = 50;

/// What is known of a node.
#[derive(Debug, Clone)]
pub(super) struct NodeView<'a> {
    pub(super) name: &'a str,
    pub(super) options: &'a AgentOptions,
    pub(super) info: &'a NodeSystemInfo,
    pub(super) capacity: &'a BTreeMap<String, Quantity>,
    pub(super) allocatable: &'a BTreeMap<String, Quantity>,
    pub(super) images: &'a [Image],
    pub(super) pressure: Pressure,
    /// Why the node is not ready; none if it is.
    pub(super) trouble: Option<&'a str>,
    pub(super) now: Timestamp,
}

/// The labels that every node has.
pub(super) fn labels(name: &str, options: &AgentOptions) -> BTreeMap<String, String> {
    let usual = [
        ("kubernetes.io/hostname", name),
        ("kubernetes.io/os", "linux"),
        ("kubernetes.io/arch", architecture()),
        ("beta.kubernetes.io/os", "linux"),
        ("beta.kubernetes.io/arch", architecture()),
    ];
    let usual = usual.map(|(key, value)| (key.to_owned(), value.to_owned()));
    usual.into_iter().chain(options.labels.clone()).collect()
}

/// The Node as it registers.
pub(super) fn compute_node(view: &NodeView<'_>) -> Node {
    let mut node = Node::default();
    node.metadata.name = Some(view.name.to_owned());
    node.metadata.labels = Some(labels(view.name, view.options));
    let taints = view.options.taints.clone();
    node.spec = Some(NodeSpec {
        taints: (!taints.is_empty()).then_some(taints),
        unschedulable: view.options.unschedulable.then_some(true),
        ..NodeSpec::default()
    });
    node.status = Some(compute_node_status(view, &NodeStatus::default()));
    node
}

/// The node's status. What others keep in it stays as it is in `before`.
pub(super) fn compute_node_status(view: &NodeView<'_>, before: &NodeStatus) -> NodeStatus {
    let quantities = |map: &BTreeMap<String, Quantity>| -> BTreeMap<String, ApiQuantity> {
        map.iter().map(|(name, quantity)| (name.clone(), quantity.to_api())).collect()
    };
    NodeStatus {
        addresses: Some(addresses(view.name, &view.options.addresses)),
        capacity: Some(quantities(view.capacity)),
        allocatable: Some(quantities(view.allocatable)),
        conditions: Some(conditions(view, before.conditions.as_deref().unwrap_or_default())),
        daemon_endpoints: Some(NodeDaemonEndpoints {
            kubelet_endpoint: (view.options.port > 0)
                .then(|| DaemonEndpoint { port: view.options.port.into() }),
        }),
        images: Some(images(view.images)),
        node_info: Some(view.info.clone()),
        ..before.clone()
    }
}

fn addresses(name: &str, addresses: &[IpAddr]) -> Vec<NodeAddress> {
    let address = |kind: &str, address: String| NodeAddress { type_: kind.to_owned(), address };
    let ips = addresses.iter().map(|ip| address("InternalIP", ip.to_string()));
    ips.chain([address("Hostname", name.to_owned())]).collect()
}

/// The largest images, as the Node has room for no more.
fn images(images: &[Image]) -> Vec<ContainerImage> {
    let mut sorted: Vec<&Image> = images.iter().collect();
    sorted.sort_by(|a, b| b.size_bytes.cmp(&a.size_bytes).then_with(|| a.id.cmp(&b.id)));
    let listed = sorted.into_iter().take(MAX_IMAGES).map(|image| ContainerImage {
        names: Some(image.tags.clone()),
        size_bytes: Some(i64::try_from(image.size_bytes).unwrap_or(i64::MAX)),
    });
    listed.collect()
}

fn conditions(view: &NodeView<'_>, before: &[NodeCondition]) -> Vec<NodeCondition> {
    let now = whole_second(view.now);
    let condition = |kind: &str, holds: bool, reason: &str, message: &str| {
        let status = if holds { "True" } else { "False" };
        let old = before.iter().find(|old| old.type_ == kind && old.status == status);
        NodeCondition {
            type_: kind.to_owned(),
            status: status.to_owned(),
            reason: Some(reason.to_owned()),
            message: Some(message.to_owned()),
            last_heartbeat_time: Some(Time(now)),
            last_transition_time: old
                .and_then(|old| old.last_transition_time.clone())
                .or(Some(Time(now))),
        }
    };
    let Pressure { memory, disk, processes } = view.pressure;
    let pick = |holds: bool, yes: &'static str, no: &'static str| if holds { yes } else { no };
    let ours = [
        condition(
            "MemoryPressure",
            memory,
            pick(memory, "KubeletHasInsufficientMemory", "KubeletHasSufficientMemory"),
            pick(
                memory,
                "kubelet has insufficient memory available",
                "kubelet has sufficient memory available",
            ),
        ),
        condition(
            "DiskPressure",
            disk,
            pick(disk, "KubeletHasDiskPressure", "KubeletHasNoDiskPressure"),
            pick(disk, "kubelet has disk pressure", "kubelet has no disk pressure"),
        ),
        condition(
            "PIDPressure",
            processes,
            pick(processes, "KubeletHasInsufficientPID", "KubeletHasSufficientPID"),
            pick(
                processes,
                "kubelet has insufficient PID available",
                "kubelet has sufficient PID available",
            ),
        ),
        match view.trouble {
            None => condition("Ready", true, "KubeletReady", "kubelet is posting ready status"),
            Some(trouble) => condition("Ready", false, "KubeletNotReady", trouble),
        },
    ];
    let others = before.iter().filter(|old| ours.iter().all(|new| new.type_ != old.type_));
    others.cloned().chain(ours.clone()).collect()
}

/// Whether two statuses say the same, the time of the heartbeat apart.
pub(super) fn says_the_same(a: &NodeStatus, b: &NodeStatus) -> bool {
    let still = |status: &NodeStatus| {
        let mut status = status.clone();
        for condition in status.conditions.iter_mut().flatten() {
            condition.last_heartbeat_time = None;
        }
        status
    };
    still(a) == still(b)
}

/// When the status was last written, by its own word.
pub(super) fn written_at(status: &NodeStatus) -> Option<Timestamp> {
    let conditions = status.conditions.iter().flatten();
    conditions.filter_map(|condition| condition.last_heartbeat_time.as_ref()).map(|at| at.0).max()
}

/// What pods may use: what the node has, less what is kept for the system.
pub(super) fn allocatable(
    capacity: &BTreeMap<String, Quantity>,
    reserved: &BTreeMap<String, Quantity>,
) -> BTreeMap<String, Quantity> {
    let mut left = capacity.clone();
    for (name, kept) in reserved {
        if let Some(quantity) = left.get_mut(name) {
            *quantity -= *kept;
            if quantity.signum() < 0 {
                *quantity = Quantity::default();
            }
        }
    }
    left
}
