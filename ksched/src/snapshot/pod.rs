//! A pod, read once.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, LazyLock, OnceLock};

use k8s_openapi::api::core::v1::{Pod, PodSpec, Volume};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use kcore::object::Object;

use super::resources::Resources;
use super::template::{Details, NO_LABELS, PodTemplate};
use super::{Affinities, RequiredFeatures};

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
///
/// What is read of other pods in every pass over the nodes is here or in the [`PodTemplate`]. Of a
/// pod that has a node the whole object is [read again](Self::pod) when somebody asks for it, so
/// that a cluster of many pods costs little memory.
#[derive(Clone)]
pub struct PodInfo {
    body: Body,
    uid: Arc<str>,
    key: Arc<str>,
    template: Arc<PodTemplate>,
}

/// Where the rest of a pod is.
#[derive(Clone)]
enum Body {
    Held(Arc<Pod>),
    Placed(Arc<Placed>),
}

/// What is kept of a pod with a node.
struct Placed {
    object: Object,
    /// The pod itself, once somebody has asked for it.
    pod: OnceLock<Arc<Pod>>,
    node: Box<str>,
    started: Option<Time>,
    terminating: bool,
    disrupted: bool,
}

impl Placed {
    fn new(object: Object, pod: &Pod) -> Self {
        Self {
            object,
            pod: OnceLock::new(),
            node: node_name(pod).into(),
            started: started(pod).cloned(),
            terminating: is_terminating(pod),
            disrupted: is_disrupted(pod),
        }
    }
}

fn node_name(pod: &Pod) -> &str {
    let spec = pod.spec.as_ref();
    spec.and_then(|spec| spec.node_name.as_deref()).unwrap_or_default()
}

fn started(pod: &Pod) -> Option<&Time> {
    pod.status.as_ref().and_then(|status| status.start_time.as_ref())
}

fn is_terminating(pod: &Pod) -> bool {
    pod.metadata.deletion_timestamp.is_some()
}

fn is_disrupted(pod: &Pod) -> bool {
    let mut conditions = pod.status.iter().flat_map(|status| status.conditions.iter().flatten());
    conditions.any(|condition| condition.type_ == "DisruptionTarget")
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
        let (uid, key) = names(&pod);
        Self { uid, key, template, body: Body::Held(pod) }
    }

    /// A pod of a known shape with a node, which is read again from its object when it is asked
    /// for.
    pub(super) fn placed(object: Object, pod: &Pod, template: Arc<PodTemplate>) -> Self {
        let (uid, key) = names(pod);
        let body = Body::Placed(Arc::new(Placed::new(object, pod)));
        Self { uid, key, template, body }
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

    fn details(&self) -> Option<&Details> {
        self.template.details.as_deref()
    }

    /// The pod. One that has a node may have to be decoded first, and its object stays in memory
    /// then: for what is asked of many pods there are the other methods.
    #[must_use]
    pub fn pod(&self) -> &Arc<Pod> {
        match &self.body {
            Body::Held(pod) => pod,
            // It was read from this object before, so it can be again.
            Body::Placed(placed) => {
                placed.pod.get_or_init(|| placed.object.view().unwrap_or_default())
            }
        }
    }

    /// Its spec; empty if it has none. See [`pod`](Self::pod).
    #[must_use]
    pub fn spec(&self) -> &PodSpec {
        self.pod().spec.as_ref().unwrap_or_else(|| &NO_SPEC)
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
        self.key.split_once('/').map_or("", |(namespace, _)| namespace)
    }

    /// Its name.
    #[must_use]
    pub fn name(&self) -> &str {
        self.key.split_once('/').map_or("", |(_, name)| name)
    }

    /// When it started to run, if its node said so.
    #[must_use]
    pub fn started(&self) -> Option<&Time> {
        match &self.body {
            Body::Held(pod) => started(pod),
            Body::Placed(placed) => placed.started.as_ref(),
        }
    }

    /// Its priority; zero if it has none.
    #[must_use]
    pub fn priority(&self) -> i32 {
        self.template.priority
    }

    /// The node it is on, or chosen for; empty while there is none.
    #[must_use]
    pub fn node_name(&self) -> &str {
        match &self.body {
            Body::Held(pod) => node_name(pod),
            Body::Placed(placed) => &placed.node,
        }
    }

    /// The node that is kept for it; empty if there is none. See [`pod`](Self::pod).
    #[must_use]
    pub fn nominated_node(&self) -> &str {
        let status = self.pod().status.as_ref();
        status.and_then(|status| status.nominated_node_name.as_deref()).unwrap_or_default()
    }

    /// Its labels.
    #[must_use]
    pub fn labels(&self) -> &BTreeMap<String, String> {
        self.details().map_or(&NO_LABELS, |details| &details.labels)
    }

    /// Whether it is being deleted.
    #[must_use]
    pub fn is_terminating(&self) -> bool {
        match &self.body {
            Body::Held(pod) => is_terminating(pod),
            Body::Placed(placed) => placed.terminating,
        }
    }

    /// Whether whoever makes it leave has said so, by a condition `DisruptionTarget`.
    /// <https://kubernetes.io/docs/concepts/workloads/pods/disruptions/#pod-disruption-conditions>
    #[must_use]
    pub fn is_disrupted(&self) -> bool {
        match &self.body {
            Body::Held(pod) => is_disrupted(pod),
            Body::Placed(placed) => placed.disrupted,
        }
    }

    /// Its terms of affinity to and from other pods.
    #[must_use]
    pub fn affinities(&self) -> &Affinities {
        static NONE: Affinities = Affinities::new();
        self.details().map_or(&NONE, |details| &details.affinities)
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

    /// Its volumes, apart from what the node makes itself out of the API or of nothing
    /// (`configMap`, `secret`, `projected`, `downwardAPI`, `emptyDir`, `hostPath`).
    /// <https://kubernetes.io/docs/concepts/storage/volumes/>
    #[must_use]
    pub fn attached_volumes(&self) -> &[Volume] {
        self.details().map_or(&[], |details| &details.volumes)
    }

    /// The features that its node has to declare.
    #[must_use]
    pub fn required_features(&self) -> RequiredFeatures {
        self.template.features
    }

    /// The ports it takes on its node.
    #[must_use]
    pub fn host_ports(&self) -> &[HostPort] {
        self.details().map_or(&[], |details| &details.ports)
    }
}

impl fmt::Debug for PodInfo {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PodInfo").field("key", &self.key).field("uid", &self.uid).finish()
    }
}

/// A pod's uid, and its namespace with its name.
fn names(pod: &Pod) -> (Arc<str>, Arc<str>) {
    let meta = &pod.metadata;
    let namespace = meta.namespace.as_deref().unwrap_or_default();
    let name = meta.name.as_deref().unwrap_or_default();
    let key: Arc<str> = format!("{namespace}/{name}").into();
    // A pod that never met a server is told apart by its name.
    let uid = meta.uid.as_deref().filter(|uid| !uid.is_empty());
    (uid.map_or_else(|| Arc::clone(&key), Arc::from), key)
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

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::snapshot::Templates;

    fn object(status: &serde_json::Value, deletion: Option<&str>) -> Object {
        let pod = json!({"apiVersion": "v1", "kind": "Pod",
            "metadata": {"name": "p", "namespace": "n", "uid": "u", "labels": {"app": "a"},
                "deletionTimestamp": deletion},
            "spec": {"nodeName": "node", "priority": 7, "containers": [{"name": "c",
                "resources": {"requests": {"cpu": "2"}},
                "ports": [{"containerPort": 80, "hostPort": 8080}]}],
                "volumes": [{"name": "v", "persistentVolumeClaim": {"claimName": "claim"}},
                    {"name": "s", "secret": {"secretName": "secret"}}]},
            "status": status});
        Object::from_json(pod.to_string().as_bytes(), None).unwrap()
    }

    fn said(pod: &PodInfo) -> String {
        format!(
            "{pod:?} {} {} {} {} {} {:?} {} {} {:?} {:?} {:?} {:?}",
            pod.namespace(),
            pod.name(),
            pod.uid(),
            pod.node_name(),
            pod.priority(),
            pod.started(),
            pod.is_terminating(),
            pod.is_disrupted(),
            pod.labels(),
            pod.requests(),
            pod.host_ports(),
            pod.attached_volumes(),
        )
    }

    #[test]
    fn a_pod_on_a_node_is_known_without_being_held() {
        let disrupted = json!({"startTime": "2026-01-02T03:04:05Z",
            "conditions": [{"type": "DisruptionTarget", "status": "True"}]});
        let states = [
            object(&json!({}), None),
            object(&disrupted, None),
            object(&disrupted, Some("2026-01-02T03:05:00Z")),
        ];
        for object in states {
            let pod = object.view::<Pod>().unwrap();
            let whole = PodInfo::new(Arc::clone(&pod));
            let lean = Templates::default().read_placed(&object, &pod);
            assert_eq!(said(&lean), said(&whole));
            assert_eq!(lean.attached_volumes().len(), 1);
            drop((whole, pod));
            assert!(!object.drop_idle_view(), "nobody holds it");
            assert_eq!(lean.spec().containers[0].name, "c", "it is read again");
            assert_eq!(*lean.pod(), object.view::<Pod>().unwrap());
            assert!(object.drop_idle_view(), "and stays at hand then");
        }
    }
}
