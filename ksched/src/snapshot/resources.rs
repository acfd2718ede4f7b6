//! Amounts of resources as integers.

use std::collections::BTreeMap;
use std::sync::Arc;

use k8s_openapi::api::core::v1::{Container, Pod};
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
    let infeasible = status.conditions.iter().flatten().any(|condition| {
        condition.type_ == "PodResizePending" && condition.reason.as_deref() == Some("Infeasible")
    });
    let statuses = status.container_statuses.iter().flatten();
    let statuses = statuses.chain(status.init_container_statuses.iter().flatten());
    let containers = || spec.containers.iter().chain(spec.init_containers.iter().flatten());
    let mut resized = Vec::new();
    for status in statuses {
        let Some(container) = containers().find(|c| c.name == status.name) else { continue };
        let asked = container.resources.as_ref().and_then(|all| all.requests.as_ref());
        let asked = Resources::from_list(asked);
        let given = status.resources.as_ref().and_then(|all| all.requests.as_ref());
        if given.is_none() && status.allocated_resources.is_none() {
            continue;
        }
        let mut has = Resources::from_list(given);
        has.max(&Resources::from_list(status.allocated_resources.as_ref()));
        if !infeasible {
            has.max(&asked);
        }
        if has != asked {
            resized.push((status.name.clone(), has));
        }
    }
    resized
}

/// The same for scoring: containers that ask for no CPU or memory count with a small default.
#[must_use]
pub fn pod_scoring_requests(pod: &Pod) -> Resources {
    let resized = resized(pod);
    requests(pod, |container| {
        let list = container.resources.as_ref().and_then(|resources| resources.requests.as_ref());
        let mut asked = actual(container, &resized);
        let names = |name: &str| list.is_some_and(|list| list.contains_key(name));
        if !names("cpu") {
            asked.milli_cpu = DEFAULT_MILLI_CPU;
        }
        if !names("memory") {
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
        if container.restart_policy.as_deref() == Some("Always") {
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
    let own = spec.resources.as_ref().and_then(|resources| resources.requests.as_ref());
    let own = own.into_iter().flatten();
    for (name, _) in own.clone() {
        *together.slot(name) = 0;
    }
    let own = own.map(|(name, amount)| (name.clone(), amount.clone())).collect();
    together.add(&Resources::from_list(Some(&own)), 1);
    together.add(&Resources::from_list(spec.overhead.as_ref()), 1);
    together
}
