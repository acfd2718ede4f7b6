//! Real kubectl against the `standalone` example, over HTTPS.

use std::io::{BufRead as _, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

/// The example's binary: cargo builds examples before it runs tests.
fn standalone() -> PathBuf {
    let test = std::env::current_exe().unwrap();
    test.ancestors().nth(2).unwrap().join("examples/standalone")
}

/// The kubectl to use, or none where the machine has none and nobody insists.
fn kubectl() -> Option<String> {
    let named = std::env::var("KUBRICK_KUBECTL").ok();
    let required = std::env::var_os("KUBRICK_REQUIRE_TOOLS").is_some();
    assert!(named.is_some() || !required, "KUBRICK_KUBECTL is not set; run `cargo xtask test`");
    if named.is_none() {
        println!("skipped: no kubectl; `cargo xtask test` fetches one");
    }
    named
}

/// A server of its own, with a directory of its own.
struct Server {
    child: Child,
    dir: tempfile::TempDir,
    kubectl: String,
}

impl Server {
    fn start() -> Option<Self> {
        let kubectl = kubectl()?;
        let dir = tempfile::tempdir().unwrap();
        let mut child = Command::new(standalone())
            .arg("--data-dir")
            .arg(dir.path())
            .args(["--listen", "127.0.0.1:0"])
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        // The path of the kubeconfig is printed once the address is taken.
        let mut line = String::new();
        BufReader::new(child.stdout.as_mut().unwrap()).read_line(&mut line).unwrap();
        assert!(line.starts_with("kubeconfig: "), "{line}");
        let this = Self { child, dir, kubectl };
        this.run(&["get", "--raw", "/readyz"]);
        Some(this)
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(&self.kubectl);
        command.arg("--kubeconfig").arg(self.dir.path().join("kubeconfig"));
        command.env("HOME", self.dir.path()).args(["--request-timeout", "20s"]).args(arguments);
        command
    }

    /// Runs kubectl, which must succeed, and returns what it printed.
    fn run(&self, arguments: &[&str]) -> String {
        let output = self.command(arguments).output().unwrap();
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        let error = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "kubectl {arguments:?}:\n{text}{error}");
        text
    }

    /// Runs kubectl, which must fail, and returns why it did.
    fn fail(&self, arguments: &[&str]) -> String {
        let output = self.command(arguments).output().unwrap();
        assert!(!output.status.success(), "kubectl {arguments:?} succeeded");
        String::from_utf8_lossy(&output.stderr).into_owned()
    }

    fn file(&self, name: &str, text: &str) -> String {
        let path = self.dir.path().join(name);
        std::fs::write(&path, text).unwrap();
        path.display().to_string()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }
}

const MANIFEST: &str = r#"
apiVersion: v1
kind: Namespace
metadata: {name: shop}
---
apiVersion: v1
kind: ConfigMap
metadata: {name: settings, namespace: shop}
data: {color: green}
---
apiVersion: v1
kind: Secret
metadata: {name: password, namespace: shop}
stringData: {password: hush}
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: web, namespace: shop, labels: {app: web}}
spec:
  replicas: 3
  selector: {matchLabels: {app: web}}
  template:
    metadata: {labels: {app: web}}
    spec:
      containers: [{name: web, image: "web:1", ports: [{containerPort: 8080}]}]
---
apiVersion: v1
kind: Service
metadata: {name: web, namespace: shop}
spec:
  selector: {app: web}
  ports: [{port: 80, targetPort: 8080}]
"#;

#[test]
fn apply_creates_and_then_merges() {
    let Some(server) = Server::start() else { return };
    let file = server.file("shop.yaml", MANIFEST);
    let first = server.run(&["apply", "-f", &file]);
    assert_eq!(first.lines().filter(|line| line.ends_with(" created")).count(), 5, "{first}");
    let file = server.file("shop.yaml", &MANIFEST.replace("replicas: 3", "replicas: 4"));
    let second = server.run(&["apply", "-f", &file]);
    assert!(second.contains("deployment.apps/web configured"), "{second}");
    assert!(second.contains("service/web unchanged"), "{second}");
    let wrong = MANIFEST.replace("replicas: 3", "replica: 3");
    let error = server.fail(&["apply", "-f", &server.file("wrong.yaml", &wrong)]);
    assert!(error.contains("unknown field \"spec.replica\""), "A5: {error}");
    let get = |path: &str| {
        let path = format!("jsonpath={{{path}}}");
        server.run(&["-n", "shop", "get", "deployment", "web", "-o", &path])
    };
    assert_eq!(get(".spec.replicas"), "4");
    server.run(&["-n", "shop", "scale", "deployment", "web", "--replicas=2"]);
    server.run(&["-n", "shop", "patch", "deployment", "web", "-p", r#"{"spec":{"paused":true}}"#]);
    let json = r#"[{"op":"replace","path":"/spec/revisionHistoryLimit","value":3}]"#;
    server.run(&["-n", "shop", "patch", "deployment", "web", "--type=json", "-p", json]);
    let merge = r#"{"spec":{"minReadySeconds":7}}"#;
    server.run(&["-n", "shop", "patch", "deployment", "web", "--type=merge", "-p", merge]);
    let spec = [".spec.replicas", ".spec.paused", ".spec.revisionHistoryLimit"];
    assert_eq!(spec.map(get), ["2", "true", "3"]);
    assert_eq!(get(".spec.minReadySeconds"), "7");
    server.run(&["-n", "shop", "label", "deployment", "web", "tier=front"]);
    server.run(&["-n", "shop", "annotate", "deployment", "web", "note=x"]);
    assert!(server.run(&["get", "deploy", "-A", "-l", "tier=front", "-o", "name"]).contains("web"));
    server.run(&["-n", "shop", "delete", "deployment,service", "web", "--wait=false"]);
}

const NODE: &str = r#"
apiVersion: v1
kind: Node
metadata: {name: n1}
status:
  capacity: {cpu: "4", memory: 8Gi, pods: "110"}
  conditions: [{type: Ready, status: "True"}]
"#;

/// Tries until a check holds; a cluster takes its time.
fn eventually(what: &str, mut check: impl FnMut() -> bool) {
    for _ in 0..100 {
        if check() {
            return;
        }
        #[allow(clippy::disallowed_methods, reason = "another process is waited for")]
        std::thread::sleep(std::time::Duration::from_millis(100));
    }
    panic!("never: {what}");
}

#[test]
fn a_deployment_becomes_pods_on_a_node_and_goes_with_them() {
    let Some(server) = Server::start() else { return };
    server.run(&["apply", "-f", &server.file("shop.yaml", MANIFEST)]);
    let pods = || server.run(&["-n", "shop", "get", "pods", "-o", "wide", "--no-headers"]);
    eventually("three pods", || pods().lines().count() == 3);
    let events = || server.run(&["-n", "shop", "get", "events"]);
    eventually("the scheduler says why not", || events().contains("no nodes available"));
    server.run(&["apply", "-f", &server.file("node.yaml", NODE)]);
    eventually("all bound", || pods().lines().filter(|line| line.contains(" n1 ")).count() == 3);
    eventually("it was said", || events().contains("Successfully assigned shop/web-"));
    assert!(events().contains("Scaled up replica set web-"), "{}", events());
    let image = ["-n", "shop", "set", "image", "deployment/web", "web=web:2"];
    server.run(&image);
    let history = || server.run(&["-n", "shop", "rollout", "history", "deployment/web"]);
    eventually("a second revision", || history().lines().any(|line| line.starts_with("2 ")));
    server.run(&["-n", "shop", "rollout", "undo", "deployment/web"]);
    eventually("a third revision", || history().lines().any(|line| line.starts_with("3 ")));
    server.run(&["-n", "shop", "rollout", "pause", "deployment/web"]);
    server.run(&["-n", "shop", "rollout", "resume", "deployment/web"]);
    server.run(&["-n", "shop", "rollout", "restart", "deployment/web"]);
    server.run(&["-n", "shop", "delete", "deployment", "web"]);
    // D2: what it owned follows. No agent runs on the node, so its Pods wait for one.
    let sets = || server.run(&["-n", "shop", "get", "replicasets", "--no-headers", "-o", "name"]);
    eventually("no replica set", || sets().is_empty());
    server.run(&["-n", "shop", "delete", "pods", "--all", "--force", "--grace-period=0"]);
    // D7: the namespace takes what is left with it.
    server.run(&["delete", "namespace", "shop"]);
    server.fail(&["get", "namespace", "shop"]);
    server.fail(&["-n", "shop", "get", "configmap", "settings"]);
}

#[test]
fn people_find_their_way_around() {
    let Some(server) = Server::start() else { return };
    server.run(&["apply", "-f", &server.file("shop.yaml", MANIFEST)]);
    let explained = server.run(&["explain", "deployment.spec.strategy"]);
    assert!(explained.contains("rollingUpdate"), "{explained}");
    let resources = server.run(&["api-resources", "-o", "wide"]);
    for kind in ["deployments", "pods", "ingresses", "leases", "customresourcedefinitions"] {
        assert!(resources.contains(kind), "{kind}: {resources}");
    }
    let who = server.run(&["auth", "whoami"]);
    assert!(who.contains("kubernetes-admin") && who.contains("system:masters"), "{who}");
    assert_eq!(server.run(&["auth", "can-i", "create", "pods"]).trim(), "yes");
    let service = server.run(&["-n", "shop", "get", "service", "web", "-o", "wide"]);
    let heading = service.lines().next().unwrap();
    for column in ["CLUSTER-IP", "EXTERNAL-IP", "PORT(S)", "AGE", "SELECTOR"] {
        assert!(heading.contains(column), "{service}");
    }
    let all = server.run(&["get", "all", "-A"]);
    assert!(all.contains("service/kubernetes") && all.contains("deployment.apps/web"), "{all}");
    let described = server.run(&["-n", "shop", "describe", "deployment", "web"]);
    assert!(described.contains("RollingUpdateStrategy:  25% max unavailable"), "{described}");
    let secret = server.run(&["-n", "shop", "describe", "secret", "password"]);
    assert!(!secret.contains("hush") && secret.contains("4 bytes"), "X8: {secret}");
    let missing = server.fail(&["get", "pod", "nobody"]);
    assert!(missing.contains("pods \"nobody\" not found"), "{missing}");
    let version = server.run(&["version"]);
    assert!(version.contains("Server Version: v1.37"), "{version}");
}

#[test]
fn strangers_see_health_and_version_alone() {
    // X1.
    let Some(server) = Server::start() else { return };
    let nobody = ["--as", "system:anonymous"];
    for path in ["/readyz", "/livez", "/healthz", "/version"] {
        server.run(&[&nobody[..], &["get", "--raw", path]].concat());
    }
    for path in ["/api/v1/namespaces", "/metrics", "/apis", "/openapi/v3"] {
        let error = server.fail(&[&nobody[..], &["get", "--raw", path]].concat());
        assert!(error.contains("system:anonymous"), "{path}: {error}");
    }
}

#[test]
fn what_is_in_the_way_is_said_in_one_line() {
    let dir = tempfile::tempdir().unwrap();
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let run = |data: &Path, listen: &str| {
        let mut command = Command::new(standalone());
        let output = command.arg("--data-dir").arg(data).args(["--listen", listen]).output();
        let output = output.unwrap();
        assert!(!output.status.success());
        String::from_utf8_lossy(&output.stderr).into_owned()
    };
    let error = run(dir.path(), &address);
    assert!(error.contains(&address) && error.contains("choose another address"), "{error}");
    let file = dir.path().join("file");
    std::fs::write(&file, "").unwrap();
    let error = run(&file, "127.0.0.1:0");
    assert!(error.contains("choose a directory"), "{error}");
    let error = run(dir.path(), "nonsense");
    assert!(error.contains("--listen nonsense"), "{error}");
}
