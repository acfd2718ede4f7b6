//! What pods of one shape share.

use std::collections::BTreeMap;
use std::hash::{BuildHasher, Hash, Hasher};
use std::sync::Arc;

use k8s_openapi::api::core::v1::{Container, Pod, PodSpec, Volume};
use kcore::collections::HashMap;
use kcore::object::{Object, controller_of};

use super::pod::{HostPort, PodInfo, host_ports};
use super::resources::resized;
use super::{
    Affinities, DEFAULT_MEMORY, DEFAULT_MILLI_CPU, RequiredFeatures, Resources, pod_requests,
    pod_scoring_requests,
};

/// Shapes that are remembered at once; beyond, all are forgotten and learned anew.
pub const MAX_TEMPLATES: usize = 8_192;

/// What the scheduler reads of a pod besides its name: the same for all pods of one shape, such
/// as those of one ReplicaSet, and computed once for them.
#[derive(Debug, Clone)]
pub struct PodTemplate {
    id: u64,
    /// None for pods that have none of it.
    pub(super) details: Option<Arc<Details>>,
    pub(super) priority: i32,
    pub(super) features: RequiredFeatures,
    pub(super) requests: Resources,
    pub(super) scoring: (i64, i64),
}

/// What many pods have nothing of.
#[derive(Debug)]
pub(super) struct Details {
    pub(super) labels: BTreeMap<String, String>,
    /// Those that are more than files which the node makes.
    pub(super) volumes: Vec<Volume>,
    pub(super) ports: Vec<HostPort>,
    pub(super) affinities: Affinities,
}

impl Details {
    fn of(pod: &Pod) -> Option<Arc<Self>> {
        let this = Self {
            labels: pod.metadata.labels.clone().unwrap_or_default(),
            volumes: attached(pod),
            ports: host_ports(pod),
            affinities: Affinities::of(pod),
        };
        let has_any = !this.labels.is_empty()
            || !this.volumes.is_empty()
            || !this.ports.is_empty()
            || !this.affinities.is_empty();
        has_any.then(|| Arc::new(this))
    }
}

impl PodTemplate {
    pub(super) fn new(pod: &Pod, id: u64) -> Self {
        let scoring = pod_scoring_requests(pod);
        Self {
            id,
            details: Details::of(pod),
            priority: pod.spec.as_ref().and_then(|spec| spec.priority).unwrap_or_default(),
            features: required_features(pod),
            requests: pod_requests(pod),
            scoring: (scoring.milli_cpu, scoring.memory),
        }
    }

    /// Tells shapes apart: equal for pods that are alike in namespace, labels, controller and
    /// everything in their spec that scheduling may depend on. `None` if the pod was read by
    /// itself, without [`Templates`]: then nothing is known of others like it.
    #[must_use]
    pub fn signature(&self) -> Option<u64> {
        (self.id != 0).then_some(self.id)
    }
}

fn required_features(pod: &Pod) -> RequiredFeatures {
    pod.spec.as_ref().map(RequiredFeatures::of).unwrap_or_default()
}

fn attached(pod: &Pod) -> Vec<Volume> {
    let volumes = pod.spec.iter().flat_map(volumes);
    let made_by_the_node = |volume: &Volume| {
        volume.config_map.is_some()
            || volume.secret.is_some()
            || volume.empty_dir.is_some()
            || volume.downward_api.is_some()
            || volume.host_path.is_some()
    };
    volumes.filter(|volume| !made_by_the_node(volume)).cloned().collect()
}

/// One pod of a shape, and what is computed of it.
type Shape = (Arc<Pod>, Arc<PodTemplate>);

/// Reads pods, and knows those of one shape again.
///
/// Alike are pods in one namespace, with equal labels, one controller, and specs that are equal
/// in: node selector and affinity; tolerations; spread constraints; priority and preemption
/// policy; scheduler name; scheduling and resource claims; overhead and resources; images,
/// resources, ports and restart policies of containers; [required features](RequiredFeatures); and
/// volumes other than projected ones, whose names are drawn.
#[derive(Debug, Default)]
pub struct Templates {
    known: HashMap<u64, Vec<Shape>>,
    len: usize,
    ids: u64,
}

impl Templates {
    /// Reads a pod.
    pub fn read(&mut self, pod: Arc<Pod>) -> PodInfo {
        let template = self.template(&pod);
        PodInfo::with_template(pod, template)
    }

    /// Reads a pod that has a node, and keeps of it what is read of such pods often: the rest is
    /// read again from `object`, whose view the pod is.
    pub fn read_placed(&mut self, object: &Object, pod: &Arc<Pod>) -> PodInfo {
        let template = self.template(pod);
        PodInfo::placed(object.clone(), pod, template)
    }

    /// A pod like another one, under a uid of its own, that asks for other amounts: as simulations
    /// of very many different pods need it. They share the object, which says what the other one
    /// asks for.
    pub fn variant(&mut self, pod: &PodInfo, uid: &str, requests: Resources) -> PodInfo {
        self.ids += 1;
        let filled = |asked: i64, default: i64| if asked == 0 { default } else { asked };
        let scoring = (
            filled(requests.milli_cpu, DEFAULT_MILLI_CPU),
            filled(requests.memory, DEFAULT_MEMORY),
        );
        let of = pod.template();
        let template = PodTemplate { id: self.ids, requests, scoring, ..PodTemplate::clone(of) };
        pod.replica(uid).shaped(Arc::new(template))
    }

    /// The shape of a pod.
    pub fn template(&mut self, pod: &Arc<Pod>) -> Arc<PodTemplate> {
        let hash = shape_hash(pod);
        let alike = self.known.get(&hash).into_iter().flatten();
        let features = required_features(pod);
        for (other, template) in alike {
            if template.features == features && same_shape(other, pod) {
                return Arc::clone(template);
            }
        }
        if self.len >= MAX_TEMPLATES {
            self.known.clear();
            self.len = 0;
        }
        self.ids += 1;
        self.len += 1;
        let template = Arc::new(PodTemplate::new(pod, self.ids));
        self.known.entry(hash).or_default().push((Arc::clone(pod), Arc::clone(&template)));
        template
    }
}

/// Equal for pods of one shape, and mostly different for others.
fn shape_hash(pod: &Pod) -> u64 {
    let mut hasher = foldhash_state().build_hasher();
    let meta = &pod.metadata;
    meta.namespace.hash(&mut hasher);
    meta.labels.hash(&mut hasher);
    controller_of(meta).map(|owner| &owner.uid).hash(&mut hasher);
    if let Some(spec) = &pod.spec {
        spec.node_selector.hash(&mut hasher);
        spec.priority.hash(&mut hasher);
        for container in &spec.containers {
            container.image.hash(&mut hasher);
            let requests = container.resources.iter().flat_map(|all| all.requests.iter().flatten());
            for (name, amount) in requests {
                (name, &amount.0).hash(&mut hasher);
            }
        }
        let lengths = [
            spec.tolerations.as_ref().map_or(0, Vec::len),
            spec.topology_spread_constraints.as_ref().map_or(0, Vec::len),
            usize::from(spec.affinity.is_some()),
        ];
        lengths.hash(&mut hasher);
        for volume in volumes(spec) {
            let claim = volume.persistent_volume_claim.as_ref();
            (&volume.name, claim.map(|claim| &claim.claim_name)).hash(&mut hasher);
        }
    }
    hasher.finish()
}

/// The fixed hasher of the house's maps.
fn foldhash_state() -> impl BuildHasher {
    HashMap::<(), ()>::default().hasher().clone()
}

fn same_shape(a: &Pod, b: &Pod) -> bool {
    let owner = |pod: &Pod| controller_of(&pod.metadata).map(|owner| owner.uid.clone());
    a.metadata.namespace == b.metadata.namespace
        && a.metadata.labels == b.metadata.labels
        && resized(a) == resized(b)
        && owner(a) == owner(b)
        && match (&a.spec, &b.spec) {
            (Some(a), Some(b)) => same_spec(a, b),
            (a, b) => a.is_none() && b.is_none(),
        }
}

fn same_spec(a: &PodSpec, b: &PodSpec) -> bool {
    a.node_selector == b.node_selector
        && a.affinity == b.affinity
        && a.tolerations == b.tolerations
        && a.topology_spread_constraints == b.topology_spread_constraints
        && a.priority == b.priority
        && a.preemption_policy == b.preemption_policy
        && a.scheduler_name == b.scheduler_name
        && a.resource_claims == b.resource_claims
        && a.overhead == b.overhead
        && a.resources == b.resources
        && same_group(a, b)
        && same_containers(&a.containers, &b.containers)
        && same_containers(init(a), init(b))
        && volumes(a).eq(volumes(b))
}

fn same_group(a: &PodSpec, b: &PodSpec) -> bool {
    k8s_openapi::k8s_if_ge_1_37! {
        if a.scheduling_group != b.scheduling_group {
            return false;
        }
    }
    a.host_network == b.host_network
}

fn init(spec: &PodSpec) -> &[Container] {
    spec.init_containers.as_deref().unwrap_or_default()
}

fn same_containers(a: &[Container], b: &[Container]) -> bool {
    a.len() == b.len()
        && a.iter().zip(b).all(|(a, b)| {
            a.image == b.image
                && a.resources == b.resources
                && a.ports == b.ports
                && a.restart_policy == b.restart_policy
        })
}

fn volumes(spec: &PodSpec) -> impl Iterator<Item = &Volume> {
    spec.volumes.iter().flatten().filter(|volume| volume.projected.is_none())
}

/// What a pod without labels has.
pub(super) static NO_LABELS: BTreeMap<String, String> = BTreeMap::new();
