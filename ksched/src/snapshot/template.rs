//! What pods of one shape share.

use std::collections::BTreeMap;
use std::hash::{BuildHasher, Hash, Hasher};
use std::sync::Arc;

use k8s_openapi::api::core::v1::{Container, Pod, PodSpec, Volume};
use kcore::collections::HashMap;
use kcore::object::controller_of;

use super::pod::{HostPort, PodInfo, host_ports};
use super::resources::resized;
use super::{
    Affinities, DEFAULT_MEMORY, DEFAULT_MILLI_CPU, Resources, pod_requests, pod_scoring_requests,
};

/// Shapes that are remembered at once; beyond, all are forgotten and learned anew.
pub const MAX_TEMPLATES: usize = 8_192;

/// What the scheduler reads of a pod besides its name: the same for all pods of one shape, such
/// as those of one ReplicaSet, and computed once for them.
#[derive(Debug)]
pub struct PodTemplate {
    id: u64,
    pub(super) requests: Resources,
    pub(super) scoring: (i64, i64),
    pub(super) ports: Vec<HostPort>,
    /// None for the many that have none.
    pub(super) affinities: Option<Arc<Affinities>>,
    /// How many volumes it has that may be attached to its node.
    pub(super) volumes: i64,
}

impl PodTemplate {
    pub(super) fn new(pod: &Pod, id: u64) -> Self {
        let scoring = pod_scoring_requests(pod);
        Self {
            id,
            requests: pod_requests(pod),
            scoring: (scoring.milli_cpu, scoring.memory),
            ports: host_ports(pod),
            affinities: Some(Affinities::of(pod)).filter(|all| !all.is_empty()).map(Arc::new),
            volumes: volume_count(pod),
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

/// Volumes of claims, and those of drivers that CSI drivers have taken the place of.
fn volume_count(pod: &Pod) -> i64 {
    let volumes = pod.spec.iter().flat_map(|spec| spec.volumes.iter().flatten());
    let attached = volumes.filter(|volume| {
        volume.persistent_volume_claim.is_some()
            || volume.ephemeral.is_some()
            || volume.aws_elastic_block_store.is_some()
            || volume.gce_persistent_disk.is_some()
            || volume.azure_disk.is_some()
            || volume.cinder.is_some()
            || volume.portworx_volume.is_some()
    });
    i64::try_from(attached.count()).unwrap_or(i64::MAX)
}

/// One pod of a shape, and what is computed of it.
type Shape = (Arc<Pod>, Arc<PodTemplate>);

/// Reads pods, and knows those of one shape again.
///
/// Alike are pods in one namespace, with equal labels, one controller, and specs that are equal
/// in: node selector and affinity; tolerations; spread constraints; priority and preemption
/// policy; scheduler name; scheduling and resource claims; overhead and resources; images,
/// resources, ports and restart policies of containers; and volumes other than projected ones,
/// whose names are drawn.
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
        let (ports, affinities) = (of.ports.clone(), of.affinities.clone());
        let volumes = of.volumes;
        let template = PodTemplate { id: self.ids, requests, scoring, ports, affinities, volumes };
        pod.replica(uid).shaped(Arc::new(template))
    }

    /// The shape of a pod.
    pub fn template(&mut self, pod: &Arc<Pod>) -> Arc<PodTemplate> {
        let hash = shape_hash(pod);
        let alike = self.known.get(&hash).into_iter().flatten();
        for (other, template) in alike {
            if same_shape(other, pod) {
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
