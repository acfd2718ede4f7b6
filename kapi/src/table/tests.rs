//! Rows as upstream prints them.

use kcore::object::Object;
use serde_json::json;

use super::cell::human;
use super::*;
use crate::registry::Registry;

/// The cells of an object, at ten past ten.
fn row(api_version: &str, kind: &str, mut object: Value) -> Vec<String> {
    let registry = Registry::built_in();
    let mut rows = registry.rows().iter();
    let row = rows
        .find(|row| row.resource.kind == kind && row.resource.api_version() == api_version)
        .unwrap();
    object["metadata"]["creationTimestamp"] = json!("2024-01-01T10:00:00Z");
    let object = Object::from_json(object.to_string().as_bytes(), Some(row.codec)).unwrap();
    let now: Timestamp = "2024-01-01T10:10:00Z".parse().unwrap();
    let cells = cells(row, &*object.typed().unwrap().unwrap(), now);
    assert_eq!(cells.len(), columns(row).len(), "{kind}: one cell per column");
    let text = |cell: Value| cell.as_str().map_or_else(|| cell.to_string(), ToOwned::to_owned);
    cells.into_iter().map(text).collect()
}

#[test]
fn ages_get_coarser_with_time() {
    let (minute, hour, day) = (60, 3600, 24 * 3600);
    let year = 365 * day;
    let check = |seconds: i64, expect: &str| assert_eq!(human(seconds), expect, "{seconds}");
    check(-2, "<invalid>");
    check(-1, "0s");
    check(0, "0s");
    check(119, "119s");
    check(2 * minute, "2m");
    check(2 * minute + 30, "2m30s");
    check(9 * minute + 59, "9m59s");
    check(10 * minute + 5, "10m");
    check(179 * minute, "179m");
    check(3 * hour + 12 * minute, "3h12m");
    check(8 * hour + 12 * minute, "8h");
    check(47 * hour, "47h");
    check(48 * hour, "2d");
    check(4 * day + 2 * hour, "4d2h");
    check(8 * day + 2 * hour, "8d");
    check(2 * year - 1, "729d");
    check(2 * year + 30 * day, "2y30d");
    check(3 * year, "3y");
    check(9 * year + day, "9y");
}

/// The ready, status and restarts cells of a Pod with these statuses.
fn pod(spec: Value, status: Value) -> [String; 3] {
    pod_with(json!({"name": "p"}), spec, status)
}

fn pod_with(metadata: Value, spec: Value, status: Value) -> [String; 3] {
    let cells = row("v1", "Pod", json!({"metadata": metadata, "spec": spec, "status": status}));
    [cells[1].clone(), cells[2].clone(), cells[3].clone()]
}

fn one_container() -> Value {
    json!({"containers": [{"name": "a"}]})
}

#[test]
fn a_pods_containers_add_up_to_its_status() {
    let check = |phase: &str, container: Value, expect: [&str; 3]| {
        let mut container = container;
        container["name"] = json!("a");
        let status = json!({"phase": phase, "containerStatuses": [container]});
        assert_eq!(pod(one_container(), status.clone()), expect, "{status}");
    };
    check("Pending", json!({"restartCount": 0}), ["0/1", "Pending", "0"]);
    check("Running", json!({"ready": true, "state": {"running": {}}}), ["1/1", "Running", "0"]);
    check(
        "Pending",
        json!({"state": {"waiting": {"reason": "ContainerCreating"}}}),
        ["0/1", "ContainerCreating", "0"],
    );
    check(
        "Running",
        json!({"restartCount": 3, "state": {"waiting": {"reason": "CrashLoopBackOff"}},
            "lastState": {"terminated": {"exitCode": 1, "finishedAt": "2024-01-01T10:05:00Z"}}}),
        ["0/1", "CrashLoopBackOff", "3 (5m ago)"],
    );
    check(
        "Succeeded",
        json!({"state": {"terminated": {"exitCode": 0, "reason": "Completed"}}}),
        ["0/1", "Completed", "0"],
    );
    check("Failed", json!({"state": {"terminated": {"exitCode": 2}}}), ["0/1", "ExitCode:2", "0"]);
    check(
        "Failed",
        json!({"state": {"terminated": {"exitCode": 137, "signal": 9}}}),
        ["0/1", "Signal:9", "0"],
    );
}

#[test]
fn a_pods_init_containers_come_first() {
    let spec = json!({"containers": [{"name": "a"}],
        "initContainers": [{"name": "i"}, {"name": "j"}]});
    let check = |init: Value, expect: &str| {
        let mut init = init;
        init["name"] = json!("i");
        let status = json!({"phase": "Pending", "initContainerStatuses": [init]});
        assert_eq!(pod(spec.clone(), status)[1], expect);
    };
    check(json!({"state": {"running": {}}}), "Init:0/2");
    check(json!({"state": {"waiting": {"reason": "PodInitializing"}}}), "Init:0/2");
    check(json!({"state": {"waiting": {"reason": "ImagePullBackOff"}}}), "Init:ImagePullBackOff");
    check(json!({"state": {"terminated": {"exitCode": 1, "reason": "Error"}}}), "Init:Error");
    check(json!({"state": {"terminated": {"exitCode": 3}}}), "Init:ExitCode:3");
    check(json!({"state": {"terminated": {"exitCode": 3, "signal": 9}}}), "Init:Signal:9");
    check(json!({"state": {"terminated": {"exitCode": 0}}}), "Pending");
    let second = json!({"phase": "Pending", "initContainerStatuses": [
        {"name": "i", "state": {"terminated": {"exitCode": 0}}, "restartCount": 2},
        {"name": "j", "state": {"running": {}}}]});
    assert_eq!(pod(spec, second), ["0/1", "Init:1/2", "2"]);
}

#[test]
fn sidecars_count_as_containers() {
    let spec = json!({"containers": [{"name": "a"}],
        "initContainers": [{"name": "s", "restartPolicy": "Always"}]});
    let status = json!({"phase": "Running",
        "initContainerStatuses": [{"name": "s", "ready": true, "started": true, "restartCount": 1,
            "state": {"running": {}}}],
        "containerStatuses": [{"name": "a", "ready": true, "state": {"running": {}}}]});
    assert_eq!(pod(spec, status), ["2/2", "Running", "1"]);
}

#[test]
fn a_pod_says_when_it_goes_and_when_it_may_not_start() {
    let gone = json!({"name": "p", "deletionTimestamp": "2024-01-01T10:09:00Z"});
    let status = |phase: &str, reason: &str| json!({"phase": phase, "reason": reason});
    let check = |status: Value, expect: &str| {
        assert_eq!(pod_with(gone.clone(), one_container(), status)[1], expect);
    };
    check(status("Running", ""), "Terminating");
    check(status("Running", "NodeLost"), "Unknown");
    check(status("Failed", "Evicted"), "Evicted");
    let gated = json!({"phase": "Pending", "conditions": [
        {"type": "PodScheduled", "status": "False", "reason": "SchedulingGated"}]});
    assert_eq!(pod(one_container(), gated)[1], "SchedulingGated");
    let half = |ready: &str| {
        json!({"phase": "Running",
        "conditions": [{"type": "Ready", "status": ready}],
        "containerStatuses": [
            {"name": "a", "state": {"terminated": {"exitCode": 0, "reason": "Completed"}}},
            {"name": "b", "ready": true, "state": {"running": {}}}]})
    };
    let two = json!({"containers": [{"name": "a"}, {"name": "b"}]});
    assert_eq!(pod(two.clone(), half("True")), ["1/2", "Running", "0"]);
    assert_eq!(pod(two, half("False")), ["1/2", "NotReady", "0"]);
}

#[test]
fn the_wide_part_of_a_pod_says_where_it_is() {
    let cells = row(
        "v1",
        "Pod",
        json!({"metadata": {"name": "p"},
            "spec": {"containers": [], "nodeName": "n", "readinessGates": [
                {"conditionType": "x"}, {"conditionType": "y"}]},
            "status": {"podIPs": [{"ip": "10.0.0.1"}, {"ip": "::1"}],
                "conditions": [{"type": "x", "status": "True"}]}}),
    );
    assert_eq!(cells[4..], ["10m", "10.0.0.1", "n", "<none>", "1/2"]);
}

fn check(api_version: &str, kind: &str, object: Value, expect: &[&str]) {
    assert_eq!(row(api_version, kind, object), expect, "{kind}");
}

#[test]
fn workloads_print_as_upstream_prints_them() {
    let template = json!({"metadata": {"labels": {"app": "w"}},
        "spec": {"containers": [{"name": "a", "image": "x"}, {"name": "b", "image": "y"}]}});
    let meta = json!({"name": "w"});
    let spec = json!({"replicas": 3, "template": template, "selector": {
        "matchLabels": {"app": "w"}, "matchExpressions": [
            {"key": "tier", "operator": "In", "values": ["q", "p"]},
            {"key": "old", "operator": "DoesNotExist"}]}});
    let selector = "app=w,!old,tier in (p,q)";
    check(
        "apps/v1",
        "Deployment",
        json!({"metadata": meta, "spec": spec,
            "status": {"readyReplicas": 1, "updatedReplicas": 2, "availableReplicas": 1}}),
        &["w", "1/3", "2", "1", "10m", "a,b", "x,y", selector],
    );
    check(
        "apps/v1",
        "ReplicaSet",
        json!({"metadata": meta, "spec": spec, "status": {"replicas": 2, "readyReplicas": 1}}),
        &["w", "3", "2", "1", "10m", "a,b", "x,y", selector],
    );
    check(
        "apps/v1",
        "StatefulSet",
        json!({"metadata": meta, "spec": {"replicas": 3, "template": template, "selector": {},
            "serviceName": "s"}, "status": {"replicas": 3, "readyReplicas": 2}}),
        &["w", "2/3", "10m", "a,b", "x,y"],
    );
    check(
        "batch/v1",
        "Job",
        json!({"metadata": meta, "spec": {"completions": 2, "template": template},
            "status": {"succeeded": 1, "startTime": "2024-01-01T10:01:00Z"}}),
        &["w", "Running", "1/2", "9m", "10m", "a,b", "x,y", "<none>"],
    );
    check(
        "batch/v1",
        "Job",
        json!({"metadata": meta, "spec": {"parallelism": 4, "template": template},
            "status": {"succeeded": 1, "conditions": [{"type": "Complete", "status": "True"}],
                "startTime": "2024-01-01T10:00:00Z", "completionTime": "2024-01-01T10:00:30Z"}}),
        &["w", "Complete", "1/1 of 4", "30s", "10m", "a,b", "x,y", "<none>"],
    );
    check(
        "batch/v1",
        "CronJob",
        json!({"metadata": meta, "spec": {"schedule": "* * * * *", "suspend": true,
            "jobTemplate": {"spec": {"template": template}}},
            "status": {"active": [{}], "lastScheduleTime": "2024-01-01T10:09:00Z"}}),
        &["w", "* * * * *", "<none>", "True", "1", "60s", "10m", "a,b", "x,y", "<none>"],
    );
}

#[test]
fn both_versions_of_an_autoscaler_print_alike() {
    let target = json!({"kind": "Deployment", "name": "d"});
    let expect = ["h", "Deployment/d", "cpu: <unknown>/80%", "<unset>", "5", "0", "10m"];
    check(
        "autoscaling/v2",
        "HorizontalPodAutoscaler",
        json!({"metadata": {"name": "h"}, "spec": {"scaleTargetRef": target, "maxReplicas": 5,
            "metrics": [{"type": "Resource", "resource": {"name": "cpu",
                "target": {"type": "Utilization", "averageUtilization": 80}}}]}}),
        &expect,
    );
    check(
        "autoscaling/v1",
        "HorizontalPodAutoscaler",
        json!({"metadata": {"name": "h"}, "spec": {"scaleTargetRef": target, "maxReplicas": 5,
            "targetCPUUtilizationPercentage": 80}}),
        &expect,
    );
}

#[test]
fn services_print_as_upstream_prints_them() {
    let meta = json!({"name": "s"});
    let check_service = |spec: Value, status: Value, expect: &[&str]| {
        let object = json!({"metadata": meta, "spec": spec, "status": status});
        check("v1", "Service", object, expect);
    };
    check_service(
        json!({"type": "ClusterIP", "clusterIP": "10.0.0.1", "selector": {"a": "b"},
            "ports": [{"port": 80, "protocol": "TCP"}, {"port": 53, "protocol": "UDP"}]}),
        json!({}),
        &["s", "ClusterIP", "10.0.0.1", "<none>", "80/TCP,53/UDP", "10m", "a=b"],
    );
    check_service(
        json!({"type": "NodePort", "clusterIP": "10.0.0.1", "externalIPs": ["1.2.3.4"],
            "ports": [{"port": 80, "nodePort": 30080}]}),
        json!({}),
        &["s", "NodePort", "10.0.0.1", "1.2.3.4", "80:30080/TCP", "10m", "<none>"],
    );
    let balancer = json!({"type": "LoadBalancer", "clusterIP": "10.0.0.1"});
    check_service(
        balancer.clone(),
        json!({}),
        &["s", "LoadBalancer", "10.0.0.1", "<pending>", "<none>", "10m", "<none>"],
    );
    check_service(
        balancer,
        json!({"loadBalancer": {"ingress": [{"ip": "5.6.7.8"}, {"hostname": "h"}]}}),
        &["s", "LoadBalancer", "10.0.0.1", "5.6.7.8,h", "<none>", "10m", "<none>"],
    );
    check_service(
        json!({"type": "ExternalName", "externalName": "example.com"}),
        json!({}),
        &["s", "ExternalName", "<none>", "example.com", "<none>", "10m", "<none>"],
    );
}

#[test]
fn endpoints_show_the_first_few() {
    let addresses: Vec<Value> = (1..=5).map(|n| json!({"ip": format!("10.0.0.{n}")})).collect();
    check(
        "v1",
        "Endpoints",
        json!({"metadata": {"name": "e"},
            "subsets": [{"addresses": addresses, "ports": [{"port": 80}]}]}),
        &["e", "10.0.0.1:80,10.0.0.2:80,10.0.0.3:80 + 2 more...", "10m"],
    );
    check(
        "discovery.k8s.io/v1",
        "EndpointSlice",
        json!({"metadata": {"name": "e"}, "addressType": "IPv4", "ports": [{"port": 80}],
            "endpoints": [{"addresses": ["10.0.0.1"]}, {"addresses": ["10.0.0.2"]}]}),
        &["e", "IPv4", "80", "10.0.0.1,10.0.0.2", "10m"],
    );
    check(
        "networking.k8s.io/v1",
        "Ingress",
        json!({"metadata": {"name": "i"}, "spec": {"ingressClassName": "c", "tls": [{}],
            "rules": [{"host": "a"}, {"host": "b"}]},
            "status": {"loadBalancer": {"ingress": [{"ip": "1.1.1.1"}]}}}),
        &["i", "c", "a,b", "1.1.1.1", "80, 443", "10m"],
    );
}

#[test]
fn nodes_print_as_upstream_prints_them() {
    check(
        "v1",
        "Node",
        json!({"metadata": {"name": "n", "labels": {
                "node-role.kubernetes.io/control-plane": "", "kubernetes.io/role": "edge"}},
            "spec": {"unschedulable": true},
            "status": {"conditions": [{"type": "Ready", "status": "True"}],
                "addresses": [{"type": "InternalIP", "address": "10.1.1.1"}],
                "nodeInfo": {"kubeletVersion": "v1.37.0", "osImage": "Linux",
                    "kernelVersion": "6.1", "containerRuntimeVersion": "process://1",
                    "architecture": "", "bootID": "", "kubeProxyVersion": "", "machineID": "",
                    "operatingSystem": "", "systemUUID": ""}}}),
        &[
            "n",
            "Ready,SchedulingDisabled",
            "control-plane,edge",
            "10m",
            "v1.37.0",
            "10.1.1.1",
            "<none>",
            "Linux",
            "6.1",
            "process://1",
        ],
    );
    let blank = row("v1", "Node", json!({"metadata": {"name": "n"}}));
    assert_eq!(blank[1..4], ["Unknown", "<none>", "10m"]);
}

#[test]
fn events_of_both_groups_print_alike() {
    let expect = ["60s", "Warning", "BackOff", "pod/p", "", "kubelet, n", "again", "5m", "4", "e"];
    check(
        "v1",
        "Event",
        json!({"metadata": {"name": "e", "namespace": "d"}, "type": "Warning",
            "reason": "BackOff", "message": " again\n", "count": 4,
            "involvedObject": {"kind": "Pod", "name": "p"},
            "source": {"component": "kubelet", "host": "n"},
            "firstTimestamp": "2024-01-01T10:05:00Z", "lastTimestamp": "2024-01-01T10:09:00Z"}),
        &expect,
    );
    check(
        "events.k8s.io/v1",
        "Event",
        json!({"metadata": {"name": "e", "namespace": "d"}, "type": "Warning",
            "reason": "BackOff", "note": "again", "deprecatedCount": 4, "eventTime": null,
            "regarding": {"kind": "Pod", "name": "p"},
            "deprecatedSource": {"component": "kubelet", "host": "n"},
            "deprecatedFirstTimestamp": "2024-01-01T10:05:00Z",
            "deprecatedLastTimestamp": "2024-01-01T10:09:00Z"}),
        &expect,
    );
}

#[test]
fn the_other_kinds_print_as_upstream_prints_them() {
    let meta = json!({"name": "x"});
    check(
        "v1",
        "Namespace",
        json!({"metadata": meta, "status": {"phase": "Active"}}),
        &["x", "Active", "10m"],
    );
    check(
        "v1",
        "ConfigMap",
        json!({"metadata": meta, "data": {"a": "", "b": ""}, "binaryData": {"c": ""}}),
        &["x", "3", "10m"],
    );
    check(
        "v1",
        "Secret",
        json!({"metadata": meta, "type": "Opaque", "data": {"a": ""}}),
        &["x", "Opaque", "1", "10m"],
    );
    check(
        "policy/v1",
        "PodDisruptionBudget",
        json!({"metadata": meta, "spec": {"minAvailable": "50%"},
            "status": {"disruptionsAllowed": 2}}),
        &["x", "50%", "N/A", "2", "10m"],
    );
    check(
        "v1",
        "PersistentVolumeClaim",
        json!({"metadata": meta, "spec": {"volumeName": "v", "storageClassName": "s"},
            "status": {"phase": "Bound", "capacity": {"storage": "1Gi"},
                "accessModes": ["ReadWriteMany", "ReadWriteOnce"]}}),
        &["x", "Bound", "v", "1Gi", "RWO,RWX", "s", "<unset>", "10m", "<unset>"],
    );
    check(
        "rbac.authorization.k8s.io/v1",
        "RoleBinding",
        json!({"metadata": meta, "roleRef": {"apiGroup": "", "kind": "Role", "name": "r"},
            "subjects": [{"kind": "User", "name": "u"}, {"kind": "User", "name": "w"},
                {"kind": "ServiceAccount", "namespace": "n", "name": "s"}]}),
        &["x", "Role/r", "10m", "u, w", "", "n/s"],
    );
    check(
        "v1",
        "ResourceQuota",
        json!({"metadata": meta, "status": {"hard": {"pods": "4", "limits.cpu": "2"},
            "used": {"pods": "1"}}}),
        &["x", "pods: 1/4", "limits.cpu: 0/2", "10m"],
    );
    check(
        "coordination.k8s.io/v1",
        "Lease",
        json!({"metadata": meta, "spec": {"holderIdentity": "me"}}),
        &["x", "me", "10m"],
    );
    check(
        "rbac.authorization.k8s.io/v1",
        "Role",
        json!({"metadata": meta}),
        &["x", "2024-01-01T10:00:00Z"],
    );
}

#[test]
fn every_kind_prints_a_blank_object_with_one_cell_per_column() {
    let registry = Registry::built_in();
    for row in registry.rows() {
        let columns = columns(row);
        assert_eq!(
            columns.iter().filter(|column| column.format == "name").count(),
            usize::from(columns.iter().any(|column| column.name == "Name"))
        );
        for column in columns {
            assert!(!column.description.is_empty(), "{}", column.name);
        }
        let json = format!("{{\"metadata\":{{\"name\":\"{}\"}}}}", row.resource.plural);
        let repaired = crate::schema::repair(row.schema.tree(), json.as_bytes()).unwrap();
        let typed = (row.codec.decode)(&repaired).unwrap();
        let cells = cells(row, &*typed, Timestamp::UNIX_EPOCH);
        assert_eq!(cells.len(), columns.len(), "{:?}", row.resource);
    }
}
