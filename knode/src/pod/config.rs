//! What sandboxes and containers are made from.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use k8s_openapi::api::core::v1::{
    Container, Pod, PodSecurityContext, PodSpec, ResourceRequirements,
};
use kcore::quantity::Quantity;

use super::{Member, Role, uid};
use crate::runtime::{
    ContainerConfig, DnsConfig, Mount, PortMapping, Protocol, Resources, SandboxConfig,
    SecurityContext,
};
use crate::{Error, Result};

/// The label of sandboxes and containers that holds their pod's name.
pub const POD_NAME_LABEL: &str = "io.kubernetes.pod.name";
/// The label of sandboxes and containers that holds their pod's namespace.
pub const POD_NAMESPACE_LABEL: &str = "io.kubernetes.pod.namespace";
/// The label of sandboxes and containers that holds their pod's uid.
pub const POD_UID_LABEL: &str = "io.kubernetes.pod.uid";
/// The label of containers that holds their name.
pub const CONTAINER_NAME_LABEL: &str = "io.kubernetes.container.name";
/// The annotation of containers that tells what they were made from.
pub const HASH_ANNOTATION: &str = "io.kubernetes.container.hash";
/// The annotation of containers that holds the host's path of what they leave to be read.
pub const MESSAGE_PATH_ANNOTATION: &str = "io.kubernetes.container.terminationMessageHostPath";
/// The annotation of containers that says where else a message is looked for.
pub const MESSAGE_POLICY_ANNOTATION: &str = "io.kubernetes.container.terminationMessagePolicy";
/// Where a container leaves its message unless it says otherwise.
pub const MESSAGE_PATH: &str = "/dev/termination-log";
/// The longest host name that Linux takes.
const MAX_HOSTNAME: usize = 63;
/// The period of CPU quotas, in microseconds.
const CPU_PERIOD_US: u64 = 100_000;
/// The smallest CPU quota that the kernel takes, in microseconds.
const MIN_CPU_QUOTA_US: i64 = 1000;
/// The smallest CPU weight that the kernel takes.
const MIN_CPU_SHARES: u64 = 2;
/// The largest CPU weight that the kernel takes.
const MAX_CPU_SHARES: u64 = 262_144;

fn pod_labels(pod: &Pod) -> BTreeMap<String, String> {
    let text = |value: &Option<String>| value.clone().unwrap_or_default();
    [
        (POD_NAME_LABEL, text(&pod.metadata.name)),
        (POD_NAMESPACE_LABEL, text(&pod.metadata.namespace)),
        (POD_UID_LABEL, uid(pod).to_owned()),
    ]
    .map(|(name, value)| (name.to_owned(), value))
    .into()
}

/// The host name that the pod's containers see.
#[must_use]
pub fn hostname(pod: &Pod) -> String {
    let spec = pod.spec.as_ref();
    let own = spec.and_then(|spec| spec.hostname_override.as_ref().or(spec.hostname.as_ref()));
    let name = own.or(pod.metadata.name.as_ref()).cloned().unwrap_or_default();
    let cut: String = name.chars().take(MAX_HOSTNAME).collect();
    // A cut may leave what no host name ends with.
    cut.trim_end_matches(['-', '.']).to_owned()
}

/// The directory of a pod's logs below the node's: `<namespace>_<name>_<uid>`.
#[must_use]
pub fn log_directory(root: &Path, pod: &Pod) -> PathBuf {
    let text = |value: &Option<String>| value.clone().unwrap_or_default();
    let meta = &pod.metadata;
    root.join(format!("{}_{}_{}", text(&meta.namespace), text(&meta.name), uid(pod)))
}

/// What the pod's sandbox is made from.
#[must_use]
pub fn sandbox_config(pod: &Pod, attempt: u32, log_root: Option<&Path>) -> SandboxConfig {
    let empty = PodSpec::default();
    let spec = pod.spec.as_ref().unwrap_or(&empty);
    let mut labels = pod.metadata.labels.clone().unwrap_or_default();
    labels.extend(pod_labels(pod));
    let mut config = SandboxConfig::default()
        .name(pod.metadata.name.clone().unwrap_or_default())
        .namespace(pod.metadata.namespace.clone().unwrap_or_default())
        .uid(uid(pod))
        .attempt(attempt)
        .hostname(hostname(pod))
        .host_network(spec.host_network == Some(true))
        .port_mappings(port_mappings(spec));
    config.labels = labels;
    config.annotations = pod.metadata.annotations.clone().unwrap_or_default();
    config.log_directory = log_root.map(|root| log_directory(root, pod));
    if let Some(dns) = &spec.dns_config {
        let options = dns.options.iter().flatten().map(|option| {
            let name = option.name.clone().unwrap_or_default();
            option.value.as_ref().map_or(name.clone(), |value| format!("{name}:{value}"))
        });
        config.dns = DnsConfig::default()
            .servers(dns.nameservers.iter().flatten().cloned())
            .searches(dns.searches.iter().flatten().cloned())
            .options(options);
    }
    config
}

fn port_mappings(spec: &PodSpec) -> Vec<PortMapping> {
    // With the node's network a container's port is the node's already.
    let containers = spec.containers.iter().filter(|_| spec.host_network != Some(true));
    let ports = containers.flat_map(|container| container.ports.iter().flatten());
    ports
        .filter_map(|port| {
            let host = u16::try_from(port.host_port?).ok().filter(|host| *host > 0)?;
            let protocol = match port.protocol.as_deref() {
                Some("UDP") => Protocol::Udp,
                Some("SCTP") => Protocol::Sctp,
                _ => Protocol::Tcp,
            };
            let inner = u16::try_from(port.container_port).ok()?;
            let ip = port.host_ip.as_ref().and_then(|ip| ip.parse().ok());
            Some(PortMapping::new(protocol, inner, host).host_ip(ip))
        })
        .collect()
}

/// What of a container is made outside of its specification.
#[derive(Debug, Clone, Default)]
pub struct ContainerParts {
    /// How often it was restarted before.
    pub attempt: u32,
    /// What the image is called by the runtime.
    pub image: String,
    /// The command, its variables filled in.
    pub command: Vec<String>,
    /// The arguments, their variables filled in.
    pub args: Vec<String>,
    /// The environment.
    pub envs: Vec<(String, String)>,
    /// Volumes, and the file for its message.
    pub mounts: Vec<Mount>,
    /// The host's path of that file.
    pub message_path: Option<PathBuf>,
    /// The node's memory, in bytes; zero if unknown.
    pub node_memory_bytes: u64,
}

/// What a container is made from.
///
/// # Errors
/// [`InvalidConfig`](Error::InvalidConfig) if it may not run as root and would.
pub fn container_config(
    pod: &Pod,
    member: &Member<'_>,
    parts: ContainerParts,
) -> Result<ContainerConfig> {
    let container = &*member.container;
    let security = security_context(pod, container)?;
    let resources = resources(pod, member, parts.node_memory_bytes);
    let mut config = ContainerConfig::default()
        .name(container.name.as_str())
        .attempt(parts.attempt)
        .image(parts.image)
        .command(parts.command)
        .args(parts.args)
        .working_dir(container.working_dir.clone().unwrap_or_default())
        .envs(parts.envs)
        .mounts(parts.mounts)
        .log_path(PathBuf::from(&container.name).join(format!("{}.log", parts.attempt)))
        .stdin(container.stdin == Some(true))
        .tty(container.tty == Some(true))
        .security(security)
        .resources(resources);
    config.labels = pod_labels(pod);
    config.labels.insert(CONTAINER_NAME_LABEL.to_owned(), container.name.clone());
    let mut note = |name: &str, value: String| {
        config.annotations.insert(name.to_owned(), value);
    };
    note(HASH_ANNOTATION, container_hash(container));
    if let Some(path) = parts.message_path {
        note(MESSAGE_PATH_ANNOTATION, path.display().to_string());
    }
    if let Some(policy) = &container.termination_message_policy {
        note(MESSAGE_POLICY_ANNOTATION, policy.clone());
    }
    Ok(config)
}

/// What tells whether a container was made from this specification: its name and its image, as
/// the rest cannot change while it lives.
#[must_use]
pub fn container_hash(container: &Container) -> String {
    let image = container.image.as_deref().unwrap_or_default();
    // Neither holds a zero byte, so no two pairs run together into one text.
    let text = [container.name.as_bytes(), b"\0", image.as_bytes()].concat();
    format!("{:x}", fnv1a(&text))
}

/// FNV-1a: the same everywhere and for ever, as what is written beside a container must be.
fn fnv1a(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
        (hash ^ u64::from(*byte)).wrapping_mul(0x100_0000_01b3)
    })
}

fn narrow(field: &str, id: i64) -> Result<u32> {
    u32::try_from(id).map_err(|_| Error::InvalidConfig {
        field: field.to_owned(),
        reason: format!("{id} is no user or group, use 0 to {}", u32::MAX),
    })
}

/// As whom a container runs: what it says itself goes before what its pod says.
fn security_context(pod: &Pod, container: &Container) -> Result<SecurityContext> {
    let empty = PodSecurityContext::default();
    let of_pod = pod.spec.as_ref().and_then(|spec| spec.security_context.as_ref());
    let of_pod = of_pod.unwrap_or(&empty);
    let own = container.security_context.clone().unwrap_or_default();
    let user = own.run_as_user.or(of_pod.run_as_user);
    let user = user.map(|id| narrow("securityContext.runAsUser", id)).transpose()?;
    let group = own.run_as_group.or(of_pod.run_as_group);
    let group = group.map(|id| narrow("securityContext.runAsGroup", id)).transpose()?;
    let not_root = own.run_as_non_root.or(of_pod.run_as_non_root) == Some(true);
    if not_root && user == Some(0) {
        return Err(Error::InvalidConfig {
            field: "securityContext.runAsUser".to_owned(),
            reason: format!(
                "container's runAsUser breaks non-root policy (pod: {:?}, container: {})",
                super::described(pod),
                container.name
            ),
        });
    }
    let mut groups = of_pod.supplemental_groups.clone().unwrap_or_default();
    groups.extend(of_pod.fs_group);
    let groups = groups.iter().map(|id| narrow("securityContext.supplementalGroups", *id));
    let capabilities = own.capabilities.unwrap_or_default();
    Ok(SecurityContext::default()
        .run_as_user(user)
        .run_as_group(group)
        .supplemental_groups(groups.collect::<Result<Vec<u32>>>()?)
        .read_only_root(own.read_only_root_filesystem == Some(true))
        .privileged(own.privileged == Some(true))
        .no_new_privs(own.allow_privilege_escalation == Some(false))
        .add_capabilities(capabilities.add.unwrap_or_default())
        .drop_capabilities(capabilities.drop.unwrap_or_default()))
}

/// A quantity of a container's requests or limits; what cannot be read is none: the API server
/// has refused it.
fn amount(
    requirements: Option<&ResourceRequirements>,
    limit: Limit,
    name: &str,
) -> Option<Quantity> {
    let requirements = requirements?;
    let map = match limit {
        Limit::Requests => &requirements.requests,
        Limit::Limits => &requirements.limits,
    };
    Quantity::from_api(map.as_ref()?.get(name)?).ok()
}

#[derive(Clone, Copy)]
enum Limit {
    Requests,
    Limits,
}

fn resources(pod: &Pod, member: &Member<'_>, node_memory: u64) -> Resources {
    let own = member.container.resources.as_ref();
    let milli = |limit| amount(own, limit, "cpu").map(|cpu| cpu.milli());
    let (request, limit) = (milli(Limit::Requests), milli(Limit::Limits));
    let memory = amount(own, Limit::Limits, "memory").and_then(|it| u64::try_from(it.units()).ok());
    let shares = request.or(limit).and_then(|milli| u64::try_from(milli).ok()).unwrap_or_default();
    let shares = (shares.saturating_mul(1024) / 1000).clamp(MIN_CPU_SHARES, MAX_CPU_SHARES);
    let quota = limit.filter(|milli| *milli > 0).map(|milli| {
        let period = i64::try_from(CPU_PERIOD_US).unwrap_or(i64::MAX);
        (milli.saturating_mul(period) / 1000).max(MIN_CPU_QUOTA_US)
    });
    Resources::default()
        .cpu_shares(Some(shares))
        .cpu_quota_us(quota)
        .cpu_period_us(quota.map(|_| CPU_PERIOD_US))
        .memory_bytes(memory.filter(|bytes| *bytes > 0))
        .oom_score_adj(Some(oom_score_adj(pod, member, node_memory)))
}

/// A pod's quality of service.
/// <https://kubernetes.io/docs/concepts/workloads/pods/pod-qos/>
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Qos {
    /// Every limit is there, and is the request.
    Guaranteed,
    Burstable,
    /// Nothing is asked for and nothing is limited.
    BestEffort,
}

/// As the API server said, or as it would have.
fn qos(pod: &Pod) -> Qos {
    match pod.status.as_ref().and_then(|status| status.qos_class.as_deref()) {
        Some("Guaranteed") => return Qos::Guaranteed,
        Some("Burstable") => return Qos::Burstable,
        Some("BestEffort") => return Qos::BestEffort,
        _ => {}
    }
    let Some(spec) = &pod.spec else { return Qos::BestEffort };
    let containers = spec.init_containers.iter().flatten().chain(&spec.containers);
    let pairs = containers.flat_map(|container| {
        let own = container.resources.as_ref();
        let some = |it: Option<Quantity>| it.filter(|it| it.milli() > 0);
        ["cpu", "memory"].map(|name| {
            let limit = some(amount(own, Limit::Limits, name));
            // The API server takes a limit for the request where there is none.
            (some(amount(own, Limit::Requests, name)).or(limit), limit)
        })
    });
    let pairs: Vec<_> = pairs.collect();
    if pairs.iter().all(|(request, limit)| request.is_none() && limit.is_none()) {
        Qos::BestEffort
    } else if pairs.iter().all(|(request, limit)| limit.is_some() && request == limit) {
        Qos::Guaranteed
    } else {
        Qos::Burstable
    }
}

/// How eagerly the kernel kills: pods that the node cannot do without last, those that reserved
/// nothing first.
/// <https://kubernetes.io/docs/concepts/scheduling-eviction/node-pressure-eviction/#node-out-of-memory-behavior>
fn oom_score_adj(pod: &Pod, member: &Member<'_>, node_memory: u64) -> i32 {
    /// The priority of `system-node-critical`.
    const NODE_CRITICAL: i32 = 2_000_001_000;
    /// Of pods whose requests are their limits.
    const GUARANTEED: i32 = -997;
    const BEST_EFFORT: i32 = 1000;
    let spec = pod.spec.as_ref();
    if spec.and_then(|spec| spec.priority).is_some_and(|priority| priority >= NODE_CRITICAL) {
        return GUARANTEED;
    }
    match qos(pod) {
        Qos::Guaranteed => return GUARANTEED,
        Qos::BestEffort => return BEST_EFFORT,
        Qos::Burstable => {}
    }
    let asked = |container: &Container| {
        let request = amount(container.resources.as_ref(), Limit::Requests, "memory");
        request.map_or(0, |request| request.units().max(0))
    };
    let mut bytes = asked(&member.container);
    if member.role == Role::Sidecar {
        // It is not killed before a container that it serves.
        let served = spec.iter().flat_map(|spec| &spec.containers).map(asked).min();
        bytes = bytes.max(served.unwrap_or_default());
    }
    // The larger its share of the node that it asked for, the later it is killed.
    let node = i64::try_from(node_memory).unwrap_or(i64::MAX).max(1);
    let share = i64::try_from(i128::from(bytes) * 1000 / i128::from(node));
    let score = 1000_i64.saturating_sub(share.unwrap_or(i64::MAX));
    i32::try_from(score.clamp(3, 999)).unwrap_or(BEST_EFFORT)
}

#[cfg(test)]
#[path = "config_tests.rs"]
mod tests;
