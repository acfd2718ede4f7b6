//! Real kubectl against the `standalone` example, over HTTPS: objects, discovery, words.

mod common;

use std::path::Path;
use std::process::Command;

use common::{MANIFEST, Server, standalone};

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

/// Its `create` commands send protobuf (A8).
#[test]
fn create_makes_objects_from_the_command_line() {
    let Some(server) = Server::start() else { return };
    let file = server.file("note", "text");
    let from_file = format!("--from-file=file={file}");
    let commands: [&[&str]; 13] = [
        &["namespace", "made"],
        &[
            "-n",
            "made",
            "configmap",
            "c",
            "--from-literal=k=v",
            "--from-literal=empty=",
            &from_file,
        ],
        &["-n", "made", "secret", "generic", "s", "--from-literal=p=w"],
        &["-n", "made", "deployment", "web", "--image=host", "--replicas=0", "--port=8080"],
        &["-n", "made", "service", "clusterip", "web", "--tcp=80:8080"],
        &["-n", "made", "serviceaccount", "robot"],
        &["-n", "made", "role", "reader", "--verb=get,list", "--resource=pods,pods/log"],
        &["-n", "made", "rolebinding", "reads", "--role=reader", "--serviceaccount=made:robot"],
        &["-n", "made", "quota", "q", "--hard=cpu=1,pods=2"],
        &["-n", "made", "poddisruptionbudget", "b", "--selector=app=web", "--min-available=50%"],
        &["-n", "made", "ingress", "i", "--rule=example.com/x*=web:80"],
        &["priorityclass", "urgent", "--value=7", "--preemption-policy=Never"],
        &["-n", "made", "cronjob", "j", "--image=host", "--schedule=0 0 * * *", "--", "true"],
    ];
    for arguments in commands {
        let made = server.run(&[&["create"], arguments].concat());
        assert!(made.contains(" created"), "{arguments:?}: {made}");
    }
    let get = |what: &str, path: &str| {
        server.run(&["-n", "made", "get", what, "-o", &format!("jsonpath={{{path}}}")])
    };
    assert_eq!(get("configmap/c", ".data"), r#"{"empty":"","file":"text","k":"v"}"#);
    assert_eq!(get("secret/s", ".data.p"), "dw==");
    assert_eq!(get("deployment/web", ".spec.replicas"), "0", "a zero that was asked for");
    assert_eq!(get("deployment/web", ".spec.template.spec.containers[0].image"), "host");
    assert_eq!(get("service/web", ".spec.ports[0].targetPort"), "8080");
    assert_eq!(get("role/reader", ".rules[0].verbs"), r#"["get","list"]"#);
    assert_eq!(get("quota/q", ".spec.hard"), r#"{"cpu":"1","pods":"2"}"#);
    assert_eq!(get("pdb/b", ".spec.minAvailable"), "50%");
    let class = get("priorityclass/urgent", ".value");
    assert_eq!(class, "7");
    assert!(server.fail(&["create", "namespace", "made"]).contains("AlreadyExists"), "A3");
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
    let others = tempfile::tempdir().unwrap();
    let kubeconfig = others.path().join("kubeconfig");
    std::fs::write(&kubeconfig, "{}").unwrap();
    let error = run(others.path(), "127.0.0.1:0");
    assert!(error.contains("another cluster; move it away"), "{error}");
    assert_eq!(std::fs::read_to_string(&kubeconfig).unwrap(), "{}", "it is left as it was");
    let error = run(dir.path(), "nonsense");
    assert!(error.contains("--listen nonsense"), "{error}");
}
