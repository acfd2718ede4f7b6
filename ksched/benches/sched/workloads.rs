//! The workloads of the public scheduler benchmark.

use k8s_openapi::api::core::v1::Pod;
use serde_json::{Value, json};

use crate::templates::{
    DEVICE, Form, HOSTNAME, ZONE, colored, in_zones, on_node, pod, selected, spread,
};

/// Pods of one shape in one namespace.
#[derive(Clone)]
pub(crate) struct Pods {
    pub(crate) namespace: String,
    pub(crate) count: usize,
    pub(crate) pod: Pod,
}

/// What happens over and over while pods are scheduled.
#[derive(Clone, Copy, PartialEq)]
pub(crate) enum Churn {
    None,
    /// A node, a pod that does not fit and a Service come and go.
    Mixed,
    /// Pods that fit nowhere are created.
    Unschedulable,
    /// Pods that make others leave are created.
    Preempting,
}

/// What volume each pod has.
#[derive(Clone, Copy, PartialEq)]
pub(crate) enum Volumes {
    None,
    /// Of a driver in the tree.
    InTree,
    /// The same, of nodes that have it outside.
    Migrated,
    /// Of a CSI driver.
    Csi,
}

/// One workload.
pub(crate) struct Workload {
    pub(crate) name: &'static str,
    pub(crate) nodes: usize,
    pub(crate) zones: &'static [&'static str],
    /// How many of the nodes have a taint.
    pub(crate) tainted: usize,
    /// One more node with room for as many pods as there are.
    pub(crate) vast: bool,
    pub(crate) init: Vec<Pods>,
    /// Whether the first pods are to be bound before the others come.
    pub(crate) settle: bool,
    pub(crate) service: bool,
    pub(crate) volumes: Volumes,
    /// What each node has of [`DEVICE`](crate::templates::DEVICE).
    pub(crate) devices: u32,
    /// Pods that are deleted meanwhile, so many a second.
    pub(crate) deleted: Option<(Pods, u32)>,
    pub(crate) churn: Churn,
    pub(crate) measured: Pods,
    /// Upstream's own pass mark, in pods a second.
    pub(crate) floor: Option<f64>,
    pub(crate) target: f64,
}

fn base(more: &Value) -> Pod {
    pod("100m", "500Mi", more)
}

fn pods(namespace: &str, count: usize, pod: Pod) -> Pods {
    Pods { namespace: namespace.to_owned(), count, pod }
}

fn plain(count: usize) -> Pods {
    pods("namespace-2", count, base(&json!({})))
}

fn workload(name: &'static str, measured: Pods, target: f64) -> Workload {
    Workload {
        name,
        nodes: 5_000,
        zones: &[],
        tainted: 0,
        vast: false,
        init: Vec::new(),
        settle: true,
        service: false,
        volumes: Volumes::None,
        devices: 0,
        deleted: None,
        churn: Churn::None,
        measured,
        floor: None,
        target,
    }
}

const THREE: &[&str] = &["moon-1", "moon-2", "moon-3"];
const ONE: &[&str] = &["zone1"];
const PREFERRED: Form = Form::Preferred;
const REQUIRED: Form = Form::Required;

fn first(count: usize) -> Vec<Pods> {
    vec![pods("namespace-1", count, base(&json!({})))]
}

/// The first pods and the measured ones are alike.
fn alike(
    name: &'static str,
    zones: &'static [&'static str],
    counts: [usize; 2],
    pod: &Value,
) -> Workload {
    let [init, measured] = counts;
    Workload {
        zones,
        init: vec![pods("sched-0", init, base(pod))],
        ..workload(name, pods("sched-1", measured, base(pod)), 8_000.0)
    }
}

/// A hundred namespaces with pods, by whose labels the measured ones choose.
fn selecting(
    name: &'static str,
    zones: &'static [&'static str],
    [each, measured]: [usize; 2],
    pod: &Value,
) -> Workload {
    let init = (0..100).map(|at| pods(&format!("init-ns-{at}"), each, base(pod)));
    Workload {
        zones,
        init: init.collect(),
        ..workload(name, pods("measure-ns-0", measured, base(pod)), 8_000.0)
    }
}

fn plain_workloads() -> Vec<Workload> {
    vec![
        Workload {
            init: first(5_000),
            floor: Some(810.0),
            ..workload("SchedulingBasic/5000Nodes_50000Pods", plain(50_000), 15_000.0)
        },
        Workload {
            zones: ONE,
            init: first(5_000),
            floor: Some(220.0),
            ..workload(
                "SchedulingNodeAffinity/5000Nodes_10000Pods",
                pods("namespace-2", 10_000, base(&in_zones())),
                15_000.0,
            )
        },
        Workload {
            init: first(100),
            churn: Churn::Unschedulable,
            floor: Some(590.0),
            ..workload("Unschedulable/5kNodes/100Init/10kPods", plain(10_000), 15_000.0)
        },
        Workload {
            init: first(20_000),
            churn: Churn::Unschedulable,
            floor: Some(600.0),
            ..workload("Unschedulable/5kNodes/20kInit/10kPods", plain(10_000), 15_000.0)
        },
        Workload {
            churn: Churn::Mixed,
            floor: Some(710.0),
            ..workload("SchedulingWithMixedChurn/5000Nodes_10000Pods", plain(10_000), 15_000.0)
        },
    ]
}

fn odd_workloads() -> Vec<Workload> {
    let gate = json!({"spec": {"schedulingGates": [{"name": "example.com/gate"}]}});
    vec![
        Workload {
            nodes: 15_000,
            vast: true,
            floor: Some(1100.0),
            ..workload(
                "SchedulingDaemonset/15000Nodes",
                pods("namespace-2", 30_000, base(&on_node("scheduler-perf-node"))),
                15_000.0,
            )
        },
        Workload {
            nodes: 0,
            vast: true,
            init: vec![pods("namespace-1", 10_000, base(&gate))],
            settle: false,
            deleted: Some((pods("namespace-3", 20_000, base(&on_node("scheduler-perf-node"))), 50)),
            floor: Some(910.0),
            ..workload(
                "SchedulingWhileGated/1Node_10000GatedPods",
                pods("namespace-2", 20_000, base(&on_node("scheduler-perf-node"))),
                15_000.0,
            )
        },
        Workload {
            init: first(1_000),
            floor: Some(790.0),
            ..workload(
                "SchedulingSecrets/5000Nodes_10000Pods",
                pods(
                    "namespace-2",
                    10_000,
                    base(&json!({"spec": {"volumes":
                        [{"name": "secret", "secret": {"secretName": "secret"}}]}})),
                ),
                15_000.0,
            )
        },
    ]
}

fn affinity_workloads() -> Vec<Workload> {
    let near = |preferred, key| colored("blue", "podAffinity", preferred, key);
    let anti = |color, preferred| colored(color, "podAntiAffinity", preferred, HOSTNAME);
    let mixed = [
        json!({}),
        near(REQUIRED, ZONE),
        anti("green", REQUIRED),
        colored("red", "podAffinity", PREFERRED, HOSTNAME),
        anti("yellow", PREFERRED),
    ];
    let mixed = mixed.iter().map(|pod| pods("sched-0", 2_000, base(pod)));
    vec![
        Workload {
            floor: Some(60.0),
            ..alike(
                "SchedulingPodAntiAffinity/5000Nodes_2000Pods",
                &[],
                [1_000, 2_000],
                &anti("green", REQUIRED),
            )
        },
        Workload {
            init: vec![pods("sched-0", 1_000, base(&anti("green", REQUIRED)))],
            floor: Some(595.0),
            ..workload(
                "SchedulingPodMatchingAntiAffinity/5000Nodes_5000Pods",
                pods("sched-1", 4_000, base(&json!({"metadata": {"labels": {"color": "green"}}}))),
                8_000.0,
            )
        },
        Workload {
            floor: Some(35.0),
            ..alike(
                "SchedulingPodAffinity/5000Nodes_5000Pods",
                ONE,
                [5_000, 5_000],
                &near(REQUIRED, ZONE),
            )
        },
        Workload {
            floor: Some(90.0),
            ..alike(
                "SchedulingPreferredPodAffinity/5000Nodes_5000Pods",
                &[],
                [5_000, 5_000],
                &colored("red", "podAffinity", PREFERRED, HOSTNAME),
            )
        },
        Workload {
            floor: Some(90.0),
            ..alike(
                "SchedulingPreferredPodAntiAffinity/5000Nodes_5000Pods",
                &[],
                [5_000, 5_000],
                &anti("yellow", PREFERRED),
            )
        },
        Workload {
            zones: ONE,
            init: mixed.collect(),
            floor: Some(140.0),
            ..workload("MixedSchedulingBasePod/5000Nodes_5000Pods", plain(5_000), 8_000.0)
        },
    ]
}

fn selector_workloads() -> Vec<Workload> {
    vec![
        Workload {
            nodes: 6_000,
            floor: Some(24.0),
            ..selecting(
                "SchedulingRequiredPodAntiAffinityWithNSSelector/5000Nodes_2000Pods",
                &[],
                [40, 2_000],
                &selected("green", "podAntiAffinity", REQUIRED, HOSTNAME),
            )
        },
        Workload {
            floor: Some(55.0),
            ..selecting(
                "SchedulingPreferredAntiAffinityWithNSSelector/5000Nodes_2000Pods",
                &[],
                [40, 2_000],
                &selected("yellow", "podAntiAffinity", PREFERRED, HOSTNAME),
            )
        },
        Workload {
            floor: Some(35.0),
            ..selecting(
                "SchedulingRequiredPodAffinityWithNSSelector/5000Nodes_2000Pods",
                ONE,
                [50, 2_000],
                &selected("blue", "podAffinity", REQUIRED, ZONE),
            )
        },
        Workload {
            floor: Some(90.0),
            ..selecting(
                "SchedulingPreferredAffinityWithNSSelector/5000Nodes_5000Pods",
                &[],
                [50, 5_000],
                &selected("red", "podAffinity", PREFERRED, HOSTNAME),
            )
        },
    ]
}

fn spread_workloads() -> Vec<Workload> {
    let hard = |policies: &Value| base(&spread("DoNotSchedule", policies));
    let owned = json!({"metadata": {"labels": {"app": "web"}}});
    vec![
        Workload {
            zones: THREE,
            init: first(5_000),
            floor: Some(460.0),
            ..workload(
                "TopologySpreading/5000Nodes_5000Pods",
                pods("namespace-2", 5_000, hard(&json!({}))),
                8_000.0,
            )
        },
        Workload {
            zones: THREE,
            init: first(5_000),
            floor: Some(340.0),
            ..workload(
                "PreferredTopologySpreading/5000Nodes_5000Pods",
                pods("namespace-2", 5_000, base(&spread("ScheduleAnyway", &json!({})))),
                8_000.0,
            )
        },
        Workload {
            zones: THREE,
            init: first(5_000),
            service: true,
            floor: Some(160.0),
            ..workload(
                "DefaultTopologySpreading/5000Nodes_50000Pods",
                pods("namespace-2", 50_000, base(&owned)),
                8_000.0,
            )
        },
        Workload {
            zones: THREE,
            tainted: 1_000,
            floor: Some(270.0),
            ..workload(
                "SchedulingWithNodeInclusionPolicy/5000Nodes",
                pods("namespace-2", 4_000, hard(&json!({"nodeTaintsPolicy": "Honor"}))),
                8_000.0,
            )
        },
    ]
}

fn preemption_workloads() -> Vec<Workload> {
    let low = || pod("900m", "500Mi", &json!({"spec": {"terminationGracePeriodSeconds": 0}}));
    let high = || pod("3000m", "500Mi", &json!({"spec": {"priorityClassName": "high"}}));
    let basic = |name, nodes: usize| Workload {
        nodes,
        init: vec![pods("namespace-1", nodes * 4, low())],
        ..workload(name, pods("namespace-2", nodes, high()), 2_000.0)
    };
    vec![
        basic("PreemptionBasic/1000Nodes", 1_000),
        basic("PreemptionBasic/5000Nodes", 5_000),
        Workload {
            init: vec![pods("namespace-1", 20_000, low())],
            churn: Churn::Preempting,
            floor: Some(570.0),
            ..workload("PreemptionAsync/5000Nodes", plain(5_000), 2_000.0)
        },
    ]
}

fn volume_workloads() -> Vec<Workload> {
    let mounted = |name, volumes, [init, measured]: [usize; 2], floor| Workload {
        volumes,
        init: first(init),
        floor: Some(floor),
        ..workload(name, plain(measured), 15_000.0)
    };
    let all = [5_000, 5_000];
    vec![
        mounted("SchedulingInTreePVs/5000Nodes_2000Pods", Volumes::InTree, [1_000, 2_000], 290.0),
        mounted("SchedulingMigratedInTreePVs/5000Nodes_5000Pods", Volumes::Migrated, all, 100.0),
        mounted("SchedulingCSIPVs/5000Nodes_5000Pods", Volumes::Csi, all, 100.0),
    ]
}

fn saturating_workloads() -> Vec<Workload> {
    let device = json!({"spec": {"containers": [{"name": "pause",
        "image": "registry.k8s.io/pause:3.10", "resources": {"limits": {DEVICE: "1"},
            "requests": {DEVICE: "1"}}}]}});
    let finalizer = json!({"metadata": {"finalizers": ["example.com/never"]}});
    let port = json!({"spec": {"containers": [{"name": "pause",
        "image": "registry.k8s.io/pause:3.10",
        "ports": [{"containerPort": 80, "hostPort": 8080}]}]}});
    let batch = |name, pod| Workload {
        nodes: 20_000,
        ..workload(name, pods("namespace-2", 20_000, pod), 15_000.0)
    };
    vec![
        Workload {
            devices: 2,
            floor: Some(180.0),
            ..workload(
                "SchedulingWithExtendedResource/5000pods_5000nodes",
                pods("namespace-2", 5_000, base(&device)),
                15_000.0,
            )
        },
        Workload {
            deleted: Some((pods("namespace-3", 5_000, base(&finalizer)), 100)),
            floor: Some(830.0),
            ..workload("SchedulingDeletedPodsWithFinalizers/5000Node", plain(5_000), 15_000.0)
        },
        batch("batching: HostPortConflict/20000Nodes", base(&port)),
        batch("batching: ResourceSaturation/20000Nodes", pod("4", "500Mi", &json!({}))),
    ]
}

/// All of them.
pub(crate) fn all() -> Vec<Workload> {
    let parts = [
        plain_workloads(),
        odd_workloads(),
        affinity_workloads(),
        selector_workloads(),
        spread_workloads(),
        preemption_workloads(),
        volume_workloads(),
        saturating_workloads(),
    ];
    let mut all: Vec<Workload> = parts.into_iter().flatten().collect();
    all.push(Workload {
        nodes: 100_000,
        ..workload("100,000 nodes, 100,000 pods", plain(100_000), 14_000.0)
    });
    all
}
