//! Features of nodes that a pod cannot run without (KEP-5328).

use k8s_openapi::api::core::v1::{Node, PodSpec};

/// The features that decide where a pod may run, of those that Kubernetes 1.37 knows; the others
/// decide only how a pod may be changed, or are asked about elsewhere. None of them has a version
/// after which every node is taken to have it.
const NAMES: [&str; 3] = [
    "RestartAllContainersOnContainerExits",
    "UserNamespacesHostNetworkSupport",
    "VolumeBindMountOptions",
];

/// The features that a node has to declare for a pod to run there, as they follow from the pod's
/// spec. Empty for most pods; and for all where the API is that of Kubernetes 1.34 or before, in
/// which nodes declare nothing.
/// <https://kubernetes.io/docs/concepts/scheduling-eviction/node-declared-features/>
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct RequiredFeatures(u8);

impl RequiredFeatures {
    /// Those that follow from a spec.
    #[must_use]
    pub fn of(spec: &PodSpec) -> Self {
        inferred(spec)
    }

    /// Whether any node will do.
    #[must_use]
    pub fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// Their names, as nodes declare them.
    pub fn names(self) -> impl Iterator<Item = &'static str> {
        let named = NAMES.into_iter().enumerate();
        named.filter(move |(bit, _)| self.0 & (1 << bit) != 0).map(|(_, name)| name)
    }

    /// Whether all of them are among those that a node declares.
    #[must_use]
    pub fn are_among(self, declared: &[String]) -> bool {
        self.names().all(|name| declared.iter().any(|declared| declared == name))
    }
}

k8s_openapi::k8s_if_ge_1_35! {
    fn inferred(spec: &PodSpec) -> RequiredFeatures {
        let needs = [restarts_all(spec), maps_users_on_host_network(spec), has_mount_options(spec)];
        let bits = needs.into_iter().enumerate().map(|(bit, needs)| u8::from(needs) << bit);
        RequiredFeatures(bits.sum())
    }

    /// Whether the exit of a container may restart all of them (KEP-5532).
    fn restarts_all(spec: &PodSpec) -> bool {
        let containers = spec.containers.iter().chain(spec.init_containers.iter().flatten());
        let mut rules = containers.flat_map(|one| one.restart_policy_rules.iter().flatten());
        rules.any(|rule| rule.action == "RestartAllContainers")
    }

    /// Whether the pod has users of its own, but the network of the node.
    fn maps_users_on_host_network(spec: &PodSpec) -> bool {
        spec.host_network == Some(true) && spec.host_users == Some(false)
    }

    /// What a node declares, in the order of its status.
    pub(crate) fn declared_features(node: &Node) -> &[String] {
        let status = node.status.as_ref();
        status.and_then(|status| status.declared_features.as_deref()).unwrap_or_default()
    }
}

k8s_openapi::k8s_if_le_1_34! {
    fn inferred(_: &PodSpec) -> RequiredFeatures {
        RequiredFeatures::default()
    }

    /// Nodes have no such field yet.
    pub(crate) fn declared_features(_: &Node) -> &[String] {
        &[]
    }
}

k8s_openapi::k8s_if_ge_1_37! {
    /// Whether a container of any kind mounts a volume with options of its own.
    fn has_mount_options(spec: &PodSpec) -> bool {
        let containers = spec.containers.iter().chain(spec.init_containers.iter().flatten());
        let debugging = spec.ephemeral_containers.iter().flatten();
        let mounts = containers.map(|one| &one.volume_mounts);
        let mut mounts = mounts.chain(debugging.map(|one| &one.volume_mounts)).flatten().flatten();
        mounts.any(|mount| mount.bind_mount_options.as_ref().is_some_and(|all| !all.is_empty()))
    }
}

k8s_openapi::k8s_if_ge_1_35! {
    k8s_openapi::k8s_if_le_1_36! {
        /// Nobody can ask for them yet.
        fn has_mount_options(_: &PodSpec) -> bool {
            false
        }
    }
}
