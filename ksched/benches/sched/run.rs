//! Runs one workload: an API server in this process, and a scheduler over it.

use std::sync::Arc;
use std::time::Duration;

use futures::StreamExt as _;
use k8s_openapi::api::core::v1::{Namespace, Node, Pod, Service, ServiceAccount};
use k8s_openapi::api::scheduling::v1::PriorityClass;
use k8s_openapi::apimachinery::pkg::api::resource::Quantity;
use kapi::ApiServer;
use kapi::auth::Identity;
use kcore::client::{Api, DeleteOptions, DynClient, WatchEvent, WatchOptions};
use kcore::clock::Clock;
use kcore::component::{Component as _, Context};
use kcore::random::Random;
use kcore::stop::StopToken;
use ksched::Scheduler;
use kstore::MemoryStore;
use serde_json::json;
use tokio::time::Instant;

use crate::meter::{Meter, Metered};
use crate::workloads::{Churn, Pods, Volumes, Workload};
use crate::{extras, templates};

/// Creates under way at once.
pub(crate) const AT_ONCE: usize = 32;
/// A run that takes longer has failed.
const LIMIT: Duration = Duration::from_secs(300);

/// What the measured pods are called.
const MEASURED: &str = "pod";
/// What the pods are called that are deleted meanwhile.
const DELETED: &str = "deleted";

/// What was measured.
pub(crate) struct Measured {
    pub(crate) rate: f64,
    pub(crate) p50: Duration,
    pub(crate) p99: Duration,
    /// Cores that were busy, on average: with everything; with the API server's calls; with the
    /// scheduling loop.
    pub(crate) cores: [f64; 3],
}

async fn create_nodes(client: &DynClient, workload: &Workload) {
    let nodes: Api<Node> = Api::all(Arc::clone(client));
    let mut all: Vec<Node> = (0..workload.nodes)
        .map(|at| {
            let zone = workload.zones.get(at % workload.zones.len().max(1)).copied();
            let mut node = templates::node(&format!("node-{at}"), 110, zone);
            let room = node.status.as_mut().unwrap();
            if workload.devices > 0 {
                let count = Quantity(workload.devices.to_string());
                for map in [&mut room.capacity, &mut room.allocatable] {
                    map.as_mut().unwrap().insert(templates::DEVICE.to_owned(), count.clone());
                }
            }
            if at < workload.tainted {
                let taint = json!([{"key": "foo", "value": "", "effect": "NoSchedule"}]);
                node.spec = Some(serde_json::from_value(json!({"taints": taint})).unwrap());
            }
            node
        })
        .collect();
    if workload.vast {
        all.push(templates::node("scheduler-perf-node", 90_000, None));
    }
    futures::stream::iter(all)
        .for_each_concurrent(AT_ONCE, |mut wanted| {
            let nodes = nodes.clone();
            async move {
                let created = nodes.create(wanted.clone()).await.unwrap();
                wanted.metadata = created.metadata.clone();
                nodes.update_status(wanted).await.unwrap();
            }
        })
        .await;
}

async fn create_others(client: &DynClient, workload: &Workload) {
    let namespaces: Api<Namespace> = Api::all(Arc::clone(client));
    let deleted = workload.deleted.iter().map(|(pods, _)| pods);
    let all = workload.init.iter().chain([&workload.measured]).chain(deleted);
    let mut names: Vec<&str> = all.map(|pods| pods.namespace.as_str()).collect();
    names.sort_unstable();
    names.dedup();
    for name in names {
        let labels = json!({"team": "devops"});
        let namespace = json!({"metadata": {"name": name, "labels": labels}});
        namespaces.create(serde_json::from_value(namespace).unwrap()).await.unwrap();
        // What a controller would make.
        let accounts: Api<ServiceAccount> = Api::namespaced(Arc::clone(client), name);
        let account = json!({"metadata": {"name": "default"}});
        accounts.create(serde_json::from_value(account).unwrap()).await.unwrap();
    }
    let classes: Api<PriorityClass> = Api::all(Arc::clone(client));
    let high = json!({"metadata": {"name": "high"}, "value": 10});
    classes.create(serde_json::from_value(high).unwrap()).await.unwrap();
    if workload.service {
        let service = json!({"metadata": {"name": "web"},
            "spec": {"selector": {"app": "web"}, "ports": [{"port": 80}]}});
        let services: Api<Service> =
            Api::namespaced(Arc::clone(client), &*workload.measured.namespace);
        services.create(serde_json::from_value(service).unwrap()).await.unwrap();
    }
}

/// What is waited for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Until {
    Created,
    Bound,
}

/// When so many pods whose names begin like this were seen to be bound.
async fn all_bound(api: Api<Pod>, prefix: String, count: usize) -> Instant {
    let mut bound = std::collections::BTreeSet::new();
    while bound.len() < count {
        let list = api.list(&Default::default()).await.unwrap();
        let placed = |pod: &Pod| pod.spec.as_ref().unwrap().node_name.is_some();
        let names = list.items.iter().filter(|pod| placed(pod));
        let names = names.map(|pod| pod.metadata.name.clone().unwrap());
        bound.extend(names.filter(|name| name.starts_with(&prefix)));
        let options = WatchOptions::default().after(list.resource_version);
        let mut events = api.watch(&options).await.unwrap();
        // A watch that falls behind is closed, and what it missed is listed.
        while bound.len() < count
            && let Some(Ok(batch)) = events.next().await
        {
            for event in batch.iter() {
                if let WatchEvent::Modified(object) = event
                    && object.meta().name.starts_with(&prefix)
                    && !object.meta().field("spec.nodeName").is_empty()
                {
                    bound.insert(object.meta().name.clone());
                }
            }
        }
    }
    Instant::now()
}

/// Creates pods, and waits until they are bound: when the first was created and the last bound.
async fn create_pods(
    client: &DynClient,
    pods: &Pods,
    prefix: &str,
    until: Until,
    volumes: Volumes,
) -> [Instant; 2] {
    let api: Api<Pod> = Api::namespaced(Arc::clone(client), &*pods.namespace);
    let (count, prefix) = (pods.count, prefix.to_owned());
    let wanted = if until == Until::Bound { count } else { 0 };
    let watcher = tokio::spawn(all_bound(api.clone(), prefix.clone(), wanted));
    let began = Instant::now();
    futures::stream::iter(0..count)
        .for_each_concurrent(AT_ONCE, |at| {
            let (api, mut pod) = (api.clone(), pods.pod.clone());
            pod.metadata.name = Some(format!("{prefix}-{at}"));
            extras::mount(volumes, &mut pod);
            async move {
                api.create(pod).await.unwrap();
            }
        })
        .await;
    let ended = tokio::time::timeout(LIMIT, watcher).await.expect("all pods are bound").unwrap();
    [began, ended]
}

async fn churn(client: DynClient, churn: Churn) {
    let pods: Api<Pod> = Api::namespaced(Arc::clone(&client), "default");
    let nodes: Api<Node> = Api::all(Arc::clone(&client));
    let services: Api<Service> = Api::namespaced(Arc::clone(&client), "default");
    let high = json!({"spec": {"priorityClassName": "high"}});
    for at in 0.. {
        let cpu = if churn == Churn::Preempting { "3000m" } else { "9" };
        let mut pod = templates::pod(cpu, "500Mi", &high);
        let name = format!("churn-{at}");
        pod.metadata.name = Some(name.clone());
        pods.create(pod).await.unwrap();
        if churn != Churn::Mixed {
            tokio::time::sleep(Duration::from_millis(200)).await;
            continue;
        }
        let service = json!({"metadata": {"name": name}, "spec": {"selector": {"app": "foo"},
            "ports": [{"port": 8080, "targetPort": 8080}]}});
        services.create(serde_json::from_value(service).unwrap()).await.unwrap();
        nodes.create(templates::node(&name, 0, None)).await.unwrap();
        tokio::time::sleep(Duration::from_secs(1)).await;
        let now = DeleteOptions::default().grace_period_seconds(0);
        pods.delete(&name, &now).await.unwrap();
        services.delete(&name, &now).await.unwrap();
        nodes.delete(&name, &now).await.unwrap();
    }
}

/// Seconds of CPU that this process has used.
fn cpu_seconds() -> f64 {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap();
    let fields: Vec<&str> = stat.rsplit(')').next().unwrap().split_whitespace().collect();
    // User and system time, in hundredths.
    (fields[11].parse::<f64>().unwrap() + fields[12].parse::<f64>().unwrap()) / 100.0
}

/// Runs a workload once.
pub(crate) async fn run(workload: &Workload) -> Measured {
    let api = ApiServer::new(MemoryStore::new());
    let (server, scheduling) = (Meter::default(), Meter::default());
    let client =
        |identity| Metered { client: Arc::new(api.client(identity)), meter: server.clone() };
    let admin: DynClient = Arc::new(client(Identity::admin()));
    create_nodes(&admin, workload).await;
    create_others(&admin, workload).await;
    extras::create_csi_nodes(&admin, workload).await;
    let stop = StopToken::new();
    let ctx = Context::new(Clock::system(), Random::seeded(1)).with_stop(stop.clone());
    let health = ctx.health().clone();
    let scheduler = Scheduler::new(client(Identity::component("scheduler")));
    let metrics = Arc::clone(scheduler.metrics());
    let meter = scheduling.clone();
    let running = tokio::spawn(async move { meter.count(scheduler.run(ctx)).await });
    while !health.current().is_ready() {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    let until = if workload.settle { Until::Bound } else { Until::Created };
    for (at, pods) in workload.init.iter().enumerate() {
        let prefix = format!("init-{at}");
        extras::create_volumes(&admin, workload.volumes, pods, &prefix).await;
        create_pods(&admin, pods, &prefix, until, workload.volumes).await;
    }
    if let Some((pods, _)) = &workload.deleted {
        create_pods(&admin, pods, DELETED, Until::Bound, Volumes::None).await;
    }
    let churning = match workload.churn {
        Churn::None => None,
        kind => Some(tokio::spawn(churn(Arc::clone(&admin), kind))),
    };
    let deleting = workload
        .deleted
        .clone()
        .map(|(pods, rate)| tokio::spawn(extras::delete(Arc::clone(&admin), pods, DELETED, rate)));
    extras::create_volumes(&admin, workload.volumes, &workload.measured, MEASURED).await;
    metrics.reset();
    let used = || [cpu_seconds(), server.read().as_secs_f64(), scheduling.read().as_secs_f64()];
    let before = used();
    let [began, ended] =
        create_pods(&admin, &workload.measured, MEASURED, Until::Bound, workload.volumes).await;
    let seconds = ended.duration_since(began).as_secs_f64();
    let after = used();
    let cores = std::array::from_fn(|at| (after[at] - before[at]) / seconds);
    for task in churning.into_iter().chain(deleting) {
        task.abort();
    }
    let (p50, p99) = (metrics.quantile(0.5), metrics.quantile(0.99));
    stop.stop();
    running.await.unwrap().unwrap();
    #[allow(clippy::cast_precision_loss, reason = "pods are far fewer")]
    let rate = workload.measured.count as f64 / seconds;
    Measured { rate, p50, p99, cores }
}
