//! Amounts of resources as integers.

use std::collections::BTreeMap;
use std::sync::Arc;

use k8s_openapi::api::core::v1::{Container, Pod, PodStatus};
use k8s_openapi::apimachinery::pkg::api::resource::Quantity as ApiQuantity;
use kcore::quantity::Quantity;

/// CPU in thousandths that a pod without a request counts with when nodes are scored.
pub const DEFAULT_MILLI_CPU: i64 = 100;
/// Memory in bytes that a pod without a request counts with when nodes are scored.
pub const DEFAULT_MEMORY: i64 = 200 * 1024 * 1024;

/// Amounts of resources.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Resources {
    /// CPU, in thousandths.
    pub milli_cpu: i64,
    /// Memory, in bytes.
    pub memory: i64,
    /// Ephemeral storage, in bytes.
    pub ephemeral_storage: i64,
    /// Pods.
    pub pods: i64,
    /// Everything else by name, in units.
    pub scalar: Vec<(Arc<str>, i64)>,
}

impl Resources {
    /// Reads a resource list. Amounts that are no quantities count as nothing.
    #[must_use]
    pub fn from_list(list: Option<&BTreeMap<String, ApiQuantity>>) -> Self {
        let mut this = Self::default();
        for (name, quantity) in list.into_iter().flatten() {
            let quantity = Quantity::from_api(quantity).unwrap_or_default();
            let amount = if name == "cpu" { quantity.milli() } else { quantity.units() };
            *this.slot(name) = amount;
        }
        this
    }

    /// The amount of a resource: CPU in thousandths, the others in units.
    #[must_use]
    pub fn get(&self, name: &str) -> i64 {
        match name {
            "cpu" => self.milli_cpu,
            "memory" => self.memory,
            "ephemeral-storage" => self.ephemeral_storage,
            "pods" => self.pods,
            _ => {
                let found = self.scalar.iter().find(|(known, _)| &**known == name);
                found.map_or(0, |(_, amount)| *amount)
            }
        }
    }

    /// Extended resources by name, without those of which there are none.
    pub(crate) fn extended(&self) -> Vec<(&Arc<str>, i64)> {
        let all = self.scalar.iter().filter(|(_, amount)| *amount != 0);
        let mut all: Vec<(&Arc<str>, i64)> = all.map(|(name, amount)| (name, *amount)).collect();
        all.sort_unstable();
        all
    }

    fn slot(&mut self, name: &str) -> &mut i64 {
        match name {
            "cpu" => &mut self.milli_cpu,
            "memory" => &mut self.memory,
            "ephemeral-storage" => &mut self.ephemeral_storage,
            "pods" => &mut self.pods,
            _ => {
                let found = self.scalar.iter().position(|(known, _)| &**known == name);
                let at = found.unwrap_or_else(|| {
                    self.scalar.push((name.into(), 0));
                    self.scalar.len() - 1
                });
                &mut self.scalar[at].1
            }
        }
    }

    /// Adds `other`, or takes it away again with a `sign` of -1.
    pub(crate) fn add(&mut self, other: &Self, sign: i64) {
        self.combine(other, |a, b| a.saturating_add(b.saturating_mul(sign)));
    }

    /// The larger amount of each.
    fn max(&mut self, other: &Self) {
        self.combine(other, i64::max);
    }

    fn combine(&mut self, other: &Self, with: impl Fn(i64, i64) -> i64) {
        self.milli_cpu = with(self.milli_cpu, other.milli_cpu);
        self.memory = with(self.memory, other.memory);
        self.ephemeral_storage = with(self.ephemeral_storage, other.ephemeral_storage);
        self.pods = with(self.pods, other.pods);
        for (name, amount) in &other.scalar {
            let slot = self.slot(name);
            *slot = with(*slot, *amount);
        }
    }
}

/// What a pod asks for: the containers that run together, or the largest moment of its start,
/// whichever is more, and the overhead.
/// <https://kubernetes.io/docs/concepts/workloads/pods/sidecar-containers/#resource-sharing-within-containers>
#[must_use]
pub fn pod_requests(pod: &Pod) -> Resources {
    let resized = resized(pod);
    requests(pod, |container| actual(container, &resized))
}

/// Stands for the pod itself among the names of its containers.
const POD: &str = "";
/// Resources that a pod may ask for as a whole.
const OF_PODS: [&str; 2] = ["cpu", "memory"];

/// Whether a pod may ask for a resource as a whole.
fn is_of_pods(name: &str) -> bool {
    OF_PODS.contains(&name) || name.starts_with("hugepages-")
}

fn is_sidecar(container: &Container) -> bool {
    container.restart_policy.as_deref() == Some("Always")
}

/// What a container asks for, or has, if it was resized.
fn actual(container: &Container, resized: &[(String, Resources)]) -> Resources {
    if let Some((_, has)) = resized.iter().find(|(name, _)| *name == container.name) {
        return has.clone();
    }
    let list = container.resources.as_ref().and_then(|resources| resources.requests.as_ref());
    Resources::from_list(list)
}

/// The containers whose node gives them something else than they ask for, as happens while a pod
/// is resized in place: the larger amount of each counts, or only what they have if the node has
/// said that it can never give them what they ask for. Empty for nearly every pod.
/// <https://kubernetes.io/docs/tasks/configure-pod-container/resize-container-resources/>
pub(crate) fn resized(pod: &Pod) -> Vec<(String, Resources)> {
    let (Some(spec), Some(status)) = (&pod.spec, &pod.status) else { return Vec::new() };
    let infeasible = is_infeasible(status);
    let statuses = status.container_statuses.iter().flatten();
    let statuses = statuses.chain(status.init_container_statuses.iter().flatten());
    // Whoever only starts the pod is never resized.
    let sidecars = || spec.init_containers.iter().flatten().filter(|init| is_sidecar(init));
    let containers = || spec.containers.iter().chain(sidecars());
    let mut resized = Vec::new();
    for status in statuses {
        let Some(container) = containers().find(|c| c.name == status.name) else { continue };
        let asked = container.resources.as_ref().and_then(|all| all.requests.as_ref());
        let asked = Resources::from_list(asked);
        let Some(given) = &status.resources else { continue };
        let mut has = Resources::from_list(given.requests.as_ref());
        has.max(&Resources::from_list(status.allocated_resources.as_ref()));
        if !infeasible {
            has.max(&asked);
        }
        if has != asked {
            resized.push((status.name.clone(), has));
        }
    }
    let (asked, has) = (own_requests(pod), own_amounts(pod));
    if asked != has {
        let mut amounts = Resources::default();
        has.iter().for_each(|(name, amount)| *amounts.slot(name) = *amount);
        resized.push((POD.to_owned(), amounts));
    }
    resized
}

/// Whether the node has said that it can never give the pod what it asks for.
fn is_infeasible(status: &PodStatus) -> bool {
    let mut pending = status.conditions.iter().flatten().filter(|c| c.type_ == "PodResizePending");
    pending.any(|condition| condition.reason.as_deref() == Some("Infeasible"))
}

/// What a pod asks for as a whole.
/// <https://kubernetes.io/docs/tasks/configure-pod-container/assign-pod-level-resources/>
fn own_requests(pod: &Pod) -> BTreeMap<&str, i64> {
    let own = pod.spec.as_ref().and_then(|spec| spec.resources.as_ref());
    own.map(|own| whole(own.requests.as_ref())).unwrap_or_default()
}

/// The resources of a list that pods may ask for as a whole.
fn whole(list: Option<&BTreeMap<String, ApiQuantity>>) -> BTreeMap<&str, i64> {
    let amount = |(name, quantity): (_, &ApiQuantity)| {
        let quantity = Quantity::from_api(quantity).unwrap_or_default();
        (name, if name == "cpu" { quantity.milli() } else { quantity.units() })
    };
    let all = list.into_iter().flatten().map(|(name, quantity)| (name.as_str(), quantity));
    all.filter(|(name, _)| is_of_pods(name)).map(amount).collect()
}

/// What counts of a pod as a whole: as of containers, the larger of what it asks for and has.
fn own_amounts(pod: &Pod) -> BTreeMap<&str, i64> {
    let asked = own_requests(pod);
    let Some(status) = pod.status.as_ref().filter(|_| !asked.is_empty()) else { return asked };
    let Some(given) = given_as_a_whole(status) else { return asked };
    let mut amounts = if is_infeasible(status) { BTreeMap::new() } else { asked };
    for (name, amount) in given.into_iter().flatten() {
        let slot = amounts.entry(name).or_insert(amount);
        *slot = amount.max(*slot);
    }
    amounts
}

/// What a node says that it gives a pod as a whole, in each of two places.
fn given_as_a_whole(status: &PodStatus) -> Option<[BTreeMap<&str, i64>; 2]> {
    k8s_openapi::k8s_if_ge_1_35! {
        let given = status.resources.as_ref()?;
        return Some([given.requests.as_ref(), status.allocated_resources.as_ref()].map(whole));
    }
    #[allow(unreachable_code, reason = "only where the API has no such field")]
    {
        let _ = status;
        None
    }
}

/// The same for scoring: containers that ask for no CPU or memory count with a small default.
#[must_use]
pub fn pod_scoring_requests(pod: &Pod) -> Resources {
    let resized = resized(pod);
    requests(pod, |container| {
        let list = container.resources.as_ref().and_then(|resources| resources.requests.as_ref());
        let mut asked = actual(container, &resized);
        let names = |name: &str| list.is_some_and(|list| list.contains_key(name));
        if asked.milli_cpu == 0 && !names("cpu") {
            asked.milli_cpu = DEFAULT_MILLI_CPU;
        }
        if asked.memory == 0 && !names("memory") {
            asked.memory = DEFAULT_MEMORY;
        }
        asked
    })
}

fn requests(pod: &Pod, of: impl Fn(&Container) -> Resources) -> Resources {
    let Some(spec) = &pod.spec else { return Resources::default() };
    let (mut together, mut sidecars, mut start) =
        (Resources::default(), Resources::default(), Resources::default());
    for container in &spec.containers {
        together.add(&of(container), 1);
    }
    for container in spec.init_containers.iter().flatten() {
        let mut asked = of(container);
        if is_sidecar(container) {
            sidecars.add(&asked, 1);
            start.max(&sidecars);
        } else {
            asked.add(&sidecars, 1);
            start.max(&asked);
        }
    }
    together.add(&sidecars, 1);
    together.max(&start);
    // What the pod itself asks for stands in place of its containers' sum.
    for (name, amount) in own_amounts(pod) {
        *together.slot(name) = amount;
    }
    together.add(&Resources::from_list(spec.overhead.as_ref()), 1);
    together
}
