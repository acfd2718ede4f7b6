//! The agent over an API server in process, on scripted containers, in time that stands still.

mod common;

use std::collections::BTreeSet;
use std::time::Duration;

use common::{Cluster, container, holds, phase, plain};
use k8s_openapi::api::coordination::v1::Lease;
use k8s_openapi::api::core::v1::{Node, Pod};
use kcore::client::{Api, DeleteOptions};
use knode::fake::{Behavior, OnRequest, Options};
use knode::runtime::{ContainerFilter, ContainerState, Runtime as _, SandboxFilter};
use serde_json::json;

fn seconds(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

#[tokio::test(start_paused = true)]
async fn a_bound_pod_runs_and_says_so() {
    let cluster = Cluster::new(Options::default());
    let _node = cluster.start();
    cluster.create("web", json!({ "containers": [plain("main", "nginx:1")] })).await;
    let pod = cluster.wait("web", |pod| holds(pod, "Ready")).await;
    assert_eq!(phase(&pod), "Running");
    let status = pod.status.as_ref().unwrap();
    assert_eq!(status.pod_ip.as_deref(), Some("10.244.0.1"));
    assert_eq!(status.host_ip.as_deref(), Some("127.0.0.1"));
    assert_eq!(status.observed_generation, pod.metadata.generation);
    for kind in ["PodScheduled", "Initialized", "ContainersReady", "PodReadyToStartContainers"] {
        assert!(holds(&pod, kind), "{kind}");
    }
    let main = container(&pod, "main");
    assert_eq!(main["ready"], true);
    assert_eq!(main["restartCount"], 0);
    assert_eq!(main["started"], true);
    assert!(main["containerID"].as_str().unwrap().starts_with("kubrick-fake://"), "{main}");
    assert!(main["state"]["running"]["startedAt"].is_string(), "{main}");
    tokio::time::sleep(seconds(1)).await;
    let events = cluster.events("web").await;
    let reasons: BTreeSet<&str> = events.iter().map(|it| it.split(':').next().unwrap()).collect();
    let expect = ["Pulling", "Pulled", "Created", "Started"];
    assert_eq!(reasons, expect.into_iter().collect(), "{events:?}");
}

#[tokio::test(start_paused = true)]
async fn the_node_registers_and_renews_its_lease() {
    let cluster = Cluster::new(Options::default());
    let _node = cluster.start();
    let nodes: Api<Node> = Api::all(cluster.admin.clone());
    while nodes.get_opt("node-1").await.unwrap().is_none() {
        tokio::time::sleep(seconds(1)).await;
    }
    let node = nodes.get("node-1").await.unwrap();
    let status = node.status.as_ref().unwrap();
    let ready = status.conditions.iter().flatten().find(|it| it.type_ == "Ready").unwrap();
    assert_eq!((ready.status.as_str(), ready.reason.as_deref()), ("True", Some("KubeletReady")));
    assert_eq!(status.capacity.as_ref().unwrap()["pods"].0, "110");
    let leases: Api<Lease> = Api::namespaced(cluster.admin.clone(), "kube-node-lease");
    tokio::time::sleep(seconds(1)).await;
    let renewed = |lease: &Lease| lease.spec.as_ref().unwrap().renew_time.clone().unwrap().0;
    let first = renewed(&leases.get("node-1").await.unwrap());
    let version = node.metadata.resource_version.clone();
    tokio::time::sleep(seconds(60)).await;
    let last = renewed(&leases.get("node-1").await.unwrap());
    assert!(last.duration_since(first).as_secs() >= 40, "C12: {first} {last}");
    // C12: what does not change is not written before five minutes are over.
    assert_eq!(nodes.get("node-1").await.unwrap().metadata.resource_version, version);
    tokio::time::sleep(seconds(300)).await;
    assert_ne!(nodes.get("node-1").await.unwrap().metadata.resource_version, version);
}

#[tokio::test(start_paused = true)]
async fn a_container_that_crashes_is_restarted_and_backs_off() {
    let crash = Behavior::default().exit_after(Some(seconds(1))).exit_code(3);
    let cluster = Cluster::new(Options::default().image("crash", crash));
    let _node = cluster.start();
    cluster.create("bad", json!({ "containers": [plain("main", "crash")] })).await;
    let waits = |pod: &Pod| {
        container(pod, "main")["state"]["waiting"]["reason"] == "CrashLoopBackOff"
            && container(pod, "main")["restartCount"] == 2
    };
    let pod = cluster.wait("bad", waits).await;
    assert_eq!(phase(&pod), "Running");
    let main = container(&pod, "main");
    let message = main["state"]["waiting"]["message"].as_str().unwrap();
    assert!(message.starts_with("back-off 20s restarting failed container=main pod=bad_"));
    assert_eq!(main["lastState"]["terminated"]["exitCode"], 3);
    assert_eq!(main["lastState"]["terminated"]["reason"], "Error");
    // One container runs or waits, and one before it is kept for its log.
    tokio::time::sleep(seconds(600)).await;
    let kept = cluster.runtime.containers().list(ContainerFilter::default()).await.unwrap();
    assert!(kept.len() <= 2, "{kept:?}");
    let events = cluster.events("bad").await;
    assert!(events.iter().any(|it| it.starts_with("BackOff: Back-off restarting failed")));
}

#[tokio::test(start_paused = true)]
async fn init_containers_run_one_after_another_and_sidecars_stay() {
    let once = Behavior::default().exit_after(Some(seconds(5)));
    let cluster = Cluster::new(Options::default().image("once", once));
    let _node = cluster.start();
    let sidecar = json!({ "name": "proxy", "image": "proxy", "restartPolicy": "Always" });
    let spec = json!({
        "initContainers": [plain("first", "once"), sidecar, plain("second", "once")],
        "containers": [plain("main", "nginx")],
    });
    cluster.create("web", spec).await;
    let pod =
        cluster.wait("web", |pod| !container(pod, "first")["state"]["running"].is_null()).await;
    assert_eq!(phase(&pod), "Pending");
    assert!(!holds(&pod, "Initialized"));
    assert_eq!(container(&pod, "proxy")["state"]["waiting"]["reason"], "PodInitializing");
    let second = |pod: &Pod| !container(pod, "second")["state"]["running"].is_null();
    let pod = cluster.wait("web", second).await;
    assert_eq!(container(&pod, "first")["state"]["terminated"]["reason"], "Completed");
    assert!(!container(&pod, "proxy")["state"]["running"].is_null());
    assert_eq!(container(&pod, "main")["state"]["waiting"]["reason"], "PodInitializing");
    let pod = cluster.wait("web", |pod| holds(pod, "Ready")).await;
    assert!(holds(&pod, "Initialized"));
    assert!(!container(&pod, "proxy")["state"]["running"].is_null());
}

#[tokio::test(start_paused = true)]
async fn an_init_container_that_fails_for_good_fails_the_pod() {
    let fails = Behavior::default().exit_after(Some(seconds(1))).exit_code(1);
    let cluster = Cluster::new(Options::default().image("fails", fails));
    let _node = cluster.start();
    let spec = json!({
        "restartPolicy": "Never",
        "initContainers": [plain("first", "fails")],
        "containers": [plain("main", "nginx")],
    });
    cluster.create("web", spec).await;
    let pod = cluster.wait("web", |pod| phase(pod) == "Failed").await;
    assert_eq!(container(&pod, "first")["state"]["terminated"]["exitCode"], 1);
}

#[tokio::test(start_paused = true)]
async fn work_that_ends_well_succeeds_and_can_still_be_read() {
    let job = Behavior::default().exit_after(Some(seconds(30)));
    let cluster = Cluster::new(Options::default().image("job", job));
    let _node = cluster.start();
    let sidecar = json!({ "name": "proxy", "image": "proxy", "restartPolicy": "Always" });
    let spec = json!({
        "restartPolicy": "OnFailure",
        "initContainers": [sidecar],
        "containers": [plain("main", "job")],
    });
    cluster.create("job", spec).await;
    let pod = cluster.wait("job", |pod| phase(pod) == "Succeeded").await;
    assert_eq!(container(&pod, "main")["state"]["terminated"]["reason"], "Completed");
    let left = cluster.runtime.containers().list(ContainerFilter::default()).await.unwrap();
    assert!(left.iter().all(|it| it.state == ContainerState::Exited), "{left:?}");
    assert_eq!(left.len(), 2, "their logs can still be read");
    let version = pod.metadata.resource_version.clone();
    tokio::time::sleep(seconds(600)).await;
    // C1: nothing is written any more.
    assert_eq!(cluster.pod("job").await.metadata.resource_version, version);
    cluster.of::<Pod>().delete("job", &DeleteOptions::default()).await.unwrap();
    cluster.wait_gone("job").await;
    tokio::time::sleep(seconds(1)).await;
    let left = cluster.runtime.sandboxes().list(SandboxFilter::default()).await.unwrap();
    assert!(left.is_empty(), "N4: {left:?}");
}

#[tokio::test(start_paused = true)]
async fn a_failing_liveness_probe_restarts_the_container() {
    let sick = Behavior::default().unhealthy_after(Some(seconds(40)));
    let cluster = Cluster::new(Options::default().image("sick", sick));
    let _node = cluster.start();
    let probe = json!({ "httpGet": { "port": 80 }, "periodSeconds": 10, "failureThreshold": 3 });
    let main = json!({ "name": "main", "image": "sick", "livenessProbe": probe });
    cluster.create("web", json!({ "containers": [main] })).await;
    cluster.wait("web", |pod| holds(pod, "Ready")).await;
    let pod = cluster.wait("web", |pod| container(pod, "main")["restartCount"] == 1).await;
    assert_eq!(container(&pod, "main")["lastState"]["terminated"]["exitCode"], 143);
    tokio::time::sleep(seconds(1)).await;
    let events = cluster.events("web").await;
    let killed = "Killing: Container main failed liveness probe, will be restarted";
    assert!(events.iter().any(|it| it == killed), "{events:?}");
    assert!(events.iter().any(|it| it.starts_with("Unhealthy: Liveness probe failed: ")));
}

#[tokio::test(start_paused = true)]
async fn a_readiness_probe_takes_the_pod_out_and_back_in() {
    let slow = Behavior::default().healthy_after(seconds(20));
    let cluster = Cluster::new(Options::default().image("slow", slow));
    let _node = cluster.start();
    let probe = json!({ "tcpSocket": { "port": 80 }, "periodSeconds": 5, "failureThreshold": 1 });
    let main = json!({ "name": "main", "image": "slow", "readinessProbe": probe });
    cluster.create("web", json!({ "containers": [main] })).await;
    let pod = cluster.wait("web", |pod| phase(pod) == "Running").await;
    assert!(!holds(&pod, "Ready"));
    let pod = cluster.wait("web", |pod| holds(pod, "Ready")).await;
    let main = &cluster.runtime.containers().list(ContainerFilter::default()).await.unwrap()[0].id;
    cluster.runtime.set_healthy(main, false).unwrap();
    let out = cluster.wait("web", |pod| !holds(pod, "Ready")).await;
    let condition = |pod: &Pod| {
        let all = pod.status.as_ref().unwrap().conditions.clone().unwrap();
        all.into_iter().find(|it| it.type_ == "Ready").unwrap()
    };
    assert_eq!(condition(&out).reason.as_deref(), Some("ContainersNotReady"));
    let message = condition(&out).message;
    assert_eq!(message.as_deref(), Some("containers with unready status: [main]"));
    cluster.runtime.set_healthy(main, true).unwrap();
    let back = cluster.wait("web", |pod| holds(pod, "Ready")).await;
    assert!(condition(&back).last_transition_time > condition(&pod).last_transition_time);
    assert_eq!(container(&back, "main")["restartCount"], 0);
}

#[tokio::test(start_paused = true)]
async fn a_startup_probe_holds_the_others_back() {
    let slow = Behavior::default().healthy_after(seconds(60));
    let cluster = Cluster::new(Options::default().image("slow", slow));
    let _node = cluster.start();
    let startup = json!({ "httpGet": { "port": 80 }, "periodSeconds": 10, "failureThreshold": 10 });
    let live = json!({ "httpGet": { "port": 80 }, "periodSeconds": 1, "failureThreshold": 1 });
    let main = json!({
        "name": "main", "image": "slow", "startupProbe": startup, "livenessProbe": live,
    });
    cluster.create("web", json!({ "containers": [main] })).await;
    let pod = cluster.wait("web", |pod| phase(pod) == "Running").await;
    assert_eq!(container(&pod, "main")["started"], false);
    let pod = cluster.wait("web", |pod| holds(pod, "Ready")).await;
    assert_eq!(container(&pod, "main")["restartCount"], 0);
    assert_eq!(container(&pod, "main")["started"], true);
}

#[tokio::test(start_paused = true)]
async fn a_deleted_pod_has_its_grace_and_then_is_gone() {
    let slow = OnRequest::default().after(seconds(12));
    let cluster =
        Cluster::new(Options::default().image("slow", Behavior::default().on_request(Some(slow))));
    let _node = cluster.start();
    cluster.create("web", json!({ "containers": [plain("main", "slow")] })).await;
    cluster.wait("web", |pod| holds(pod, "Ready")).await;
    let began = tokio::time::Instant::now();
    cluster.of::<Pod>().delete("web", &DeleteOptions::default()).await.unwrap();
    cluster.wait_gone("web").await;
    let took = began.elapsed().as_secs();
    assert!((11..=14).contains(&took), "D6: it took {took} s to end by itself");
    let left = cluster.runtime.sandboxes().list(SandboxFilter::default()).await.unwrap();
    assert!(left.is_empty(), "N4: {left:?}");
}

#[tokio::test(start_paused = true)]
async fn a_grace_that_shrinks_is_obeyed() {
    let deaf = Behavior::default().on_request(None);
    let cluster = Cluster::new(Options::default().image("deaf", deaf));
    let _node = cluster.start();
    let spec = json!({
        "terminationGracePeriodSeconds": 600, "containers": [plain("main", "deaf")],
    });
    cluster.create("web", spec).await;
    cluster.wait("web", |pod| holds(pod, "Ready")).await;
    let began = tokio::time::Instant::now();
    cluster.of::<Pod>().delete("web", &DeleteOptions::default()).await.unwrap();
    tokio::time::sleep(seconds(60)).await;
    let sooner = DeleteOptions::default().grace_period_seconds(90);
    cluster.of::<Pod>().delete("web", &sooner).await.unwrap();
    cluster.wait_gone("web").await;
    let took = began.elapsed().as_secs();
    assert!((85..=160).contains(&took), "D6: it took {took} s");
}

#[tokio::test(start_paused = true)]
async fn a_pod_removed_by_force_is_ended_all_the_same() {
    let cluster = Cluster::new(Options::default());
    let _node = cluster.start();
    cluster.create("web", json!({ "containers": [plain("main", "nginx")] })).await;
    cluster.wait("web", |pod| holds(pod, "Ready")).await;
    let now = DeleteOptions::default().grace_period_seconds(0);
    cluster.of::<Pod>().delete("web", &now).await.unwrap();
    for _ in 0..600 {
        let left = cluster.runtime.sandboxes().list(SandboxFilter::default()).await.unwrap();
        if left.is_empty() {
            return;
        }
        tokio::time::sleep(seconds(1)).await;
    }
    panic!("the sandbox stays");
}

#[tokio::test(start_paused = true)]
async fn an_agent_that_starts_anew_restarts_no_container() {
    let cluster = Cluster::new(Options::default());
    let node = cluster.start();
    let probe = json!({ "tcpSocket": { "port": 80 }, "initialDelaySeconds": 30 });
    let main = json!({ "name": "main", "image": "nginx", "readinessProbe": probe });
    cluster.create("web", json!({ "containers": [main] })).await;
    let before = cluster.wait("web", |pod| holds(pod, "Ready")).await;
    drop(node);
    tokio::time::sleep(seconds(5)).await;
    let _successor = cluster.start();
    tokio::time::sleep(seconds(120)).await;
    let after = cluster.pod("web").await;
    assert_eq!(container(&before, "main")["containerID"], container(&after, "main")["containerID"]);
    assert_eq!(container(&after, "main")["restartCount"], 0, "N1");
    assert_eq!(
        before.metadata.resource_version, after.metadata.resource_version,
        "C1, N6: its status did not flap"
    );
}

#[tokio::test(start_paused = true)]
async fn what_the_api_does_not_know_is_removed() {
    let cluster = Cluster::new(Options::default());
    let node = cluster.start();
    cluster.create("web", json!({ "containers": [plain("main", "nginx")] })).await;
    cluster.wait("web", |pod| holds(pod, "Ready")).await;
    drop(node);
    tokio::time::sleep(seconds(1)).await;
    let now = DeleteOptions::default().grace_period_seconds(0);
    cluster.of::<Pod>().delete("web", &now).await.unwrap();
    let _successor = cluster.start();
    tokio::time::sleep(seconds(60)).await;
    let left = cluster.runtime.sandboxes().list(SandboxFilter::default()).await.unwrap();
    assert!(left.is_empty(), "N4: {left:?}");
}

#[tokio::test(start_paused = true)]
async fn an_image_that_cannot_be_pulled_backs_off() {
    let cluster = Cluster::new(Options::default().absent("gone:1"));
    let _node = cluster.start();
    cluster.create("web", json!({ "containers": [plain("main", "gone:1")] })).await;
    let reason = |pod: &Pod| container(pod, "main")["state"]["waiting"]["reason"].clone();
    cluster.wait("web", |pod| reason(pod) == "ErrImagePull").await;
    let pod = cluster.wait("web", |pod| reason(pod) == "ImagePullBackOff").await;
    assert_eq!(phase(&pod), "Pending");
    let never = json!({ "name": "main", "image": "other:1", "imagePullPolicy": "Never" });
    cluster.create("never", json!({ "containers": [never] })).await;
    cluster.wait("never", |pod| reason(pod) == "ErrImageNeverPull").await;
}

#[tokio::test(start_paused = true)]
async fn a_command_that_does_not_exist_is_told_and_backs_off() {
    let cannot = Behavior::default().start_error(Some("no such file".to_owned()));
    let cluster = Cluster::new(Options::default().image("none", cannot));
    let _node = cluster.start();
    cluster.create("web", json!({ "containers": [plain("main", "none")] })).await;
    let main = |pod: &Pod| container(pod, "main");
    let pod = cluster
        .wait("web", |pod| main(pod)["state"]["waiting"]["reason"] == "CrashLoopBackOff")
        .await;
    let ended = &main(&pod)["lastState"]["terminated"];
    assert_eq!((&ended["exitCode"], &ended["reason"]), (&json!(128), &json!("StartError")));
    assert!(ended["message"].as_str().unwrap().contains("no such file"), "{ended}");
    tokio::time::sleep(seconds(1)).await;
    let events = cluster.events("web").await;
    assert!(events.iter().any(|it| it.starts_with("Failed: Error: ")), "{events:?}");
}

#[tokio::test(start_paused = true)]
async fn a_pod_past_its_deadline_fails() {
    let cluster = Cluster::new(Options::default());
    let _node = cluster.start();
    let spec = json!({ "activeDeadlineSeconds": 60, "containers": [plain("main", "nginx")] });
    cluster.create("web", spec).await;
    cluster.wait("web", |pod| holds(pod, "Ready")).await;
    let pod = cluster.wait("web", |pod| phase(pod) == "Failed").await;
    let status = pod.status.as_ref().unwrap();
    assert_eq!(status.reason.as_deref(), Some("DeadlineExceeded"));
    tokio::time::sleep(seconds(60)).await;
    let left = cluster.runtime.containers().list(ContainerFilter::default()).await.unwrap();
    assert!(left.iter().all(|it| it.state == ContainerState::Exited), "{left:?}");
}

#[tokio::test(start_paused = true)]
async fn a_new_image_is_run_even_by_a_pod_that_restarts_nothing() {
    let cluster = Cluster::new(Options::default());
    let _node = cluster.start();
    let spec = json!({ "restartPolicy": "Never", "containers": [plain("main", "web:1")] });
    cluster.create("web", spec).await;
    cluster.wait("web", |pod| holds(pod, "Ready")).await;
    let image = json!({ "spec": { "containers": [plain("main", "web:2")] } });
    cluster.patch::<Pod>("web", image).await;
    let again = |pod: &Pod| holds(pod, "Ready") && container(pod, "main")["restartCount"] == 1;
    let pod = cluster.wait("web", again).await;
    assert_eq!((phase(&pod), &container(&pod, "main")["image"]), ("Running", &json!("web:2")));
    tokio::time::sleep(seconds(60)).await;
    assert_eq!(phase(&*cluster.pod("web").await), "Running");
    let events = cluster.events("web").await;
    let told = "Killing: Container main definition changed, will be restarted";
    assert!(events.iter().any(|event| event == told), "{events:?}");
}
