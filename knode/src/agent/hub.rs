//! What the parts of one agent share.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::ops::Deref;
use std::path::PathBuf;
use std::sync::Arc;

use jiff::Timestamp;
use k8s_openapi::api::core::v1::{Pod, Service};
use kcore::client::DynClient;
use kcore::clock::Clock;
use kcore::collections::HashMap;
use kcore::event::EventRecorder;
use kcore::informer::Lister;
use kcore::quantity::Quantity;
use kcore::queue::WorkQueue;
use kcore::random::Random;
use parking_lot::Mutex;
use tokio::sync::watch;

use super::files::Files;
use super::options::AgentOptions;
use super::record::Record;
use crate::env::{Allocatable, PodFacts};
use crate::pod;
use crate::pod::observed::Observed;
use crate::pod::status::{StatusFacts, compute_pod_status};
use crate::runtime::{Runtime, SandboxId};
use crate::sources::Sources;

/// What the parts of one agent share; what it is made from is among it.
#[derive(Debug)]
pub(super) struct Hub {
    parts: Parts,
    pub(super) sources: Sources,
    pub(super) volumes: Files,
    /// Pods whose status is to be written, by uid.
    pub(super) statuses: WorkQueue<String>,
    /// Why the node is not ready, if the agent knows of something.
    pub(super) trouble: watch::Sender<Option<String>>,
    /// The numbers of the agent's own API.
    #[cfg(feature = "server")]
    pub(super) metrics: crate::server::Metrics,
    pods: Mutex<HashMap<String, Arc<Record>>>,
    sandboxes: Mutex<HashMap<SandboxId, String>>,
}

impl Deref for Hub {
    type Target = Parts;

    fn deref(&self) -> &Parts {
        &self.parts
    }
}

/// What of the node containers are told, or limited by.
#[derive(Debug, Clone, Default)]
pub(super) struct NodeFacts {
    pub(super) memory_bytes: u64,
    /// What pods may use, by resource.
    pub(super) quantities: BTreeMap<String, Quantity>,
    /// The same, as containers are told of it.
    pub(super) allocatable: Allocatable,
}

impl NodeFacts {
    pub(super) fn new(memory_bytes: u64, quantities: BTreeMap<String, Quantity>) -> Self {
        let of = |name: &str| quantities.get(name).copied().unwrap_or_default();
        let allocatable = Allocatable::default()
            .cpu(of("cpu"))
            .memory(of("memory"))
            .ephemeral_storage(of("ephemeral-storage"));
        Self { memory_bytes, quantities, allocatable }
    }
}

/// What a hub is made from.
#[derive(Debug)]
pub(super) struct Parts {
    pub(super) client: DynClient,
    pub(super) runtime: Arc<dyn Runtime>,
    pub(super) options: AgentOptions,
    /// The node's name.
    pub(super) name: String,
    /// The runtime's name, as container ids begin with it.
    pub(super) runtime_name: String,
    pub(super) clock: Clock,
    pub(super) random: Random,
    pub(super) recorder: EventRecorder,
    pub(super) services: Lister<Service>,
    pub(super) node: NodeFacts,
}

impl Hub {
    pub(super) fn new(parts: Parts) -> Self {
        let sources =
            Sources::new(Arc::clone(&parts.client), parts.services.clone(), parts.clock.clone());
        let volumes = Files::new(parts.options.data_dir.as_deref(), parts.clock.clone());
        Self {
            parts,
            sources,
            volumes,
            statuses: WorkQueue::new(),
            trouble: watch::Sender::new(None),
            #[cfg(feature = "server")]
            metrics: crate::server::Metrics::new(),
            pods: Mutex::default(),
            sandboxes: Mutex::default(),
        }
    }

    /// Where containers log; `None` if nothing is written.
    pub(super) fn log_root(&self) -> Option<PathBuf> {
        self.options.data_dir.as_ref().map(|root| root.join("logs"))
    }

    pub(super) fn now(&self) -> Timestamp {
        self.clock.now()
    }

    /// The record of a pod.
    pub(super) fn record(&self, uid: &str) -> Option<Arc<Record>> {
        self.pods.lock().get(uid).cloned()
    }

    /// Every record, in the order of the pods' uids.
    pub(super) fn records(&self) -> Vec<Arc<Record>> {
        let mut records: Vec<_> = self.pods.lock().values().cloned().collect();
        records.sort_by(|a, b| a.uid.cmp(&b.uid));
        records
    }

    /// Keeps a new record.
    pub(super) fn insert(&self, record: Arc<Record>) {
        self.pods.lock().insert(record.uid.clone(), record);
    }

    /// Forgets a pod that is gone from the node and from the API.
    pub(super) fn forget(&self, uid: &str) {
        self.pods.lock().remove(uid);
        self.sandboxes.lock().retain(|_, owner| owner != uid);
        self.statuses.forget(&uid.to_owned());
        #[cfg(feature = "server")]
        self.metrics.forget_pod(uid);
    }

    /// Counts what there is, for the agent's own API.
    #[cfg(feature = "server")]
    pub(super) fn measure(&self) {
        let records = self.records();
        let mut containers = BTreeMap::from(CONTAINER_STATES.map(|state| (state, 0)));
        let mut running = 0;
        for record in &records {
            let observed = record.observed();
            running += usize::from(observed.ready_sandbox().is_some());
            for status in observed.containers() {
                *containers.entry(state_name(status.state())).or_default() += 1;
            }
        }
        self.metrics.set_workers(records.len());
        self.metrics.set_running_pods(running);
        for (state, count) in containers {
            self.metrics.set_containers(state, count);
        }
    }

    /// The pod whose sandbox that is.
    pub(super) fn owner(&self, sandbox: &SandboxId) -> Option<String> {
        self.sandboxes.lock().get(sandbox).cloned()
    }

    /// Remembers whose sandboxes were seen.
    pub(super) fn own(&self, uid: &str, observed: &Observed) {
        let mut sandboxes = self.sandboxes.lock();
        for status in observed.sandboxes() {
            let id = &status.summary.id;
            if !sandboxes.contains_key(id) {
                sandboxes.insert(id.clone(), uid.to_owned());
            }
        }
    }

    /// Remembers whose a sandbox is that is about to be used.
    pub(super) fn own_sandbox(&self, uid: &str, id: &SandboxId) {
        self.sandboxes.lock().insert(id.clone(), uid.to_owned());
    }

    /// Says of a pod what holds now, if that is news.
    pub(super) fn publish(&self, record: &Record) {
        let (pod, observed) = (record.pod(), record.observed());
        let (health, waiting, fate) = (record.health(), record.waiting(), record.fate());
        let before = record.status();
        let status = compute_pod_status(
            &pod,
            &StatusFacts {
                observed: &observed,
                health: &health,
                waiting: &waiting,
                fate: &fate,
                host_ips: &self.options.addresses,
                runtime: &self.runtime_name,
                before: before.as_deref(),
                seen_at: record.seen_at(),
                now: self.now(),
            },
        );
        if record.publish(status) {
            self.statuses.add(record.uid.clone());
        }
    }

    /// Where a pod is reached: at its own address, or at the node's.
    pub(super) fn address(&self, pod: &Pod, observed: &Observed) -> Option<IpAddr> {
        let host = pod.spec.as_ref().is_some_and(|spec| spec.host_network == Some(true));
        let ips = if host { self.options.addresses.as_slice() } else { observed.ips() };
        ips.first().copied()
    }

    /// What a pod's environment and volumes are told of where it runs.
    pub(super) fn pod_facts(&self, pod: &Pod, observed: &Observed) -> PodFacts {
        let host = pod.spec.as_ref().is_some_and(|spec| spec.host_network == Some(true));
        let ips = if host { self.options.addresses.clone() } else { observed.ips().to_vec() };
        PodFacts::default()
            .node_name(self.name.as_str())
            .host_ips(self.options.addresses.clone())
            .pod_ips(ips)
            .allocatable(self.node.allocatable)
    }

    /// The name by which logs and messages call a pod.
    pub(super) fn described(record: &Record) -> String {
        pod::described(&record.pod())
    }
}

/// The states of containers, as metrics name them.
#[cfg(feature = "server")]
const CONTAINER_STATES: [&str; 4] = ["created", "running", "exited", "unknown"];

#[cfg(feature = "server")]
fn state_name(state: crate::runtime::ContainerState) -> &'static str {
    use crate::runtime::ContainerState;
    match state {
        ContainerState::Created => "created",
        ContainerState::Running => "running",
        ContainerState::Exited => "exited",
        ContainerState::Unknown => "unknown",
    }
}
