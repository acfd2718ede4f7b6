//! Where would these pods go, and why not elsewhere?
//!
//! The scheduler's own engine over a snapshot, without a cluster behind it: nothing is written,
//! and pods are placed one after the other as the scheduler would place them.
//!
//! ```
//! use ksched::what_if::WhatIf;
//! use serde_json::{from_value, json};
//! let node = |name: &str, cpu: &str| {
//!     let allocatable = json!({"cpu": cpu, "memory": "8Gi", "pods": "110"});
//!     from_value(json!({"metadata": {"name": name}, "status": {"allocatable": allocatable}}))
//! };
//! let pod = |name: &str, cpu: &str| {
//!     let requests = json!({"requests": {"cpu": cpu}});
//!     from_value(json!({"metadata": {"name": name},
//!         "spec": {"containers": [{"name": "c", "resources": requests}]}}))
//! };
//! let mut what_if = WhatIf::new().node(node("small", "1")?).node(node("large", "4")?).build()?;
//! assert_eq!(what_if.place(pod("a", "3")?).node.as_deref(), Some("large"));
//! // The first one takes its room.
//! let second = what_if.place(pod("b", "3")?);
//! assert!(second.node.is_none());
//! assert!(second.message.starts_with("0/2 nodes are available: 2 Insufficient cpu."));
//! println!("{}", what_if.explain(pod("c", "500m")?)?);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

use std::fmt;
use std::sync::Arc;

use k8s_openapi::api::core::v1::{Node, Pod};
use kcore::client::{Api, Client};
use kcore::clock::Clock;
use kcore::informer::Informers;
use kcore::kind::Kind;
use kcore::object::Object;
use kcore::random::Random;

use crate::Error;
use crate::framework::{Framework, Handle, PluginFactory, Profile, Status};
use crate::offline::NoServer;
use crate::plugins;
use crate::scheduler::cycle::{Kept, schedule_with};
use crate::scheduler::engine::Engine;
use crate::scheduler::explain::{Explanation, explain};
use crate::snapshot::{NodeInfo, PodInfo, Snapshot, Templates};

/// A cluster that is made up, or copied.
#[derive(Clone)]
pub struct WhatIf {
    nodes: Vec<Arc<Node>>,
    running: Vec<Arc<Pod>>,
    factories: Vec<Arc<dyn PluginFactory>>,
    profile: Profile,
    informers: Informers,
    seed: u64,
}

impl Default for WhatIf {
    fn default() -> Self {
        Self::new()
    }
}

impl WhatIf {
    /// No nodes, no pods, the stock plugins.
    #[must_use]
    pub fn new() -> Self {
        let (factories, profile) = (plugins::stock(), Profile::default());
        let informers = Informers::new(Arc::new(NoServer), Random::seeded(0));
        let (nodes, running) = (Vec::new(), Vec::new());
        Self { nodes, running, factories, profile, informers, seed: 0 }
    }

    /// The nodes and pods of a cluster as they are now. Whatever else the plugins look up, such
    /// as claims or Services, is to be added with [`object`](Self::object).
    ///
    /// # Errors
    /// Those of the client.
    pub async fn of_cluster(client: impl Client) -> kcore::Result<Self> {
        let client: kcore::client::DynClient = Arc::new(client);
        let mut this = Self::new();
        let nodes: Api<Node> = Api::all(Arc::clone(&client));
        this.nodes = nodes.list(&Default::default()).await?.items;
        let pods: Api<Pod> = Api::all(client);
        this.running = pods.list(&Default::default()).await?.items;
        Ok(this)
    }

    /// One more node.
    #[must_use]
    pub fn node(mut self, node: Node) -> Self {
        self.nodes.push(Arc::new(node));
        self
    }

    /// One more pod that is there. It counts if it is on a node and has not ended.
    #[must_use]
    pub fn running(mut self, pod: Pod) -> Self {
        self.running.push(Arc::new(pod));
        self
    }

    /// An object that plugins may look up, such as a Namespace or a PersistentVolumeClaim. One
    /// that cannot be encoded is left out, with a warning.
    #[must_use]
    pub fn object<K: Kind>(self, object: K) -> Self {
        match Object::from_typed(object) {
            Ok(object) => drop(self.informers.of::<K>().objects().indexer().put(object)),
            Err(error) => tracing::warn!(%error, "an object is left out"),
        }
        self
    }

    /// Another profile than the default one.
    #[must_use]
    pub fn profile(mut self, profile: Profile) -> Self {
        self.profile = profile;
        self
    }

    /// A plugin beside the stock ones.
    #[must_use]
    pub fn plugin(mut self, factory: impl PluginFactory) -> Self {
        self.factories.push(Arc::new(factory));
        self
    }

    /// The seed of the draw among the best nodes.
    #[must_use]
    pub fn seed(mut self, seed: u64) -> Self {
        self.seed = seed;
        self
    }

    /// Puts it together.
    ///
    /// # Errors
    /// Whatever is wrong with the profile.
    pub fn build(self) -> Result<Simulation, Error> {
        let random = Random::seeded(self.seed);
        let name = self.profile.scheduler_name();
        let handle = Handle::new(name, Arc::new(NoServer), Clock::system(), random.fork())
            .with_informers(self.informers);
        let framework = Framework::new(&self.profile, &self.factories, handle)?;
        let mut snapshot = Snapshot::new(self.nodes.into_iter().map(NodeInfo::new).collect());
        let mut templates = Templates::default();
        for pod in self.running {
            let phase = pod.status.as_ref().and_then(|status| status.phase.as_deref());
            if matches!(phase, Some("Succeeded" | "Failed")) {
                continue;
            }
            let pod = Arc::new(templates.read(pod));
            if let Some(at) = snapshot.position(pod.node_name()) {
                snapshot.place(at, pod);
            }
        }
        let (engine, kept) = (Engine::default(), Kept::new());
        Ok(Simulation { framework, snapshot, templates, engine, kept, random })
    }
}

impl fmt::Debug for WhatIf {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("WhatIf")
            .field("nodes", &self.nodes.len())
            .field("running", &self.running.len())
            .finish_non_exhaustive()
    }
}

/// Where a pod would go.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Answer {
    /// The node, if there is one.
    pub node: Option<Arc<str>>,
    /// How many nodes could have taken it.
    pub feasible: usize,
    /// The node that others would be made to leave for it.
    pub nominated: Option<String>,
    /// What its owner would be told if there is no node; empty if there is one.
    pub message: String,
}

/// A made-up cluster in which pods are placed one after the other.
#[derive(Debug)]
pub struct Simulation {
    framework: Framework,
    snapshot: Snapshot,
    templates: Templates,
    engine: Engine,
    kept: Kept,
    random: Random,
}

impl Simulation {
    /// The cluster as it is by now.
    #[must_use]
    pub fn snapshot(&self) -> &Snapshot {
        &self.snapshot
    }

    /// Chooses a node for a pod and puts it there. Nobody is made to leave.
    pub fn place(&mut self, pod: Pod) -> Answer {
        let pod = Arc::new(self.templates.read(Arc::new(pod)));
        let found = schedule_with(
            &mut self.engine,
            &self.framework,
            &self.snapshot,
            &self.kept,
            &pod,
            &self.random,
        );
        match found {
            Ok(placement) => {
                self.snapshot.place(placement.position, pod);
                Answer {
                    node: Some(placement.node),
                    feasible: placement.feasible,
                    nominated: None,
                    message: String::new(),
                }
            }
            Err(unplaced) => Answer {
                node: None,
                feasible: 0,
                message: unplaced.message(),
                nominated: unplaced.nominated.filter(|node| !node.is_empty()),
            },
        }
    }

    /// What every plugin says of every node for a pod, as the cluster is by now.
    ///
    /// # Errors
    /// What went wrong in a plugin.
    pub fn explain(&self, pod: Pod) -> Result<Explanation, Status> {
        explain(&self.framework, &self.snapshot, &self.kept, &PodInfo::new(Arc::new(pod)))
    }
}
