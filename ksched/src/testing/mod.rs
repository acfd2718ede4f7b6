//! Nodes and pods in a line, and one scheduling cycle over them: what tests of plugins need.
//!
//! ```
//! use ksched::testing::{Cluster, node, pod};
//! let cluster = Cluster::new([node("small").cpu("1"), node("large").cpu("4")]);
//! assert_eq!(cluster.place(pod("web").cpu("2")).unwrap(), "large");
//! let refused = cluster.place(pod("huge").cpu("8")).unwrap_err();
//! assert!(refused.starts_with("0/2 nodes are available: 2 Insufficient cpu."));
//! ```

mod check;
mod classes;
mod draw;
mod groups;

use std::sync::Arc;

use k8s_openapi::api::core::v1::{Node, Pod};
use kcore::clock::Clock;
use kcore::informer::Informers;
use kcore::kind::Kind;
use kcore::object::Object;
use kcore::random::Random;
use serde_json::{Value, json};

pub use check::{Checked, check_plugin};
pub use draw::{DRAWN_NODES, draw_node, draw_pod};

use crate::framework::{Framework, Handle, PluginFactory, Profile};
use crate::offline::NoServer;
use crate::plugins;
use crate::scheduler::cycle::{self, Kept};
use crate::scheduler::explain::{Explanation, explain};
use crate::snapshot::{NodeInfo, PodInfo, Snapshot};

/// A node by this name, with 110 pods to give and nothing else.
#[must_use]
pub fn node(name: &str) -> NodeBuilder {
    NodeBuilder(json!({"apiVersion": "v1", "kind": "Node", "metadata": {"name": name,
        "labels": {"kubernetes.io/hostname": name}},
        "status": {"allocatable": {"pods": "110"}}}))
}

/// A pod by this name in the namespace `default`, with one container that asks for nothing.
#[must_use]
pub fn pod(name: &str) -> PodBuilder {
    PodBuilder(json!({"apiVersion": "v1", "kind": "Pod",
        "metadata": {"name": name, "namespace": "default"},
        "spec": {"containers": [{"name": "main", "image": "image"}]}}))
}

/// Builds a node.
#[derive(Debug, Clone)]
pub struct NodeBuilder(Value);

impl NodeBuilder {
    /// CPU it has to give.
    #[must_use]
    pub fn cpu(self, quantity: &str) -> Self {
        self.resource("cpu", quantity)
    }

    /// Memory it has to give.
    #[must_use]
    pub fn memory(self, quantity: &str) -> Self {
        self.resource("memory", quantity)
    }

    /// A resource it has to give.
    #[must_use]
    pub fn resource(mut self, name: &str, quantity: &str) -> Self {
        self.0["status"]["allocatable"][name] = quantity.into();
        self
    }

    /// A label.
    #[must_use]
    pub fn label(mut self, key: &str, value: &str) -> Self {
        self.0["metadata"]["labels"][key] = value.into();
        self
    }

    /// A taint.
    #[must_use]
    pub fn taint(mut self, key: &str, value: &str, effect: &str) -> Self {
        let taint = json!({"key": key, "value": value, "effect": effect});
        push(&mut self.0["spec"]["taints"], taint);
        self
    }

    /// An image it has, with its size in bytes.
    #[must_use]
    pub fn image(mut self, name: &str, bytes: i64) -> Self {
        push(&mut self.0["status"]["images"], json!({"names": [name], "sizeBytes": bytes}));
        self
    }

    /// A feature it declares.
    #[must_use]
    pub fn feature(mut self, name: &str) -> Self {
        push(&mut self.0["status"]["declaredFeatures"], name.into());
        self
    }

    /// Cordons it.
    #[must_use]
    pub fn cordoned(mut self) -> Self {
        self.0["spec"]["unschedulable"] = true.into();
        self
    }

    /// The node.
    ///
    /// # Panics
    /// If what was given is no node.
    #[must_use]
    pub fn build(self) -> Arc<Node> {
        // Test code: a builder that was misused should say so at once.
        Arc::new(serde_json::from_value(self.0).expect("a node"))
    }
}

/// Builds a pod.
#[derive(Debug, Clone)]
pub struct PodBuilder(Value);

impl PodBuilder {
    /// CPU its container asks for.
    #[must_use]
    pub fn cpu(self, quantity: &str) -> Self {
        self.request("cpu", quantity)
    }

    /// Memory its container asks for.
    #[must_use]
    pub fn memory(self, quantity: &str) -> Self {
        self.request("memory", quantity)
    }

    /// A resource its container asks for.
    #[must_use]
    pub fn request(mut self, name: &str, quantity: &str) -> Self {
        self.0["spec"]["containers"][0]["resources"]["requests"][name] = quantity.into();
        self
    }

    /// The image of its container.
    #[must_use]
    pub fn image(mut self, name: &str) -> Self {
        self.0["spec"]["containers"][0]["image"] = name.into();
        self
    }

    /// A host port of its container.
    #[must_use]
    pub fn host_port(mut self, port: u16) -> Self {
        let port = json!({"containerPort": port, "hostPort": port, "protocol": "TCP"});
        push(&mut self.0["spec"]["containers"][0]["ports"], port);
        self
    }

    /// The namespace, if it is not `default`.
    #[must_use]
    pub fn namespace(mut self, name: &str) -> Self {
        self.0["metadata"]["namespace"] = name.into();
        self
    }

    /// A label.
    #[must_use]
    pub fn label(mut self, key: &str, value: &str) -> Self {
        self.0["metadata"]["labels"][key] = value.into();
        self
    }

    /// Its uid.
    #[must_use]
    pub fn uid(mut self, uid: &str) -> Self {
        self.0["metadata"]["uid"] = uid.into();
        self
    }

    /// A required term of affinity to pods with a label, by the values of a node label.
    #[must_use]
    pub fn beside(self, key: &str, value: &str, topology_key: &str) -> Self {
        self.term("podAffinity", label_term(key, value, topology_key))
    }

    /// A required term of anti-affinity to pods with a label, by the values of a node label.
    #[must_use]
    pub fn apart_from(self, key: &str, value: &str, topology_key: &str) -> Self {
        self.term("podAntiAffinity", label_term(key, value, topology_key))
    }

    /// A required term of `podAffinity` or `podAntiAffinity`, as in the API.
    #[must_use]
    pub fn term(mut self, kind: &str, term: Value) -> Self {
        let required = "requiredDuringSchedulingIgnoredDuringExecution";
        push(&mut self.0["spec"]["affinity"][kind][required], term);
        self
    }

    /// A preferred term of `podAffinity` or `podAntiAffinity`, as in the API.
    #[must_use]
    pub fn preferred_term(mut self, kind: &str, weight: i64, term: Value) -> Self {
        let preferred = "preferredDuringSchedulingIgnoredDuringExecution";
        let term = json!({"weight": weight, "podAffinityTerm": term});
        push(&mut self.0["spec"]["affinity"][kind][preferred], term);
        self
    }

    /// A spread constraint, as in the API.
    #[must_use]
    pub fn spread(mut self, constraint: Value) -> Self {
        push(&mut self.0["spec"]["topologySpreadConstraints"], constraint);
        self
    }

    /// A field of its metadata, as in the API.
    #[must_use]
    pub fn metadata(mut self, field: &str, value: Value) -> Self {
        self.0["metadata"][field] = value;
        self
    }

    /// A field of its status, as in the API.
    #[must_use]
    pub fn status(mut self, field: &str, value: Value) -> Self {
        self.0["status"][field] = value;
        self
    }

    /// A label its node must have.
    #[must_use]
    pub fn node_selector(mut self, key: &str, value: &str) -> Self {
        self.0["spec"]["nodeSelector"][key] = value.into();
        self
    }

    /// A toleration, as in the API.
    #[must_use]
    pub fn toleration(mut self, toleration: Value) -> Self {
        push(&mut self.0["spec"]["tolerations"], toleration);
        self
    }

    /// Its priority.
    #[must_use]
    pub fn priority(self, priority: i32) -> Self {
        self.spec("priority", priority.into())
    }

    /// The scheduler it asks for.
    #[must_use]
    pub fn scheduler(self, name: &str) -> Self {
        self.spec("schedulerName", name.into())
    }

    /// The node it is on.
    #[must_use]
    pub fn on(self, node: &str) -> Self {
        self.spec("nodeName", node.into())
    }

    /// Any field of its spec, as in the API.
    #[must_use]
    pub fn spec(mut self, field: &str, value: Value) -> Self {
        self.0["spec"][field] = value;
        self
    }

    /// The pod.
    ///
    /// # Panics
    /// If what was given is no pod.
    #[must_use]
    pub fn build(self) -> Arc<Pod> {
        // Test code: a builder that was misused should say so at once.
        Arc::new(serde_json::from_value(self.0).expect("a pod"))
    }

    /// The pod as plugins see it.
    #[must_use]
    pub fn info(self) -> PodInfo {
        PodInfo::new(self.build())
    }
}

fn label_term(key: &str, value: &str, topology_key: &str) -> Value {
    json!({"labelSelector": {"matchLabels": {key: value}}, "topologyKey": topology_key})
}

fn push(list: &mut Value, item: Value) {
    match list {
        Value::Array(items) => items.push(item),
        other => *other = json!([item]),
    }
}

/// A handful of nodes, and a profile to schedule on them with.
#[derive(Debug)]
pub struct Cluster {
    nodes: Vec<NodeInfo>,
    factories: Vec<Arc<dyn PluginFactory>>,
    profile: Profile,
    seed: u64,
    informers: Informers,
}

impl Cluster {
    /// These nodes, and the stock plugins.
    #[must_use]
    pub fn new(nodes: impl IntoIterator<Item = NodeBuilder>) -> Self {
        let nodes = nodes.into_iter().map(|node| NodeInfo::new(node.build()));
        let (factories, profile) = (plugins::stock(), Profile::default());
        let informers = Informers::new(Arc::new(NoServer), Random::seeded(0));
        Self { nodes: nodes.collect(), factories, profile, seed: 0, informers }
    }

    /// An object that plugins may look up, such as a Namespace or a PersistentVolumeClaim.
    ///
    /// # Panics
    /// If it cannot be encoded.
    #[must_use]
    pub fn object<K: Kind>(self, object: K) -> Self {
        // Test code: an object that is none should say so at once.
        let object = Object::from_typed(object).expect("an object");
        self.informers.of::<K>().objects().indexer().put(object);
        self
    }

    /// The same of an object in JSON.
    ///
    /// # Panics
    /// If it is no such object.
    #[must_use]
    pub fn json<K: Kind>(self, object: Value) -> Self {
        self.object::<K>(serde_json::from_value(object).expect("an object of the kind"))
    }

    /// A plugin beside the stock ones.
    #[must_use]
    pub fn plugin(mut self, factory: impl PluginFactory) -> Self {
        self.factories.push(Arc::new(factory));
        self
    }

    /// Another profile than the default one.
    #[must_use]
    pub fn profile(mut self, profile: Profile) -> Self {
        self.profile = profile;
        self
    }

    /// The seed of the draw among the best nodes.
    #[must_use]
    pub fn seed(mut self, seed: u64) -> Self {
        self.seed = seed;
        self
    }

    /// A pod that runs on its node already.
    ///
    /// # Panics
    /// If its node is none of the cluster's.
    #[must_use]
    pub fn running(mut self, pod: PodBuilder) -> Self {
        let pod = Arc::new(pod.info());
        let node = self.nodes.iter_mut().find(|node| node.name() == pod.node_name());
        // Test code: a misspelt node should say so at once.
        node.expect("the pod's node is in the cluster").add_pod(pod);
        self
    }

    /// The profile's plugins, put together.
    ///
    /// # Errors
    /// Whatever is wrong with the profile.
    pub fn framework(&self) -> Result<Framework, crate::Error> {
        let random = Random::seeded(self.seed);
        let name = self.profile.scheduler_name();
        let handle = Handle::new(name, Arc::new(NoServer), Clock::system(), random)
            .with_informers(self.informers.clone());
        Framework::new(&self.profile, &self.factories, handle)
    }

    /// The nodes with what runs on them.
    #[must_use]
    pub fn snapshot(&self) -> Snapshot {
        Snapshot::new(self.nodes.clone())
    }

    /// What each plugin says of each node for a pod.
    ///
    /// # Errors
    /// What is wrong with the profile, or went wrong in a plugin.
    pub fn explain(&self, pod: PodBuilder) -> Result<Explanation, String> {
        let framework = self.framework().map_err(|error| error.to_string())?;
        let explained = explain(&framework, &self.snapshot(), &Kept::new(), &pod.info());
        explained.map_err(|status| status.message())
    }

    /// The node that is nominated for a pod without room, if others can be made to leave it.
    ///
    /// # Errors
    /// The message its owner is told if nobody can, or the node that has room.
    pub fn nominate(&self, pod: PodBuilder) -> Result<String, String> {
        self.preempt(pod).map(|(node, _)| node)
    }

    /// The pods that have to leave for a pod, by name, where [`nominate`](Self::nominate) finds a
    /// node: the most important first.
    ///
    /// # Errors
    /// As there.
    pub fn victims(&self, pod: PodBuilder) -> Result<Vec<String>, String> {
        let (_, victims) = self.preempt(pod)?;
        Ok(victims.iter().map(|victim| victim.name().to_owned()).collect())
    }

    fn preempt(&self, pod: PodBuilder) -> Result<(String, Vec<Arc<PodInfo>>), String> {
        let framework = self.framework().map_err(|error| error.to_string())?;
        let random = Random::seeded(self.seed);
        let found =
            cycle::schedule(&framework, &self.snapshot(), &Kept::new(), &pod.info(), &random);
        match found {
            Ok(placement) => Err(format!("{} has room", placement.node)),
            Err(unplaced) => match &unplaced.nominated {
                Some(node) if !node.is_empty() => Ok((node.clone(), unplaced.victims.clone())),
                _ => Err(unplaced.message()),
            },
        }
    }

    /// The node that is chosen for a pod.
    ///
    /// # Errors
    /// The message its owner is told.
    pub fn place(&self, pod: PodBuilder) -> Result<String, String> {
        let framework = self.framework().map_err(|error| error.to_string())?;
        let snapshot = Snapshot::new(self.nodes.clone());
        let random = Random::seeded(self.seed);
        cycle::schedule(&framework, &snapshot, &Kept::new(), &pod.info(), &random)
            .map(|placement| placement.node.to_string())
            .map_err(|unplaced| unplaced.message())
    }
}
