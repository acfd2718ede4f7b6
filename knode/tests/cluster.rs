//! What pods are made from and who may look at them, through a whole API server in process.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::sync::Arc;

use async_trait::async_trait;
use http::Request;
use http_body_util::BodyExt as _;
use k8s_openapi::api::core::v1::{ConfigMap, Pod, Secret, Service};
use kapi::auth::{Identity, StaticTokens};
use kapi::{ApiServer, ServerOptions};
use kcore::client::{Api, DynClient};
use kcore::clock::Clock;
use kcore::informer::Informers;
use kcore::kind::Kind;
use kcore::random::Random;
use kcore::stop::StopToken;
use knode::Result;
use knode::env::{PodFacts, compute_command, compute_env};
use knode::server::auth::Auth;
use knode::server::{KubeletService, LogSource, Metrics, NodeView};
use knode::sources::Sources;
use knode::volume::Volumes;
use kstore::MemoryStore;
use serde_json::{Value, json};
use tower::ServiceExt as _;

const OPERATOR: &str = "operators-long-token";
const STRANGER: &str = "strangers-long-token";

struct Cluster {
    api: ApiServer,
    admin: DynClient,
}

impl Cluster {
    fn new() -> Self {
        let operator = Identity::user("operator", ["system:masters"]);
        let tokens = StaticTokens::new().token(OPERATOR, operator).unwrap();
        let tokens = tokens.token(STRANGER, Identity::user("stranger", ["crowd"])).unwrap();
        let options = ServerOptions::default().authenticator(tokens);
        let api = ApiServer::with(MemoryStore::new(), options);
        let admin = Arc::new(api.client(Identity::admin()));
        Self { api, admin }
    }

    fn node(&self) -> DynClient {
        Arc::new(self.api.client(Identity::node("n1")))
    }

    async fn create<K: Kind>(&self, object: Value) -> Arc<K> {
        let api = Api::<K>::namespaced(self.admin.clone(), "default");
        api.create(serde_json::from_value(object).unwrap()).await.unwrap()
    }
}

async fn pod(cluster: &Cluster) -> Arc<Pod> {
    cluster
        .create(json!({
            "metadata": {"name": "web"},
            "spec": {
                "containers": [{
                    "name": "main", "image": "host",
                    "command": ["serve", "$(GREETING)", "$(WEB_SERVICE_PORT)"],
                    "env": [
                        {"name": "NAME", "valueFrom": {"secretKeyRef": {"name": "s", "key": "n"}}},
                        {"name": "GREETING", "value": "$(hello) $(NAME)"},
                    ],
                    "envFrom": [{"configMapRef": {"name": "words"}}],
                    "volumeMounts": [
                        {"name": "words", "mountPath": "/etc/words"},
                        {"name": "all", "mountPath": "/var/keys", "subPath": "n"},
                    ],
                }],
                "volumes": [
                    {"name": "words", "configMap": {"name": "words"}},
                    {"name": "all", "projected": {"sources": [{"secret": {"name": "s"}}]}},
                ],
            },
        }))
        .await
}

#[tokio::test]
async fn a_pod_gets_what_the_api_server_has_and_keeps_up_with_it() {
    let cluster = Cluster::new();
    let words = json!({"metadata": {"name": "words"}, "data": {"hello": "good day"}});
    let words = cluster.create::<ConfigMap>(words).await;
    cluster.create::<Secret>(json!({"metadata": {"name": "s"}, "data": {"n": "d29ybGQ="}})).await;
    let web = json!({"metadata": {"name": "web"}, "spec": {"ports": [{"port": 8080}]}});
    cluster.create::<Service>(web).await;
    let pod = pod(&cluster).await;

    let informers = Informers::new(cluster.node(), Random::seeded(1));
    let services = informers.of::<Service>();
    let stop = StopToken::new();
    let running = tokio::spawn({
        let stop = stop.clone();
        async move { informers.run(stop).await }
    });
    services.wait_for_sync().await;

    let sources = Sources::new(cluster.node(), services.lister(), Clock::system());
    let (seen, facts) = (sources.resolve(&pod).await, PodFacts::default().node_name("n1"));
    let container = &pod.spec.as_ref().unwrap().containers[0];
    let env = compute_env(&pod, container, &seen, &facts).unwrap();
    let (command, _) = compute_command(container, &env.vars);
    assert_eq!(command, ["serve", "good day world", "8080"]);

    let dir = tempfile::tempdir().unwrap();
    let volumes = Volumes::new(dir.path(), Clock::system());
    let ready = volumes.set_up(&pod, &seen, &facts).await.unwrap();
    let mounts = volumes.mounts(container, &ready, &env.vars).await.unwrap().mounts;
    let read = |index: usize, file: &str| {
        let path = mounts[index].host_path.join(file);
        std::fs::read_to_string(if file.is_empty() {
            mounts[index].host_path.clone()
        } else {
            path
        })
    };
    assert_eq!(read(0, "hello").unwrap(), "good day");
    assert_eq!(read(1, "").unwrap(), "world");

    let mut changed = (*words).clone();
    changed.data = serde_json::from_value(json!({"hello": "good night"})).unwrap();
    Api::<ConfigMap>::namespaced(cluster.admin.clone(), "default").update(changed).await.unwrap();
    let seen = sources.resolve(&pod).await;
    volumes.set_up(&pod, &seen, &facts).await.unwrap();
    assert_eq!(read(0, "hello").unwrap(), "good night");
    stop.stop();
    running.await.unwrap();
}

#[derive(Debug)]
struct Empty;

#[async_trait]
impl NodeView for Empty {
    fn pods(&self) -> Vec<Arc<Pod>> {
        Vec::new()
    }
    async fn running_pods(&self) -> Result<Vec<Arc<Pod>>> {
        Ok(Vec::new())
    }
    async fn log(&self, _pod: &Pod, _container: &str, id: &str) -> Result<LogSource> {
        Err(knode::Error::NotFound { kind: "container", id: id.to_owned() })
    }
    fn sync_loop(&self) -> Result<(), String> {
        Err("not started".into())
    }
}

#[tokio::test]
async fn the_api_server_decides_who_may_look_at_a_node() {
    let cluster = Cluster::new();
    let auth = Auth::new(cluster.node(), "n1", Clock::system());
    let service = KubeletService::new(Empty, auth, Metrics::new());
    let ask = async |path: &str, token: &str| {
        let bearer = format!("Bearer {token}");
        let request = Request::get(path).header("authorization", bearer).body(()).unwrap();
        let response = service.clone().oneshot(request).await.unwrap();
        let status = response.status().as_u16();
        let body = response.into_body().collect().await.unwrap().to_bytes();
        (status, String::from_utf8(body.to_vec()).unwrap())
    };
    assert_eq!(ask("/metrics", OPERATOR).await.0, 200);
    let (status, text) = ask("/healthz", OPERATOR).await;
    assert_eq!(status, 500);
    assert!(text.contains("[-]syncloop failed: reason withheld\n"), "{text}");
    let (status, text) = ask("/pods", STRANGER).await;
    let expect =
        "Forbidden (user=stranger, verb=get, resource=nodes, subresource(s)=[pods proxy])\n";
    assert_eq!((status, text.as_str()), (403, expect));
    assert_eq!(ask("/pods", "an-unknown-long-token").await.0, 401);
}
