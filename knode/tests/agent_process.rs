//! The agent on real processes: what runs outlives it, is configured as its pod says, and is told.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use k8s_openapi::api::core::v1::{ConfigMap, Pod, Secret};
use kapi::auth::Identity;
use kapi::{ApiServer, ServerOptions};
use kcore::client::{Api, DeleteOptions, DynClient, Patch};
use kcore::component::{Distribution, Running};
use knode::process::{Options, ProcessRuntime};
use knode::{AgentOptions, NodeAgent};
use kstore::MemoryStore;
use serde_json::{Value, json};

/// A node on real processes, and the API server that its agent follows.
struct Node {
    api: ApiServer,
    directory: tempfile::TempDir,
    pod_cidr: &'static str,
}

impl Node {
    fn new(pod_cidr: &'static str) -> Self {
        let options = ServerOptions::default().loopback_pod_cidr("127.0.0.0/8".parse().unwrap());
        let api = ApiServer::with(MemoryStore::new(), options);
        Self { api, directory: tempfile::tempdir().unwrap(), pod_cidr }
    }

    fn path(&self) -> &Path {
        self.directory.path()
    }

    /// Starts an agent, with a runtime of its own over what is on disk.
    fn start(&self) -> (Running, ProcessRuntime) {
        let shim = Path::new(env!("CARGO_BIN_EXE_knode-shim")).to_owned();
        let options = Options::default().shim_path(Some(shim)).pod_cidr(self.pod_cidr).unwrap();
        let runtime = ProcessRuntime::new(self.path().join("runtime"), options).unwrap();
        let client: DynClient = Arc::new(self.api.client(Identity::node("node-1")));
        let options =
            AgentOptions::default().name("node-1").data_dir(Some(self.path().join("node")));
        let agent = NodeAgent::new(client, runtime.clone(), options);
        (Distribution::new().with(agent).start(), runtime)
    }

    fn pods(&self) -> Api<Pod> {
        Api::namespaced(Arc::new(self.api.client(Identity::admin())), "default")
    }

    async fn create(&self, name: &str, mut spec: Value) {
        spec["nodeName"] = json!("node-1");
        let pod = json!({"metadata": {"name": name}, "spec": spec});
        self.pods().create(serde_json::from_value(pod).unwrap()).await.unwrap();
    }

    /// Waits until the pod is as `test` says, for at most a minute.
    async fn wait(&self, name: &str, test: impl Fn(&Value) -> bool) -> Value {
        let mut status = Value::Null;
        for _ in 0..3000 {
            let pod = self.pods().get(name).await.unwrap();
            status = serde_json::to_value(&pod.status).unwrap();
            if test(&status) {
                return status;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        panic!("{name} does not get there: {status:#}");
    }

    async fn wait_gone(&self, name: &str) {
        for _ in 0..3000 {
            if self.pods().get_opt(name).await.unwrap().is_none() {
                return;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        panic!("{name} does not go");
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        // A test that failed must not leave its processes to the machine.
        let mark = self.path().as_os_str().as_encoded_bytes();
        for entry in std::fs::read_dir("/proc").unwrap().flatten() {
            let Some(pid) = entry.file_name().to_str().and_then(|name| name.parse().ok()) else {
                continue;
            };
            let environ = std::fs::read(entry.path().join("environ")).unwrap_or_default();
            if environ.windows(mark.len()).any(|part| part == mark) {
                let pid = rustix::process::Pid::from_raw(pid).unwrap();
                let _ = rustix::process::kill_process(pid, rustix::process::Signal::KILL);
            }
        }
    }
}

fn main_container(status: &Value) -> &Value {
    &status["containerStatuses"][0]
}

fn is_ready(status: &Value) -> bool {
    main_container(status)["ready"] == true
}

fn shell(script: &str) -> Value {
    json!({"name": "main", "image": "host", "command": ["sh", "-c", script]})
}

#[tokio::test(flavor = "multi_thread")]
async fn the_successor_of_a_lost_agent_restarts_no_process() {
    let node = Node::new("127.110.0.0/16");
    let (agent, runtime) = node.start();
    let script = "echo $$ > $KUBRICK_ROOT/dev/termination-log; while sleep 0.05; do :; done";
    node.create("web", json!({"containers": [shell(script)]})).await;
    let before = node.wait("web", is_ready).await;
    // Neither says goodbye, as one that is killed does not.
    drop((agent, runtime));
    let (_agent, runtime) = node.start();
    tokio::time::sleep(Duration::from_secs(2)).await;
    let after = node.wait("web", is_ready).await;
    assert_eq!(before, after, "N1: the same container, and nothing to say");
    node.pods().delete("web", &DeleteOptions::default()).await.unwrap();
    node.wait_gone("web").await;
    runtime.shutdown(Duration::from_secs(1)).await.unwrap();
    let left: Vec<_> = std::fs::read_dir(node.path().join("node/pods")).unwrap().collect();
    assert!(left.is_empty(), "N4: {left:?}");
    let left: Vec<_> = std::fs::read_dir(node.path().join("node/logs")).unwrap().collect();
    assert!(left.is_empty(), "N4: {left:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn hooks_probes_volumes_and_messages_meet_a_process() {
    let node = Node::new("127.111.0.0/16");
    let (_agent, runtime) = node.start();
    let admin: DynClient = Arc::new(node.api.client(Identity::admin()));
    let maps: Api<ConfigMap> = Api::namespaced(admin, "default");
    let map = json!({"metadata": {"name": "words"}, "data": {"greeting": "good day"}});
    maps.create(serde_json::from_value(map).unwrap()).await.unwrap();
    // It ends once the hook before its stop has run, and says what it saw.
    let script = "trap 'cat $KUBRICK_ROOT/data/seen > $KUBRICK_ROOT/dev/termination-log; exit 7' \
                  TERM; while sleep 0.02; do :; done";
    let mut main = shell(script);
    let run = |script: &str| json!({"exec": {"command": ["sh", "-c", script]}});
    main["lifecycle"] = json!({
        "postStart": run("cat $KUBRICK_ROOT/words/greeting > $KUBRICK_ROOT/data/seen"),
        "preStop": run("echo \" and goodbye\" >> $KUBRICK_ROOT/data/seen"),
    });
    main["readinessProbe"] = json!({
        "exec": {"command": ["sh", "-c", "test -s $KUBRICK_ROOT/data/seen"]}, "periodSeconds": 1,
    });
    main["volumeMounts"] = json!([
        {"name": "words", "mountPath": "/words"}, {"name": "data", "mountPath": "/data"},
    ]);
    let volumes = json!([
        {"name": "words", "configMap": {"name": "words"}}, {"name": "data", "emptyDir": {}},
    ]);
    let finalizers = json!({"metadata": {"finalizers": ["kubrick.test/look"]}});
    node.create("web", json!({"containers": [main], "volumes": volumes})).await;
    node.wait("web", is_ready).await;
    // The finalizer keeps the pod, so that its end can be looked at.
    let patch = |patch: Value| Patch::Merge(patch.to_string().into());
    node.pods().patch("web", patch(finalizers)).await.unwrap();
    node.pods().delete("web", &DeleteOptions::default()).await.unwrap();
    let ended = |status: &Value| !main_container(status)["state"]["terminated"].is_null();
    let status = node.wait("web", ended).await;
    let ended = &main_container(&status)["state"]["terminated"];
    assert_eq!(ended["exitCode"], 7, "{ended}");
    assert_eq!(ended["message"], "good day and goodbye\n", "N8: {ended}");
    assert_eq!(status["phase"], "Failed");
    let done = json!({"metadata": {"finalizers": null}});
    node.pods().patch("web", patch(done)).await.unwrap();
    node.wait_gone("web").await;
    runtime.shutdown(Duration::from_secs(1)).await.unwrap();
}

/// Whoever the container runs as: another user where the agent is root, who may choose, and the
/// agent's own otherwise.
#[tokio::test(flavor = "multi_thread")]
async fn a_containers_user_reads_its_secret_and_leaves_its_message_x8() {
    use std::os::unix::fs::PermissionsExt as _;
    let node = Node::new("127.112.0.0/16");
    let passable = std::fs::Permissions::from_mode(0o711);
    std::fs::set_permissions(node.path(), passable).unwrap();
    let (_agent, runtime) = node.start();
    let admin: DynClient = Arc::new(node.api.client(Identity::admin()));
    let secrets: Api<Secret> = Api::namespaced(admin, "default");
    let secret = json!({"metadata": {"name": "s"}, "stringData": {"p": "hush"}});
    secrets.create(serde_json::from_value(secret).unwrap()).await.unwrap();
    let own = rustix::process::geteuid();
    let user = if own.is_root() { 65_534 } else { own.as_raw() };
    let script = "id -u > $KUBRICK_ROOT/data/seen; cat $KUBRICK_ROOT/keys/p >> \
                  $KUBRICK_ROOT/data/seen; cat $KUBRICK_ROOT/data/seen > \
                  $KUBRICK_ROOT/dev/termination-log";
    let mut main = shell(script);
    main["volumeMounts"] = json!([
        {"name": "keys", "mountPath": "/keys"}, {"name": "data", "mountPath": "/data"},
    ]);
    let group = if own.is_root() { json!(65_534) } else { Value::Null };
    let spec = json!({
        "containers": [main], "restartPolicy": "Never",
        "securityContext": {"runAsUser": user, "runAsGroup": group},
        "volumes": [
            {"name": "keys", "secret": {"secretName": "s"}}, {"name": "data", "emptyDir": {}}],
    });
    node.create("web", spec).await;
    let ended = |status: &Value| !main_container(status)["state"]["terminated"].is_null();
    let status = node.wait("web", ended).await;
    let ended = &main_container(&status)["state"]["terminated"];
    assert_eq!(ended["message"], format!("{user}\nhush"), "{ended}");
    runtime.shutdown(Duration::from_secs(1)).await.unwrap();
}
