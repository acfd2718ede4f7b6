//! The configurations that the Kubernetes documentation shows, and where they send pods:
//! "Scheduler Configuration", "Resource Bin Packing", "Pod Topology Spread Constraints" and
//! "Assigning Pods to Nodes".
#![allow(clippy::unwrap_used, reason = "helpers of tests")]

use std::cmp::Ordering;
use std::sync::Arc;

use k8s_openapi::api::core::v1::Service;
use ksched::config::SchedulerConfig;
use ksched::framework::{
    CycleState, ExtensionPoints, FilterPlugin, Profile, QueueSortPlugin, SchedulerPlugin,
    ScorePlugin, Status, plugin_fn,
};
use ksched::queue::QueuedPod;
use ksched::scheduler::explain::NodeExplanation;
use ksched::snapshot::{NodeInfo, PodInfo};
use ksched::testing::{Cluster, NodeBuilder, PodBuilder, node, pod};
use serde_json::json;

const HEAD: &str = "apiVersion: kubescheduler.config.k8s.io/v1
kind: KubeSchedulerConfiguration
";

fn config(rest: &str) -> SchedulerConfig {
    SchedulerConfig::from_yaml(&format!("{HEAD}{rest}")).unwrap()
}

/// The only profile of a configuration.
fn profile(rest: &str) -> Profile {
    let config = config(rest);
    assert_eq!(config.profiles().len(), 1);
    config.profiles()[0].clone()
}

/// One node is half full, the other one is free.
fn two() -> Cluster {
    let nodes = [node("full").cpu("4").memory("4Gi"), node("free").cpu("4").memory("4Gi")];
    Cluster::new(nodes).running(pod("r").cpu("2").memory("2Gi").on("full"))
}

fn small() -> PodBuilder {
    pod("p").cpu("1").memory("1Gi")
}

/// A plugin that filters and scores: it likes nodes by this name, and takes no other.
#[derive(Debug)]
struct Likes(&'static str);

impl SchedulerPlugin for Likes {
    fn register(self: Arc<Self>, points: &mut ExtensionPoints) {
        points.filter(self.clone());
        points.score(self);
    }
}

impl FilterPlugin for Likes {
    fn filter(&self, _: &CycleState, pod: &PodInfo, node: &NodeInfo) -> Status {
        match pod.name() == "picky" && node.name() != self.0 {
            true => Status::unschedulable("it is another one"),
            false => Status::success(),
        }
    }
}

impl ScorePlugin for Likes {
    fn score(&self, _: &CycleState, _: &PodInfo, node: &NodeInfo) -> Result<i64, Status> {
        Ok(if node.name() == self.0 { 100 } else { 0 })
    }
}

fn with_plugins(profile: Profile) -> Cluster {
    two()
        .plugin(plugin_fn("MyCustomPluginA", |_, _| Ok(Likes("full"))))
        .plugin(plugin_fn("MyCustomPluginB", |_, _| Ok(Likes("free"))))
        .plugin(plugin_fn("CustomQueueSort", |_, _| Ok(OldestFirst)))
        .profile(profile)
}

/// The best node, with what the plugins gave it.
fn best(cluster: &Cluster, pod: PodBuilder) -> NodeExplanation {
    cluster.explain(pod).unwrap().ranked()[0].clone()
}

/// Each scoring plugin's weight at the best node.
fn weights(cluster: &Cluster) -> Vec<(String, i64)> {
    let best = best(cluster, small());
    best.scores.iter().map(|score| (score.plugin.to_string(), score.weight)).collect()
}

#[test]
fn a_minimal_configuration_places_as_none_does() {
    let file = "clientConnection: {kubeconfig: /etc/srv/kubernetes/kube-scheduler/kubeconfig}\n";
    assert_eq!(two().profile(profile(file)).place(small()).as_deref(), Ok("free"));
    // Accepted, and every node is looked at all the same.
    assert_eq!(config("percentageOfNodesToScore: 50\n").percentage_of_nodes_to_score(), Some(50));
}

#[test]
fn one_score_plugin_is_replaced_by_two_with_weights() {
    let file = "profiles:
- plugins:
    score:
      disabled:
      - name: PodTopologySpread
      enabled:
      - name: MyCustomPluginA
        weight: 2
      - name: MyCustomPluginB
        weight: 1
";
    let cluster = with_plugins(profile(file));
    let weights = weights(&cluster);
    let custom = [("MyCustomPluginA".to_owned(), 2), ("MyCustomPluginB".to_owned(), 1)];
    assert_eq!(weights[..2], custom);
    assert!(!weights.iter().any(|(name, _)| name == "PodTopologySpread"), "{weights:?}");
    assert_eq!(best(&cluster, small()).node.as_ref(), "full");
    // Named at one point, they run there alone: their filters do not.
    assert!(cluster.place(pod("picky")).is_ok());
}

#[test]
fn a_second_profile_does_not_score() {
    let config = config(
        "profiles:
- schedulerName: default-scheduler
- schedulerName: no-scoring-scheduler
  plugins:
    preScore:
      disabled:
      - name: '*'
    score:
      disabled:
      - name: '*'
",
    );
    let names: Vec<&str> = config.profiles().iter().map(Profile::scheduler_name).collect();
    assert_eq!(names, ["default-scheduler", "no-scoring-scheduler"]);
    let cluster = |at: usize| two().profile(config.profiles()[at].clone());
    assert_eq!(best(&cluster(0), small()).node.as_ref(), "free");
    let unranked = cluster(1).explain(small()).unwrap();
    assert!(unranked.nodes.iter().all(|node| node.scores.is_empty()), "{unranked}");
    let seen: std::collections::BTreeSet<String> =
        (0..20).map(|seed| cluster(1).seed(seed).place(small()).unwrap()).collect();
    assert_eq!(seen.len(), 2, "without scores any node is as good");
    // Filters are not left out.
    assert_eq!(cluster(1).place(pod("p").cpu("3")).as_deref(), Ok("free"));
}

#[test]
fn multi_point_enables_a_plugin_wherever_it_plugs_in() {
    let everywhere = "profiles:
- schedulerName: multipoint-scheduler
  plugins:
    multiPoint:
      enabled:
      - name: MyCustomPluginA
";
    let long = "profiles:
- schedulerName: non-multipoint-scheduler
  plugins:
    filter:
      enabled:
      - name: MyCustomPluginA
    score:
      enabled:
      - name: MyCustomPluginA
";
    for file in [everywhere, long] {
        let cluster = with_plugins(profile(file));
        assert_eq!(best(&cluster, small()).node.as_ref(), "full", "{file}");
        assert_eq!(cluster.place(pod("picky")).as_deref(), Ok("full"));
    }
    // But not where it is disabled.
    let without_score =
        format!("{everywhere}    score:\n      disabled: [{{name: MyCustomPluginA}}]\n");
    let cluster = with_plugins(profile(&without_score));
    assert_eq!(best(&cluster, small()).node.as_ref(), "free");
    assert_eq!(cluster.place(pod("picky")).as_deref(), Ok("full"));
    let none = format!("{everywhere}    score: {{disabled: [{{name: '*'}}]}}\n");
    assert!(best(&with_plugins(profile(&none)), small()).scores.is_empty());
}

/// Sorts by age alone.
#[derive(Debug)]
struct OldestFirst;

impl SchedulerPlugin for OldestFirst {
    fn register(self: Arc<Self>, points: &mut ExtensionPoints) {
        points.queue_sort(self);
    }
}

impl QueueSortPlugin for OldestFirst {
    fn compare(&self, a: &QueuedPod, b: &QueuedPod) -> Ordering {
        a.first.cmp(&b.first)
    }
}

#[test]
fn single_points_win_over_multi_point_and_that_over_the_defaults() {
    // The documentation's example of precedence, with stock plugins in place of made-up ones.
    let file = "profiles:
- schedulerName: multipoint-scheduler
  plugins:
    multiPoint:
      enabled:
      - name: CustomQueueSort
      - name: MyCustomPluginA
        weight: 3
      - name: MyCustomPluginB
      disabled:
      - name: PrioritySort
    filter:
      disabled:
      - name: NodeResourcesFit
    score:
      enabled:
      - name: NodeResourcesBalancedAllocation
";
    let cluster = with_plugins(profile(file));
    let weights = weights(&cluster);
    assert_eq!(
        weights[0],
        ("NodeResourcesBalancedAllocation".to_owned(), 1),
        "a point of its own goes first"
    );
    let custom = [("MyCustomPluginA".to_owned(), 3), ("MyCustomPluginB".to_owned(), 1)];
    assert_eq!(weights[weights.len() - 2..], custom, "the defaults come before them");
    assert!(weights.iter().any(|(name, _)| name == "NodeResourcesFit"), "{weights:?}");
    // Its filter alone is off: what fits nowhere is placed, by who likes it most.
    assert_eq!(cluster.place(pod("p").cpu("100")).as_deref(), Ok("full"));
    // Without taking the stock one out there would be two that sort the queue.
    let two = file.replace("      disabled:\n      - name: PrioritySort\n", "");
    let error = with_plugins(profile(&two)).framework().unwrap_err().to_string();
    assert!(error.contains("2 queue sort plugins"), "{error}");
}

/// A node with two resources of its own.
fn rich(name: &str, count: &str) -> NodeBuilder {
    let node = node(name).cpu("8").memory("8Gi");
    node.resource("intel.com/foo", count).resource("intel.com/bar", count)
}

fn used(on: &str) -> PodBuilder {
    let pod = pod(&format!("on-{on}")).cpu("1").memory("1Gi").on(on);
    pod.request("intel.com/foo", "2").request("intel.com/bar", "2")
}

#[test]
fn most_allocated_packs_extended_resources() {
    let file = "profiles:
- pluginConfig:
  - name: NodeResourcesFit
    args:
      scoringStrategy:
        resources:
        - {name: cpu, weight: 1}
        - {name: memory, weight: 1}
        - {name: intel.com/foo, weight: 3}
        - {name: intel.com/bar, weight: 3}
        type: MostAllocated
";
    let cluster = |profile: Profile| {
        Cluster::new([rich("used", "4"), rich("free", "4")]).running(used("used")).profile(profile)
    };
    let asks = || pod("p").cpu("1").memory("1Gi").request("intel.com/foo", "1");
    assert_eq!(cluster(profile(file)).place(asks()).as_deref(), Ok("used"));
    assert_eq!(cluster(Profile::default()).place(asks()).as_deref(), Ok("free"));
}

fn ratio(resources: &str, shape: &str) -> Profile {
    profile(&format!(
        "profiles:
- pluginConfig:
  - name: NodeResourcesFit
    args:
      scoringStrategy:
        resources: {resources}
        requestedToCapacityRatio: {{shape: {shape}}}
        type: RequestedToCapacityRatio
"
    ))
}

const RISING: &str = "[{utilization: 0, score: 0}, {utilization: 100, score: 10}]";
const FALLING: &str = "[{utilization: 0, score: 10}, {utilization: 100, score: 0}]";

#[test]
fn requested_to_capacity_ratio_follows_its_shape() {
    let both = "[{name: intel.com/foo, weight: 3}, {name: intel.com/bar, weight: 3}]";
    for (shape, expected) in [(RISING, "used"), (FALLING, "free")] {
        let cluster = Cluster::new([rich("used", "8"), rich("free", "8")])
            .running(used("used"))
            .profile(ratio(both, shape));
        let asks = pod("p").request("intel.com/foo", "2").request("intel.com/bar", "2");
        assert_eq!(cluster.place(asks).as_deref(), Ok(expected), "{shape}");
    }
}

#[test]
fn the_documented_example_of_node_scores_comes_out_as_documented() {
    let weighted = "[{name: intel.com/foo, weight: 5}, {name: memory, weight: 1}, \
                    {name: cpu, weight: 3}]";
    let with =
        |name: &str, foo: &str| node(name).cpu("8").memory("1024Mi").resource("intel.com/foo", foo);
    let used = |on: &str, count: &str, memory: &str, cpu: &str| {
        pod(&format!("on-{on}")).cpu(cpu).memory(memory).request("intel.com/foo", count).on(on)
    };
    let cluster = Cluster::new([with("node-1", "4"), with("node-2", "8")])
        .running(used("node-1", "1", "256Mi", "1"))
        .running(used("node-2", "2", "512Mi", "6"))
        .profile(ratio(weighted, RISING));
    let asks = pod("p").cpu("2").memory("256Mi").request("intel.com/foo", "2");
    let explained = cluster.explain(asks).unwrap();
    let score = |name: &str| {
        let node = explained.nodes.iter().find(|node| &*node.node == name).unwrap();
        node.scores.iter().find(|score| &*score.plugin == "NodeResourcesFit").unwrap().score
    };
    // Five and seven of ten in the documentation, which rounds each resource down to a tenth.
    assert_eq!((score("node-1"), score("node-2")), (60, 69));
    assert_eq!(&*explained.ranked()[0].node, "node-2");
}

const ZONE: &str = "topology.kubernetes.io/zone";

fn web() -> PodBuilder {
    pod("p").label("app", "web")
}

/// Two zones: a small one with a pod of a Service on one of its nodes, and a full one.
fn zones(profile: Profile) -> Cluster {
    let service = json!({"metadata": {"name": "web", "namespace": "default"},
        "spec": {"selector": {"app": "web"}}});
    let node = |name: &str, zone: &str| node(name).cpu("4").label(ZONE, zone);
    Cluster::new([node("one", "a"), node("two", "a"), node("three", "b")])
        .json::<Service>(service)
        .running(web().on("one"))
        .running(pod("heavy").cpu("3").on("three"))
        .profile(profile)
}

fn spread(constraints: &str, kind: &str) -> Profile {
    profile(&format!(
        "profiles:
- schedulerName: default-scheduler
  pluginConfig:
  - name: PodTopologySpread
    args:
      defaultConstraints: {constraints}
      defaultingType: {kind}
"
    ))
}

#[test]
fn default_constraints_spread_pods_of_a_service() {
    let by_zone =
        |when: &str| format!("[{{maxSkew: 1, topologyKey: {ZONE}, whenUnsatisfiable: {when}}}]");
    let place = |profile: Profile, pod: PodBuilder| best(&zones(profile), pod).node.to_string();
    // Only the zone counts, however full it is.
    let listed = spread(&by_zone("DoNotSchedule"), "List");
    assert_eq!(place(listed, web().cpu("100m")), "three");
    let cluster = zones(spread(&by_zone("ScheduleAnyway"), "List"));
    let explained = cluster.explain(web()).unwrap();
    let score = |name: &str| {
        let node = explained.nodes.iter().find(|node| &*node.node == name).unwrap();
        node.scores.iter().find(|score| &*score.plugin == "PodTopologySpread").unwrap().score
    };
    assert_eq!((score("one"), score("two"), score("three")), (0, 0, 100));
    // Upstream's own defaults count nodes as well as zones.
    let cluster = zones(spread("[]", "System"));
    let explained = cluster.explain(web()).unwrap();
    let score = |name: &str| {
        let node = explained.nodes.iter().find(|node| &*node.node == name).unwrap();
        node.scores.iter().find(|score| &*score.plugin == "PodTopologySpread").unwrap().score
    };
    assert!(score("one") < score("two") && score("two") < score("three"), "{explained}");
}

#[test]
fn an_empty_list_of_default_constraints_spreads_nothing() {
    let explained = zones(spread("[]", "List")).explain(web()).unwrap();
    let spreads = |node: &NodeExplanation| {
        node.scores.iter().any(|score| &*score.plugin == "PodTopologySpread")
    };
    assert!(!explained.nodes.iter().any(spreads), "{explained}");
}

#[test]
fn added_affinity_keeps_a_profile_to_its_nodes() {
    let config = config(
        "profiles:
- schedulerName: default-scheduler
- schedulerName: foo-scheduler
  pluginConfig:
  - name: NodeAffinity
    args:
      addedAffinity:
        requiredDuringSchedulingIgnoredDuringExecution:
          nodeSelectorTerms:
          - matchExpressions:
            - key: scheduler-profile
              operator: In
              values: [foo]
",
    );
    let cluster = |at: usize| {
        Cluster::new([node("any").cpu("8"), node("foo").cpu("1").label("scheduler-profile", "foo")])
            .profile(config.profiles()[at].clone())
    };
    let asks = |cpu: &str| pod("p").cpu(cpu);
    assert_eq!(cluster(0).place(asks("500m")).as_deref(), Ok("any"));
    assert_eq!(cluster(1).place(asks("500m")).as_deref(), Ok("foo"));
    let refused = cluster(1).place(asks("2")).unwrap_err();
    let expected = "1 node(s) didn't match scheduler-enforced node affinity";
    assert!(refused.contains(expected), "{refused}");
}
