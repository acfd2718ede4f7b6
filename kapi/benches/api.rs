//! What the API server does in a second, in process: run with `cargo xtask bench api`.
//!
//! Rates on one core are counted per second of the processor: nothing waits there, so on a quiet
//! machine that is the clock's second, and on a busy one it is still the code that is measured.
#![allow(clippy::unwrap_used, reason = "a benchmark that cannot go on ends")]

use std::collections::BTreeMap;
use std::future::Future;
use std::io::Write as _;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use bytes::Bytes;
use futures::StreamExt as _;
use http_body_util::{BodyExt as _, Full};
use hyper_util::rt::{TokioExecutor, TokioIo};
use k8s_openapi::api::core::v1::{ConfigMap, Pod};
use k8s_openapi::api::rbac::v1::{ClusterRole, ClusterRoleBinding};
use kapi::auth::Identity;
use kapi::serve::{ClusterCa, Listener};
use kapi::{ApiServer, LocalClient};
use kcore::client::{Api, Client, DynClient, GetOptions, ListOptions, Patch, Path, WatchOptions};
use kcore::kind::Kind;
use kcore::name::Resource;
use kstore::{MemoryStore, StoreExt as _};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use serde_json::{Value, json};
use tokio::time::Instant;

/// Runs of each measurement; the median counts.
const RUNS: usize = 5;

struct Row {
    name: &'static str,
    unit: &'static str,
    value: f64,
    higher: bool,
    target: f64,
}

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap()
}

fn median(mut measure: impl FnMut() -> f64) -> f64 {
    let mut values: Vec<f64> = (0..RUNS).map(|_| measure()).collect();
    values.sort_by(f64::total_cmp);
    values[RUNS / 2]
}

fn on_one_core<F: Future<Output = f64>>(measure: impl Fn() -> F) -> f64 {
    median(|| runtime().block_on(measure()))
}

fn pod(name: usize) -> Pod {
    serde_json::from_value(json!({
        "metadata": {"name": format!("pod-{name}"), "labels": {"app": "web", "tier": "front"}},
        "spec": {"containers": [{"name": "c", "image": "web:1",
            "env": [{"name": "A", "value": "1"}, {"name": "B", "value": "2"}],
            "ports": [{"containerPort": 80}],
            "resources": {"requests": {"cpu": "100m", "memory": "100Mi"}}}]}}))
    .unwrap()
}

fn server() -> (ApiServer, DynClient) {
    let api = ApiServer::new(MemoryStore::new());
    let client: DynClient = Arc::new(api.client(Identity::admin()));
    (api, client)
}

fn api<K: Kind>(client: &DynClient) -> Api<K> {
    Api::namespaced(Arc::clone(client), "default")
}

async fn create_pods(client: &DynClient, count: usize) {
    /// Creates under way at once, as a controller with several workers has them.
    const AT_ONCE: usize = 32;
    let pods = api::<Pod>(client);
    futures::stream::iter(0..count)
        .for_each_concurrent(AT_ONCE, |at| {
            let pods = pods.clone();
            async move {
                pods.create(pod(at)).await.unwrap();
            }
        })
        .await;
}

async fn creates() -> f64 {
    const COUNT: usize = 20_000;
    let (_api, client) = server();
    api::<Pod>(&client).get_opt("warm").await.unwrap();
    let prepared: Vec<Pod> = (0..COUNT).map(pod).collect();
    let pods = api::<Pod>(&client);
    let busy = cpu_seconds();
    futures::stream::iter(prepared)
        .for_each_concurrent(32, |pod| {
            let pods = pods.clone();
            async move {
                pods.create(pod).await.unwrap();
            }
        })
        .await;
    COUNT as f64 / (cpu_seconds() - busy)
}

/// A caller whose permission is one of a thousand roles.
async fn with_roles(api: &ApiServer, admin: &DynClient) -> LocalClient {
    let roles: Api<ClusterRole> = Api::all(Arc::clone(admin));
    let bindings: Api<ClusterRoleBinding> = Api::all(Arc::clone(admin));
    for at in 0..1_000 {
        let resource = if at == 500 { "pods" } else { "configmaps" };
        let role = json!({"metadata": {"name": format!("r{at}")}, "rules": [
            {"apiGroups": [""], "resources": [resource], "verbs": ["get"]}]});
        roles.create(serde_json::from_value(role).unwrap()).await.unwrap();
        let binding = json!({"metadata": {"name": format!("r{at}")},
            "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole",
                "name": format!("r{at}")},
            "subjects": [{"kind": "User", "name": "reader"}]});
        bindings.create(serde_json::from_value(binding).unwrap()).await.unwrap();
    }
    api.client(Identity::user("reader", [] as [String; 0]))
}

fn gets() -> (f64, f64) {
    const PODS: usize = 100_000;
    const GETS: usize = 1_000_000;
    runtime().block_on(async {
        let (api, admin) = server();
        create_pods(&admin, PODS).await;
        let reader = with_roles(&api, &admin).await;
        let resource = Resource::of::<Pod>();
        let names: Vec<String> = (0..PODS).map(|at| format!("pod-{at}")).collect();
        let list = self::api::<Pod>(&admin);
        let metrics = list.list(&ListOptions::default().limit(1)).await.unwrap();
        assert_eq!(metrics.items.len(), 1);
        let mut rates = Vec::new();
        for _ in 0..RUNS {
            let busy = cpu_seconds();
            let mut at = 0;
            for _ in 0..GETS {
                at = (at + 7_919) % PODS;
                let path = Path::object(&resource, Some("default"), &names[at]);
                reader.get(path, &GetOptions::default()).await.unwrap();
            }
            rates.push(GETS as f64 / (cpu_seconds() - busy));
        }
        rates.sort_by(f64::total_cmp);
        (rates[RUNS / 2], counted_bytes(&api).await / PODS as f64)
    })
}

/// Bytes of the cached Pods, as the server itself counts them.
async fn counted_bytes(api: &ApiServer) -> f64 {
    use tower::ServiceExt as _;
    let request = http::Request::get("/metrics").body(String::new()).unwrap();
    let response = api.service_as(Identity::admin()).oneshot(request).await.unwrap();
    let body = http_body_util::BodyExt::collect(response.into_body()).await.unwrap().to_bytes();
    let text = String::from_utf8(body.to_vec()).unwrap();
    let line =
        text.lines().find(|line| line.starts_with("apiserver_cache_bytes{resource=\"pods\"}"));
    line.unwrap().rsplit(' ').next().unwrap().parse().unwrap()
}

/// One writer at a fixed rate and watchers of everything: p99 of the delivery, in milliseconds,
/// and the cores that were busy.
async fn fan_out(watchers: usize, rate: usize) -> (f64, f64) {
    const SECONDS: usize = 3;
    let (_api, client) = server();
    let maps = api::<ConfigMap>(&client);
    let object = json!({"metadata": {"name": "a"}, "data": {"k": "0"}});
    let mut object: ConfigMap = serde_json::from_value(object).unwrap();
    object = (*maps.create(object).await.unwrap()).clone();
    let total = rate * SECONDS;
    let mut readers = Vec::new();
    let written: Arc<parking_lot::Mutex<BTreeMap<u64, Instant>>> = Arc::default();
    let version = object.metadata.resource_version.clone().unwrap().parse().unwrap();
    for number in 0..watchers {
        let mut stream = maps.watch(&WatchOptions::default().after(version)).await.unwrap();
        let written = Arc::clone(&written);
        readers.push(tokio::spawn(async move {
            let (mut seen, mut delays) = (0, Vec::new());
            while seen < total {
                let batch = stream.next().await.unwrap().unwrap();
                seen += batch.len();
                // Some readers measure; all of them count.
                if number % 50 == 0 {
                    let now = Instant::now();
                    let written = written.lock();
                    let at = batch.last().and_then(|e| written.get(&e.resource_version()));
                    delays.extend(at.map(|at| now.duration_since(*at)));
                }
            }
            delays
        }));
    }
    let busy = cpu_seconds();
    let began = Instant::now();
    for at in 0..total {
        let due = began + Duration::from_secs_f64(at as f64 / rate as f64);
        if due > Instant::now() + Duration::from_micros(500) {
            tokio::time::sleep_until(due).await;
        }
        object.data.as_mut().unwrap().insert("k".into(), (at + 1).to_string());
        let before = Instant::now();
        object = (*maps.update(object).await.unwrap()).clone();
        let version = object.metadata.resource_version.as_ref().unwrap().parse().unwrap();
        written.lock().insert(version, before);
    }
    let mut delays: Vec<Duration> = Vec::new();
    for reader in readers {
        delays.extend(reader.await.unwrap());
    }
    let cores = (cpu_seconds() - busy) / began.elapsed().as_secs_f64();
    delays.sort();
    (delays[delays.len() * 99 / 100].as_secs_f64() * 1e3, cores)
}

/// Changes of Pods that another server made, seen by one watcher for each node: the cores that were
/// busy. The writer goes past this server, so what is measured is the watching alone.
async fn by_node(nodes: usize, rate: usize) -> f64 {
    const SECONDS: usize = 3;
    let store = Arc::new(MemoryStore::new());
    let api = ApiServer::new(Arc::clone(&store));
    let client: DynClient = Arc::new(api.client(Identity::admin()));
    let pods: Api<Pod> = Api::all(Arc::clone(&client));
    pods.get_opt("none").await.ok();
    let total = rate * SECONDS;
    let mut readers = Vec::new();
    for node in 0..nodes {
        let options = WatchOptions::default();
        let options = options.fields(format!("spec.nodeName=node-{node}").parse().unwrap());
        let mut stream = pods.watch(&options).await.unwrap();
        let expected = total / nodes;
        readers.push(tokio::spawn(async move {
            let mut seen = 0;
            while seen < expected {
                seen += stream.next().await.unwrap().unwrap().len();
            }
        }));
    }
    let prepared: Vec<(String, Bytes)> = (0..total)
        .map(|at| {
            let mut pod = serde_json::to_value(pod(at % nodes)).unwrap();
            pod["spec"]["nodeName"] = json!(format!("node-{}", at % nodes));
            pod["metadata"]["namespace"] = json!("default");
            pod["metadata"]["uid"] = json!(format!("uid-{}", at % nodes));
            pod["status"] = json!({"phase": "Running", "message": at.to_string()});
            let key = format!("/registry/core/pods/default/pod-{}", at % nodes);
            (key, Bytes::from(pod.to_string()))
        })
        .collect();
    let busy = cpu_seconds();
    let began = Instant::now();
    for (at, (key, value)) in prepared.into_iter().enumerate() {
        let due = began + Duration::from_secs_f64(at as f64 / rate as f64);
        if due > Instant::now() + Duration::from_micros(500) {
            tokio::time::sleep_until(due).await;
        }
        store.put(key, value).await.unwrap();
    }
    for reader in readers {
        reader.await.unwrap();
    }
    (cpu_seconds() - busy) / began.elapsed().as_secs_f64()
}

/// Pods created over HTTPS as JSON, client and server on the same cores.
fn https_creates() -> f64 {
    const COUNT: usize = 10_000;
    const CONNECTIONS: usize = 4;
    const STREAMS: usize = 16;
    let runtime =
        tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    runtime.block_on(async {
        let now = kcore::clock::Clock::system().now();
        let ca = ClusterCa::ephemeral(now).unwrap();
        let ip = std::net::IpAddr::from([127, 0, 0, 1]);
        let certificate = ca.server("kube-apiserver", &[], &[ip], now).unwrap();
        let listener = Listener::bind((ip, 0).into(), &ca, &certificate).await.unwrap();
        let address = listener.address();
        let api = ApiServer::new(MemoryStore::new());
        let service = api.service();
        tokio::spawn(async move { listener.serve(service, std::future::pending()).await });
        let next = Arc::new(AtomicUsize::new(0));
        let mut workers = Vec::new();
        let mut senders = Vec::new();
        for _ in 0..CONNECTIONS {
            senders.push(connect(address, &ca).await);
        }
        let began = Instant::now();
        for sender in senders {
            for _ in 0..STREAMS {
                let (mut sender, next) = (sender.clone(), Arc::clone(&next));
                workers.push(tokio::spawn(async move {
                    while let at @ 0..COUNT = next.fetch_add(1, Ordering::Relaxed) {
                        let body = Full::new(Bytes::from(serde_json::to_vec(&pod(at)).unwrap()));
                        let request =
                            http::Request::post("https://127.0.0.1/api/v1/namespaces/default/pods")
                                .header("content-type", "application/json")
                                .body(body)
                                .unwrap();
                        let response = sender.send_request(request).await.unwrap();
                        assert_eq!(response.status(), 201);
                        response.into_body().collect().await.unwrap();
                    }
                }));
            }
        }
        for worker in workers {
            worker.await.unwrap();
        }
        COUNT as f64 / began.elapsed().as_secs_f64()
    })
}

type Sender = hyper::client::conn::http2::SendRequest<Full<Bytes>>;

/// An HTTP/2 connection of the cluster's administrator.
async fn connect(address: std::net::SocketAddr, ca: &ClusterCa) -> Sender {
    let now = kcore::clock::Clock::system().now();
    let client = ca.client("kubernetes-admin", &["system:masters"], now).unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let mut roots = rustls::RootCertStore::empty();
    roots.add(CertificateDer::from_pem_slice(ca.certificate_pem().as_bytes()).unwrap()).unwrap();
    let chain = CertificateDer::from_pem_slice(client.certificate_pem.as_bytes()).unwrap();
    let key = PrivateKeyDer::from_pem_slice(client.key_pem.as_bytes()).unwrap();
    let mut config = rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_client_auth_cert(vec![chain], key)
        .unwrap();
    config.alpn_protocols = vec![b"h2".to_vec()];
    let stream = tokio::net::TcpStream::connect(address).await.unwrap();
    stream.set_nodelay(true).unwrap();
    let connector = tokio_rustls::TlsConnector::from(Arc::new(config));
    let stream = connector.connect("127.0.0.1".try_into().unwrap(), stream).await.unwrap();
    let (sender, connection) =
        hyper::client::conn::http2::handshake(TokioExecutor::new(), TokioIo::new(stream))
            .await
            .unwrap();
    tokio::spawn(connection);
    sender
}

/// Processor seconds this process has used.
fn cpu_seconds() -> f64 {
    let text = std::fs::read_to_string("/proc/self/stat").unwrap();
    let fields: Vec<&str> = text.rsplit(')').next().unwrap().split_whitespace().collect();
    // utime and stime, in ticks of a hundredth of a second.
    (fields[11].parse::<f64>().unwrap() + fields[12].parse::<f64>().unwrap()) / 100.0
}

fn first_request() -> f64 {
    median(|| {
        let runtime = runtime();
        let began = std::hint::black_box(runtime.block_on(async { Instant::now() }));
        runtime.block_on(async {
            let (_api, client) = server();
            let patch = Patch::Merge(r#"{"metadata":{"labels":{"a":"b"}}}"#.into());
            api::<ConfigMap>(&client).patch("none", patch).await.unwrap_err();
            began.elapsed().as_secs_f64() * 1e3
        })
    })
}

fn main() {
    let creates = on_one_core(creates);
    let (gets, bytes) = gets();
    let (p99, cores) = runtime().block_on(fan_out(1_000, 10_000));
    let watched = runtime().block_on(by_node(5_000, 50_000));
    let https = median(https_creates);
    let row = |name, unit, value, higher, target| Row { name, unit, value, higher, target };
    let rows = [
        row("LocalClient Pod create, one core", "1/s", creates, true, 40_000.0),
        row("LocalClient Pod get, 100k Pods, 1k roles", "1/s", gets, true, 1_000_000.0),
        row("cached Pod, counted", "bytes", bytes, false, 4_096.0),
        row("1,000 watchers, 10k updates/s: p99", "ms", p99, false, 5.0),
        row("1,000 watchers, 10k updates/s: cores", "cores", cores, false, 1.0),
        row("5,000 watchers by node, 50k events/s: cores", "cores", watched, false, 1.0),
        row("HTTPS Pod create, JSON, client on the same cores", "1/s", https, true, 5_000.0),
        row("new server to first reply", "ms", first_request(), false, 5.0),
    ];
    report("api", &rows);
}

fn report(area: &str, rows: &[Row]) {
    let mut out = std::io::stdout().lock();
    for row in rows {
        let bound = if row.higher { ">=" } else { "<=" };
        let met = if row.higher { row.value >= row.target } else { row.value <= row.target };
        let verdict = if met { "met" } else { "missed" };
        writeln!(
            out,
            "{:49} {:>14.2} {:6} target {bound} {:<12} {verdict}",
            row.name, row.value, row.unit, row.target
        )
        .unwrap();
    }
    let json: Vec<Value> = rows
        .iter()
        .map(|row| {
            json!({"name": row.name, "unit": row.unit, "value": row.value,
                "better": if row.higher { "higher" } else { "lower" }, "target": row.target})
        })
        .collect();
    let target = std::env::var("CARGO_TARGET_DIR").unwrap_or_else(|_| "../target".to_owned());
    let folder = std::path::Path::new(&target).join("bench");
    std::fs::create_dir_all(&folder).unwrap();
    std::fs::write(folder.join(format!("{area}.json")), Value::from(json).to_string()).unwrap();
}
