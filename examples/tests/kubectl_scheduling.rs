//! Real kubectl against the `standalone` example: why a pod has no node, and who had to make room.

mod common;

use common::{Server, eventually};

const NODES: &str = r#"
apiVersion: v1
kind: Node
metadata: {name: reserved}
spec: {taints: [{key: team, value: red, effect: NoSchedule}]}
---
apiVersion: v1
kind: Node
metadata: {name: under-repair}
spec: {unschedulable: true}
"#;

const CLASS: &str = r#"
apiVersion: scheduling.k8s.io/v1
kind: PriorityClass
metadata: {name: high}
value: 1000
"#;

/// A pod that asks for some thousandths of a CPU, and runs a script.
fn pod(name: &str, cpu: i64, class: &str, script: &str) -> String {
    format!(
        r#"
apiVersion: v1
kind: Pod
metadata: {{name: {name}}}
spec:
  priorityClassName: "{class}"
  terminationGracePeriodSeconds: 20
  containers:
  - name: main
    image: host
    command: [sh, -c, "{script}"]
    resources: {{requests: {{cpu: {cpu}m}}}}
"#
    )
}

/// What `get pod -o wide` says of a pod: its status, its node, the node that is kept for it.
fn wide(server: &Server, pod: &str) -> [String; 3] {
    let table = server.run(&["get", "pod", pod, "-o", "wide"]);
    let mut lines = table.lines();
    let heading = lines.next().unwrap();
    let row = lines.next().unwrap();
    ["STATUS", "NODE", "NOMINATED NODE"].map(|column| {
        // Columns are padded to one width, so a cell begins where its heading does.
        let at = heading.find(&format!(" {column} ")).unwrap_or_else(|| panic!("{table}")) + 1;
        row[at..].split_whitespace().next().unwrap_or_default().to_owned()
    })
}

/// Waits until the node takes pods, and returns how many thousandths of a CPU it has.
fn capacity(server: &Server) -> i64 {
    eventually("the node is Ready", || server.run(&["get", "nodes"]).contains(" Ready "));
    let path = "jsonpath={.status.allocatable.cpu}";
    let cpu = server.run(&["get", "node", "standalone", "-o", path]);
    match cpu.strip_suffix('m') {
        Some(thousandths) => thousandths.parse().unwrap(),
        None => cpu.parse::<i64>().unwrap() * 1000,
    }
}

/// Whether a line of a description begins with these words.
fn has_line(text: &str, words: &[&str]) -> bool {
    text.lines().any(|line| {
        let mut found = line.split_whitespace();
        words.iter().all(|word| found.next() == Some(word))
    })
}

/// Waits until a pod's description has a scheduler's event with this message.
fn is_told(server: &Server, pod: &str, message: &str) {
    let described = || server.run(&["describe", "pod", pod]);
    let told = |text: &str| {
        let mut lines = text.lines().filter(|line| line.contains("FailedScheduling"));
        lines.any(|line| line.contains("default-scheduler") && line.trim_end().ends_with(message))
    };
    eventually(message, || told(&described()));
    let text = described();
    assert!(has_line(&text, &["Warning", "FailedScheduling"]), "{text}");
    assert!(has_line(&text, &["PodScheduled", "False"]), "{text}");
    assert!(has_line(&text, &["Status:", "Pending"]), "{text}");
}

#[test]
fn a_pod_that_fits_nowhere_says_why_node_by_node() {
    let Some(server) = Server::start() else { return };
    let cpu = capacity(&server);
    server.apply("nodes.yaml", NODES);
    server.apply("huge.yaml", &pod("huge", cpu * 2, "", "sleep 1000"));
    is_told(
        &server,
        "huge",
        "0/3 nodes are available: 1 Insufficient cpu, 1 node(s) had untolerated taint(s), \
         1 node(s) were unschedulable. preemption: 0/3 nodes are available: 3 Preemption is not \
         helpful for scheduling.",
    );
    assert_eq!(wide(&server, "huge"), ["Pending", "<none>", "<none>"]);
    let condition = r#"jsonpath={.status.conditions[?(@.type=="PodScheduled")].reason}"#;
    assert_eq!(server.run(&["get", "pod", "huge", "-o", condition]), "Unschedulable");
}

#[test]
fn a_gated_pod_waits_and_says_so() {
    let Some(server) = Server::start() else { return };
    capacity(&server);
    let gated = pod("gated", 10, "", "sleep 1000")
        .replace("spec:", "spec:\n  schedulingGates: [{name: example.com/quota}]");
    server.apply("gated.yaml", &gated);
    assert_eq!(wide(&server, "gated"), ["SchedulingGated", "<none>", "<none>"]);
    let described = server.run(&["describe", "pod", "gated"]);
    assert!(has_line(&described, &["PodScheduled", "False"]), "{described}");
    assert!(!described.contains("FailedScheduling"), "{described}");
    let open = r#"[{"op": "remove", "path": "/spec/schedulingGates"}]"#;
    server.run(&["patch", "pod", "gated", "--type=json", "-p", open]);
    eventually("it runs", || wide(&server, "gated") == ["Running", "standalone", "<none>"]);
}

#[test]
fn who_makes_others_leave_is_seen_by_all_of_them() {
    let Some(server) = Server::start() else { return };
    let part = capacity(&server) * 6 / 10;
    server.apply("class.yaml", CLASS);
    // It takes its time to leave, so that everybody can see it.
    server.apply("low.yaml", &pod("low", part, "", "trap '' TERM; sleep 1000"));
    eventually("the first runs", || wide(&server, "low")[0] == "Running");
    // One of no higher priority must wait.
    server.apply("meek.yaml", &pod("meek", part, "", "sleep 1000"));
    is_told(
        &server,
        "meek",
        "0/1 nodes are available: 1 Insufficient cpu. preemption: 0/1 nodes are available: \
         1 No preemption victims found for incoming pod.",
    );
    server.apply("high.yaml", &pod("high", part, "high", "sleep 1000"));
    is_told(&server, "high", "0/1 nodes are available: 1 Insufficient cpu.");
    eventually("a node is kept", || wide(&server, "high") == ["Pending", "<none>", "standalone"]);
    let uid = server.run(&["get", "pod", "high", "-o", "jsonpath={.metadata.uid}"]);
    let low = server.run(&["describe", "pod", "low"]);
    assert!(has_line(&low, &["DisruptionTarget", "True"]), "{low}");
    assert!(low.contains("Status:") && low.contains("Terminating"), "{low}");
    let preempted = format!("Preempted by pod {uid} on node standalone");
    let told = || server.run(&["get", "events", "--field-selector", "reason=Preempted"]);
    eventually("the victim is told", || told().contains(&preempted));
    eventually("it has the room", || wide(&server, "high")[0] == "Running");
    assert_eq!(wide(&server, "high")[1], "standalone");
    let high = server.run(&["describe", "pod", "high"]);
    assert!(has_line(&high, &["PodScheduled", "True"]), "{high}");
    assert!(high.contains("Successfully assigned default/high to standalone"), "{high}");
    server.fail(&["get", "pod", "low"]);
    assert_eq!(wide(&server, "meek")[0], "Pending");
}
