//! Two copies of the `scheduler` example over HTTPS, against a `standalone` that has none: one
//! leads; when it is killed the other takes over, and no node has more than it can bear.

mod common;

use std::collections::BTreeMap;
use std::io::{BufRead as _, BufReader};
use std::process::{Child, Command, Stdio};

use common::{Server, eventually, example};

/// Leases as short as they can be: taking over is what is waited for.
const CONFIG: &str = "
apiVersion: kubescheduler.config.k8s.io/v1
kind: KubeSchedulerConfiguration
leaderElection: {leaderElect: true, leaseDuration: 5s, renewDeadline: 3s, retryPeriod: 1s}
profiles:
- schedulerName: default-scheduler
- schedulerName: packing
  pluginConfig:
  - name: NodeResourcesFit
    args: {scoringStrategy: {type: MostAllocated, resources: [{name: cpu, weight: 1}]}}
";
/// What each node has room for.
const PER_NODE: usize = 4;
const NODES: usize = 5;

/// A scheduler as a process of its own.
struct Copy {
    child: Child,
    identity: String,
}

impl Copy {
    fn start(server: &Server, config: &str) -> Self {
        let mut child = Command::new(example("scheduler"))
            .arg("--kubeconfig")
            .arg(server.path("scheduler.kubeconfig"))
            .args(["--config", config])
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.as_mut().unwrap()).read_line(&mut line).unwrap();
        let identity = line.trim().strip_prefix("identity: ").expect(&line).to_owned();
        Self { child, identity }
    }

    /// Ends it as nobody can prepare for.
    fn kill(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }
}

impl Drop for Copy {
    fn drop(&mut self) {
        if self.child.try_wait().unwrap().is_none() {
            self.kill();
        }
    }
}

fn nodes(server: &Server) {
    let status = r#"{"status": {"allocatable": {"cpu": "2", "pods": "110"}}}"#;
    for at in 0..NODES {
        let node = format!("{{apiVersion: v1, kind: Node, metadata: {{name: n{at}}}}}");
        server.apply("node.yaml", &node);
        let name = format!("n{at}");
        server.run(&["patch", "node", &name, "--subresource=status", "--type=merge", "-p", status]);
    }
}

/// Creates pods, each of a quarter of a node.
fn pods(server: &Server, scheduler: &str, names: impl Iterator<Item = String>) {
    let pods = names.map(|name| {
        format!(
            "---
apiVersion: v1
kind: Pod
metadata: {{name: {name}}}
spec:
  schedulerName: {scheduler}
  containers: [{{name: main, image: host, resources: {{requests: {{cpu: 500m}}}}}}]
"
        )
    });
    server.apply("pods.yaml", &pods.collect::<String>());
}

/// How many pods are on each node.
fn placed(server: &Server) -> BTreeMap<String, usize> {
    let path = "jsonpath={range .items[*]}{.spec.nodeName}{\"\\n\"}{end}";
    let mut counts = BTreeMap::new();
    for node in server.run(&["get", "pods", "-o", path]).lines().filter(|node| !node.is_empty()) {
        *counts.entry(node.to_owned()).or_default() += 1;
    }
    counts
}

fn holder(server: &Server) -> String {
    let path = "jsonpath={.spec.holderIdentity}";
    let lease = ["-n", "kube-system", "get", "lease", "kube-scheduler", "-o", path];
    let output = server.command(&lease).output().unwrap();
    String::from_utf8(output.stdout).unwrap()
}

#[test]
fn of_two_schedulers_one_leads_and_the_other_takes_over_when_it_is_killed() {
    // C9, C11.
    let Some(server) = Server::without("controllers,scheduler,node") else { return };
    let config = server.file("scheduler.yaml", CONFIG);
    nodes(&server);
    let mut copies = [Copy::start(&server, &config), Copy::start(&server, &config)];
    let bound = || placed(&server).values().sum::<usize>();
    eventually("one leads", || copies.iter().any(|copy| copy.identity == holder(&server)));
    let first = copies.iter().position(|copy| copy.identity == holder(&server)).unwrap();
    pods(&server, "default-scheduler", (0..8).map(|at| format!("first-{at}")));
    pods(&server, "packing", (0..2).map(|at| format!("packed-{at}")));
    eventually("both profiles' pods are bound", || bound() == 10);

    copies[first].kill();
    // More than there is room for.
    pods(&server, "default-scheduler", (0..16).map(|at| format!("second-{at}")));
    eventually("the other one leads", || holder(&server) == copies[1 - first].identity);
    eventually("every place is taken", || bound() == NODES * PER_NODE);
    let full: BTreeMap<String, usize> = (0..NODES).map(|at| (format!("n{at}"), PER_NODE)).collect();
    assert_eq!(placed(&server), full, "C11");
    let reason = "reason=FailedScheduling";
    let told = || server.run(&["get", "events", "--field-selector", reason]);
    eventually("who is left is told", || told().contains("5 Insufficient cpu"));
    assert_eq!(placed(&server), full, "C11");
}
