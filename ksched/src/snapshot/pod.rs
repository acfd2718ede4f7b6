//! A pod, read once.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, LazyLock};

use k8s_openapi::api::core::v1::{Pod, PodSpec};

use super::Affinities;
use super::resources::Resources;
use super::template::{NO_LABELS, PodTemplate};

/// What a pod without a spec has.
static NO_SPEC: LazyLock<PodSpec> = LazyLock::new(PodSpec::default);

/// A port that a pod takes on its node.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct HostPort {
    /// The address; `0.0.0.0` is every address.
    pub ip: String,
    /// `TCP`, `UDP` or `SCTP`.
    pub protocol: String,
    /// The port.
    pub port: i32,
}

impl HostPort {
    /// Whether two pods cannot both have theirs on one node.
    #[must_use]
    pub fn conflicts(&self, other: &Self) -> bool {
        const ANY: &str = "0.0.0.0";
        self.port == other.port
            && self.protocol == other.protocol
            && (self.ip == other.ip || self.ip == ANY || other.ip == ANY)
    }
}

/// A pod and what the scheduler computes of it once.
#[derive(Clone)]
pub struct PodInfo {
    pod: Arc<Pod>,
    uid: Arc<str>,
    key: Arc<str>,
    template: Arc<PodTemplate>,
}

impl PodInfo {
    /// Reads a pod by itself. Where there are many alike, [`Templates`](super::Templates) reads
    /// each shape once.
    #[must_use]
    pub fn new(pod: Arc<Pod>) -> Self {
        let template = Arc::new(PodTemplate::new(&pod, 0));
        Self::with_template(pod, template)
    }

    /// A pod of a known shape.
    pub(super) fn with_template(pod: Arc<Pod>, template: Arc<PodTemplate>) -> Self {
        let meta = &pod.metadata;
        let namespace = meta.namespace.as_deref().unwrap_or_default();
        let name = meta.name.as_deref().unwrap_or_default();
        let key: Arc<str> = format!("{namespace}/{name}").into();
        // A pod that never met a server is told apart by its name.
        let uid = meta.uid.as_deref().filter(|uid| !uid.is_empty());
        let uid = uid.map_or_else(|| Arc::clone(&key), Arc::from);
        Self { uid, key, template, pod }
    }

    /// The same pod under a uid of its own, as simulations of many replicas need it: they share
    /// everything else.
    #[must_use]
    pub fn replica(&self, uid: &str) -> Self {
        Self { uid: uid.into(), ..self.clone() }
    }

    pub(super) fn shaped(self, template: Arc<PodTemplate>) -> Self {
        Self { template, ..self }
    }

    /// What it shares with all pods of its shape.
    #[must_use]
    pub fn template(&self) -> &Arc<PodTemplate> {
        &self.template
    }

    /// The pod.
    #[must_use]
    pub fn pod(&self) -> &Arc<Pod> {
        &self.pod
    }

    /// Its spec; empty if it has none.
    #[must_use]
    pub fn spec(&self) -> &PodSpec {
        self.pod.spec.as_ref().unwrap_or_else(|| &NO_SPEC)
    }

    /// Its uid.
    #[must_use]
    pub fn uid(&self) -> &str {
        &self.uid
    }

    pub(crate) fn shared_uid(&self) -> &Arc<str> {
        &self.uid
    }

    /// `namespace/name`.
    #[must_use]
    pub fn key(&self) -> &str {
        &self.key
    }

    /// Its namespace.
    #[must_use]
    pub fn namespace(&self) -> &str {
        self.pod.metadata.namespace.as_deref().unwrap_or_default()
    }

    /// Its name.
    #[must_use]
    pub fn name(&self) -> &str {
        self.pod.metadata.name.as_deref().unwrap_or_default()
    }

    /// Whether two states of one pod differ in nothing that is read of pods on nodes.
    pub(crate) fn says_the_same(&self, other: &Self) -> bool {
        let said = |pod: &Self| {
            let status = pod.pod.status.as_ref();
            let started = status.and_then(|status| status.start_time.clone());
            let mut all = status.iter().flat_map(|status| status.conditions.iter().flatten());
            (started, all.any(|condition| condition.type_ == "DisruptionTarget"))
        };
        said(self) == said(other)
    }

    /// Its priority; zero if it has none.
    #[must_use]
    pub fn priority(&self) -> i32 {
        self.spec().priority.unwrap_or_default()
    }

    /// The node it is on, or chosen for; empty while there is none.
    #[must_use]
    pub fn node_name(&self) -> &str {
        self.spec().node_name.as_deref().unwrap_or_default()
    }

    /// The node that is kept for it; empty if there is none.
    #[must_use]
    pub fn nominated_node(&self) -> &str {
        let status = self.pod.status.as_ref();
        status.and_then(|status| status.nominated_node_name.as_deref()).unwrap_or_default()
    }

    /// Its labels.
    #[must_use]
    pub fn labels(&self) -> &BTreeMap<String, String> {
        self.pod.metadata.labels.as_ref().unwrap_or(&NO_LABELS)
    }

    /// Whether it is being deleted.
    #[must_use]
    pub fn is_terminating(&self) -> bool {
        self.pod.metadata.deletion_timestamp.is_some()
    }

    /// Its terms of affinity to and from other pods.
    #[must_use]
    pub fn affinities(&self) -> &Affinities {
        &self.template.affinities
    }

    /// What it asks for.
    #[must_use]
    pub fn requests(&self) -> &Resources {
        &self.template.requests
    }

    /// CPU in thousandths and memory in bytes it counts with when nodes are scored.
    #[must_use]
    pub fn scoring_requests(&self) -> (i64, i64) {
        self.template.scoring
    }

    /// The ports it takes on its node.
    #[must_use]
    pub fn host_ports(&self) -> &[HostPort] {
        &self.template.ports
    }
}

impl fmt::Debug for PodInfo {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PodInfo").field("key", &self.key).field("uid", &self.uid).finish()
    }
}

pub(super) fn host_ports(pod: &Pod) -> Vec<HostPort> {
    let Some(spec) = &pod.spec else { return Vec::new() };
    let sidecars = spec.init_containers.iter().flatten();
    let sidecars =
        sidecars.filter(|container| container.restart_policy.as_deref() == Some("Always"));
    let ports = spec.containers.iter().chain(sidecars).flat_map(|c| c.ports.iter().flatten());
    let taken = ports.filter_map(|port| {
        let filled = |text: &Option<String>, default: &str| match text.as_deref() {
            None | Some("") => default.to_owned(),
            Some(text) => text.to_owned(),
        };
        port.host_port.filter(|port| *port > 0).map(|number| HostPort {
            ip: filled(&port.host_ip, "0.0.0.0"),
            protocol: filled(&port.protocol, "TCP"),
            port: number,
        })
    });
    taken.collect()
}
