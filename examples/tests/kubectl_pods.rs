//! Real kubectl against the `standalone` example: pods that run, their logs, rollouts, ends.

mod common;

use std::io::{BufRead as _, BufReader, Read as _};
use std::process::Stdio;

use common::{MANIFEST, Server, eventually};

const SHOP: [&str; 2] = ["-n", "shop"];

fn shop<'a>(arguments: &[&'a str]) -> Vec<&'a str> {
    [&SHOP[..], arguments].concat()
}

#[test]
fn a_deployment_runs_rolls_and_goes_with_everything_it_made() {
    let Some(server) = Server::start() else { return };
    server.run(&["apply", "-f", &server.file("shop.yaml", MANIFEST)]);
    let rolled = || server.run(&shop(&["rollout", "status", "deployment/web", "--timeout=60s"]));
    assert!(rolled().contains("successfully rolled out"));
    server.run(&shop(&["wait", "--for=condition=Ready", "pod", "-l", "app=web", "--timeout=30s"]));
    let nodes = server.run(&["get", "nodes", "-o", "wide"]);
    assert!(nodes.contains("standalone   Ready"), "{nodes}");
    assert!(nodes.contains("kubrick-process://"), "{nodes}");
    let pods = || server.run(&shop(&["get", "pods", "-o", "wide", "--no-headers"]));
    assert_eq!(pods().lines().filter(|line| line.contains(" Running ")).count(), 3, "{}", pods());
    let events = || server.run(&shop(&["get", "events"]));
    for text in ["Successfully assigned shop/web-", "Scaled up replica set web-", "Started"] {
        eventually(text, || events().contains(text));
    }
    let environment = ["set", "env", "deployment/web", "COLOR=red"];
    server.run(&shop(&environment));
    rolled();
    let history = || server.run(&shop(&["rollout", "history", "deployment/web"]));
    assert!(history().lines().any(|line| line.starts_with("2 ")), "{}", history());
    server.run(&shop(&["rollout", "undo", "deployment/web"]));
    rolled();
    assert!(history().lines().any(|line| line.starts_with("3 ")), "{}", history());
    server.run(&shop(&["rollout", "pause", "deployment/web"]));
    server.run(&shop(&["rollout", "resume", "deployment/web"]));
    server.run(&shop(&["rollout", "restart", "deployment/web"]));
    rolled();
    server.run(&shop(&["scale", "deployment", "web", "--replicas=5"]));
    rolled();
    // The last one of the old rollout may still be ending.
    eventually("five pods", || pods().lines().count() == 5);
    let described = server.run(&shop(&["describe", "pods"]));
    assert!(described.contains("Restart Count:  0"), "{described}");
    server.run(&shop(&["delete", "deployment", "web"]));
    // D2: what it owned follows, and D6: only when its processes have ended.
    eventually("no pod is left", || pods().is_empty());
    let left = server.processes();
    assert!(left.is_empty(), "N4: {left:#?}");
    // D7: the namespace takes what is left with it.
    server.run(&["delete", "namespace", "shop"]);
    server.fail(&["get", "namespace", "shop"]);
    server.fail(&shop(&["get", "configmap", "settings"]));
}

const TALKER: &str = r#"
apiVersion: v1
kind: Pod
metadata: {name: talker}
spec:
  containers:
  - name: main
    image: host
    command:
    - sh
    - -c
    - |
      n=0; while [ $n -lt 5 ]; do n=$((n+1)); echo line $n; done
      sleep 1; echo more; sleep 1000
  - name: other
    image: host
    command:
    - sh
    - -c
    - |
      echo other; echo loud >&2; sleep 1
      echo said > $KUBRICK_ROOT/dev/termination-log; exit 3
"#;

#[test]
fn logs_are_read_followed_and_kept() {
    let Some(server) = Server::start() else { return };
    server.run(&["apply", "-f", &server.file("talker.yaml", TALKER)]);
    // A follower sees what is written after it came.
    let mut follower = server.command(&["logs", "-f", "talker", "-c", "main"]);
    let lines = || server.run(&["logs", "talker", "-c", "main"]);
    eventually("it talks", || {
        server.command(&["logs", "talker", "-c", "main"]).output().unwrap().status.success()
            && lines().contains("line 5")
    });
    let mut follower = follower.stdout(Stdio::piped()).spawn().unwrap();
    let mut read = BufReader::new(follower.stdout.take().unwrap()).lines();
    let seen = read.by_ref().map(Result::unwrap).find(|line| line == "more");
    assert_eq!(seen.as_deref(), Some("more"));
    assert_eq!(server.run(&["logs", "talker", "-c", "main", "--tail=1"]), "more\n");
    let since = server.run(&["logs", "talker", "-c", "main", "--since=1h", "--timestamps"]);
    assert!(since.lines().next().unwrap().ends_with("Z line 1"), "{since}");
    let limited = server.run(&["logs", "talker", "-c", "main", "--limit-bytes=4"]);
    assert_eq!(limited, "line");
    let both = server.run(&["logs", "talker", "--all-containers", "--prefix"]);
    assert!(both.contains("[pod/talker/main] line 1"), "{both}");
    let wrong = server.fail(&["logs", "talker", "-c", "nobody"]);
    assert!(wrong.contains("container nobody is not valid for pod talker"), "{wrong}");
    let previous = || server.command(&["logs", "talker", "-c", "other", "-p"]).output().unwrap();
    eventually("a container before", || previous().status.success());
    let previous = String::from_utf8(previous().stdout).unwrap();
    assert!(previous.contains("other") && previous.contains("loud"), "{previous}");
    let message = "jsonpath={.status.containerStatuses[1].lastState.terminated}";
    let ended = server.run(&["get", "pod", "talker", "-o", message]);
    assert!(ended.contains(r#""message":"said\n""#), "{ended}");
    assert!(ended.contains(r#""exitCode":3"#), "{ended}");
    server.run(&["delete", "pod", "talker", "--grace-period=1"]);
    let ended = follower.wait().unwrap();
    let mut rest = String::new();
    for line in read {
        rest.push_str(&line.unwrap());
    }
    assert!(ended.success() && rest.is_empty(), "the follower ends with its container: {rest}");
}

const BROKEN: &str = r#"
apiVersion: v1
kind: Pod
metadata: {name: broken}
spec:
  containers: [{name: main, image: host, command: [no-such-command]}]
---
apiVersion: v1
kind: Pod
metadata: {name: lost}
spec:
  containers:
  - {name: main, image: host, command: [sleep, "1000"], envFrom: [{configMapRef: {name: late}}]}
"#;

#[test]
fn what_cannot_start_says_why_and_waits() {
    let Some(server) = Server::start() else { return };
    server.run(&["apply", "-f", &server.file("broken.yaml", BROKEN)]);
    let described = |pod: &str| server.run(&["describe", "pod", pod]);
    eventually("it backs off", || described("broken").contains("CrashLoopBackOff"));
    let text = described("broken");
    assert!(text.contains(r#"exec: "no-such-command": executable file not found in $PATH"#));
    eventually("it was said", || described("broken").contains("Back-off restarting failed"));
    let reason = "jsonpath={.status.containerStatuses[0].state.waiting}";
    let waits = || server.run(&["get", "pod", "lost", "-o", reason]);
    eventually("it waits", || waits().contains("CreateContainerConfigError"));
    assert!(waits().contains(r#"configmap \"late\" not found"#), "{}", waits());
    let text = server.fail(&["logs", "lost"]);
    assert!(text.contains("is waiting to start: CreateContainerConfigError"), "{text}");
    server.run(&["create", "-f", &server.file("late.yaml", LATE)]);
    server.run(&["wait", "--for=condition=Ready", "pod/lost", "--timeout=60s"]);
}

const LATE: &str = r#"
apiVersion: v1
kind: ConfigMap
metadata: {name: late}
data: {COLOR: green}
"#;

#[test]
fn a_server_that_is_asked_to_end_leaves_no_process_behind() {
    let Some(mut server) = Server::start() else { return };
    server.run(&["apply", "-f", &server.file("shop.yaml", MANIFEST)]);
    server.run(&shop(&["rollout", "status", "deployment/web", "--timeout=60s"]));
    let running = server.processes();
    assert!(running.len() >= 3, "{running:#?}");
    assert!(server.stop().success());
    let left = server.processes();
    assert!(left.is_empty(), "{left:#?}");
}

#[test]
fn a_watch_shows_a_pod_come_and_go() {
    let Some(server) = Server::start() else { return };
    let mut watch = server
        .command(&["get", "pods", "-w", "--no-headers"])
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    server.run(&["apply", "-f", &server.file("talker.yaml", TALKER)]);
    let mut lines = BufReader::new(watch.stdout.take().unwrap());
    let mut seen = String::new();
    while !seen.contains("Running") {
        assert_ne!(lines.read_line(&mut seen).unwrap(), 0, "{seen}");
    }
    assert!(seen.contains("Pending") || seen.contains("ContainerCreating"), "{seen}");
    server.run(&["delete", "pod", "talker", "--grace-period=1"]);
    while !seen.contains("Terminating") {
        assert_ne!(lines.read_line(&mut seen).unwrap(), 0, "{seen}");
    }
    watch.kill().unwrap();
    watch.wait().unwrap();
    let mut rest = String::new();
    lines.read_to_string(&mut rest).unwrap();
}
