//! What is made from specifications, in tables.

use serde_json::{Value, json};

use super::super::builders::with_spec;
use super::super::member;
use super::*;

/// The container `a` of a pod of which `spec` says more, on a node with 4000 MiB.
fn config(spec: Value) -> Result<ContainerConfig> {
    let pod = with_spec(spec);
    let member = member(pod.spec.as_ref().unwrap(), "a").unwrap();
    let node_memory_bytes = 4000 << 20;
    container_config(&pod, &member, ContainerParts { node_memory_bytes, ..Default::default() })
}

fn of(container: Value) -> Value {
    let mut container = container;
    container["name"] = json!("a");
    json!({ "containers": [container] })
}

#[test]
fn cpu_and_memory_become_what_the_kernel_takes() {
    let table = [
        // Requests, limits; shares, quota, memory.
        (json!({}), json!({}), (2, None, None)),
        (json!({"cpu": "1"}), json!({}), (1024, None, None)),
        (json!({"cpu": "100m"}), json!({}), (102, None, None)),
        (json!({"cpu": "1m"}), json!({}), (2, None, None)),
        (json!({"cpu": "0"}), json!({"cpu": "1"}), (2, Some(100_000), None)),
        (json!({"cpu": "1000"}), json!({}), (262_144, None, None)),
        (json!({}), json!({"cpu": "500m"}), (512, Some(50_000), None)),
        (json!({"cpu": "250m"}), json!({"cpu": "2"}), (256, Some(200_000), None)),
        (json!({}), json!({"cpu": "1m"}), (2, Some(1000), None)),
        (json!({}), json!({"memory": "64Mi"}), (2, None, Some(64 << 20))),
        (json!({}), json!({"memory": "0"}), (2, None, None)),
    ];
    for (requests, limits, (shares, quota, memory)) in table {
        let resources = json!({"requests": requests, "limits": limits});
        let made = config(of(json!({"resources": resources}))).unwrap().resources;
        let text = resources.to_string();
        assert_eq!(made.cpu_shares, Some(shares), "{text}");
        assert_eq!(made.cpu_quota_us, quota, "{text}");
        assert_eq!(made.cpu_period_us, quota.map(|_| 100_000), "{text}");
        assert_eq!(made.memory_bytes, memory, "{text}");
    }
}

#[test]
fn the_kernel_kills_those_first_that_reserved_least() {
    let asks = |memory: &str| json!({"resources": {"requests": {"memory": memory}}});
    let fixed = json!({"resources": {"requests": {"cpu": "1", "memory": "1Gi"},
                                     "limits": {"cpu": "1", "memory": "1Gi"}}});
    let limited = json!({"resources": {"limits": {"cpu": "1", "memory": "1Gi"}}});
    let score = |spec: Value| config(spec).unwrap().resources.oom_score_adj.unwrap();
    assert_eq!(score(of(json!({}))), 1000, "best effort");
    assert_eq!(score(of(fixed.clone())), -997, "guaranteed");
    assert_eq!(score(of(limited)), -997, "limits alone are requests, too");
    for (memory, expect) in [("1000Mi", 750), ("4Mi", 999), ("1Mi", 999), ("4000Mi", 3), ("1Ti", 3)]
    {
        assert_eq!(score(of(asks(memory))), expect, "{memory}");
    }
    // The class is the pod's: its other containers count.
    let with = |own: &Value, other: Value| {
        let mut spec = of(own.clone());
        let mut other = other;
        other["name"] = json!("b");
        spec["containers"].as_array_mut().unwrap().push(other);
        spec
    };
    assert_eq!(score(with(&json!({}), asks("1Gi"))), 999);
    assert_eq!(score(with(&fixed, json!({}))), 1000 - 1024 * 1000 / 4000);
    // A sidecar is not killed before those it serves.
    let mut spec = json!({"containers": [asks("2000Mi"), asks("1000Mi")],
                          "initContainers": [{"name": "a", "restartPolicy": "Always"}]});
    spec["containers"][0]["name"] = json!("b");
    spec["containers"][1]["name"] = json!("c");
    assert_eq!(score(spec.clone()), 750);
    spec["initContainers"][0]["resources"] = json!({"requests": {"memory": "3000Mi"}});
    assert_eq!(score(spec), 250);
    // Only what the node cannot do without is spared whatever it asks for.
    for (priority, expect) in [(2_000_001_000, -997), (2_000_000_000, 1000)] {
        let mut spec = of(json!({}));
        spec["priority"] = json!(priority);
        assert_eq!(score(spec), expect, "{priority}");
    }
}

#[test]
fn a_container_says_more_than_its_pod_of_who_it_runs_as() {
    let table = [
        // The pod's context, the container's; user, group.
        (json!({}), json!({}), (None, None)),
        (json!({"runAsUser": 1, "runAsGroup": 2}), json!({}), (Some(1), Some(2))),
        (json!({"runAsUser": 1, "runAsGroup": 2}), json!({"runAsUser": 3}), (Some(3), Some(2))),
        (json!({"runAsUser": 1}), json!({"runAsUser": 0}), (Some(0), None)),
        (json!({"runAsNonRoot": true}), json!({"runAsUser": 5}), (Some(5), None)),
        (
            json!({"runAsNonRoot": true}),
            json!({"runAsNonRoot": false, "runAsUser": 0}),
            (Some(0), None),
        ),
    ];
    for (pods, own, (user, group)) in table {
        let text = format!("{pods} {own}");
        let mut spec = of(json!({"securityContext": own}));
        spec["securityContext"] = pods;
        let security = config(spec).unwrap().security;
        assert_eq!((security.run_as_user, security.run_as_group), (user, group), "{text}");
    }
    let mut spec = of(json!({"securityContext": {
        "readOnlyRootFilesystem": true, "privileged": true, "allowPrivilegeEscalation": false,
        "capabilities": {"add": ["NET_ADMIN"], "drop": ["ALL"]},
    }}));
    spec["securityContext"] = json!({"supplementalGroups": [7, 8], "fsGroup": 9});
    let expect = SecurityContext::default()
        .supplemental_groups([7_u32, 8, 9])
        .read_only_root(true)
        .privileged(true)
        .no_new_privs(true)
        .add_capabilities(["NET_ADMIN"])
        .drop_capabilities(["ALL"]);
    assert_eq!(config(spec).unwrap().security, expect);
}

#[test]
fn root_is_refused_where_it_must_not_be_and_numbers_that_are_nobody() {
    let table = [
        (
            json!({"runAsUser": 0, "runAsNonRoot": true}),
            "securityContext.runAsUser: container's runAsUser breaks non-root policy \
             (pod: \"p_ns(u)\", container: a)",
        ),
        (
            json!({"runAsUser": -1}),
            "securityContext.runAsUser: -1 is no user or group, use 0 to 4294967295",
        ),
        (
            json!({"runAsGroup": 1_i64 << 32}),
            "securityContext.runAsGroup: 4294967296 is no user or group, use 0 to 4294967295",
        ),
    ];
    for (own, expect) in table {
        let error = config(of(json!({"securityContext": own}))).unwrap_err();
        assert_eq!(error.to_string(), expect);
    }
}

#[test]
fn host_names_fit_and_hosts_ports_are_mapped() {
    let long = format!("{}-.x", "h".repeat(61));
    let table = [
        (json!({}), "p"),
        (json!({"hostname": "web"}), "web"),
        (json!({"hostname": "web", "hostnameOverride": "other"}), "other"),
        (json!({"hostname": long}), &long[..61]),
    ];
    for (spec, expect) in table {
        assert_eq!(hostname(&with_spec(spec.clone())), expect, "{spec}");
    }
    let ports = json!([
        {"containerPort": 80},
        {"containerPort": 53, "hostPort": 5353, "protocol": "UDP", "hostIP": "127.0.0.1"},
        {"containerPort": 81, "hostPort": 8081},
    ]);
    let mut spec = of(json!({"ports": ports}));
    let mapped = sandbox_config(&with_spec(spec.clone()), 2, Some(Path::new("/logs")));
    let expect = [
        PortMapping::new(Protocol::Udp, 53, 5353).host_ip(Some("127.0.0.1".parse().unwrap())),
        PortMapping::new(Protocol::Tcp, 81, 8081),
    ];
    assert_eq!(mapped.port_mappings, expect);
    assert_eq!((mapped.uid.as_str(), mapped.attempt), ("u", 2));
    assert_eq!(mapped.log_directory.as_deref(), Some(Path::new("/logs/ns_p_u")));
    spec["hostNetwork"] = json!(true);
    let shared = sandbox_config(&with_spec(spec), 0, None);
    assert!(
        shared.host_network && shared.port_mappings.is_empty() && shared.log_directory.is_none()
    );
}

#[test]
fn what_a_container_was_made_from_is_told_by_its_name_and_image() {
    let hash = |container: Value| container_hash(&serde_json::from_value(container).unwrap());
    let base = hash(json!({"name": "a", "image": "i:1"}));
    assert_eq!(hash(json!({"name": "a", "image": "i:1", "args": ["x"]})), base);
    assert_ne!(hash(json!({"name": "a", "image": "i:2"})), base);
    assert_ne!(hash(json!({"name": "b", "image": "i:1"})), base);
    // It is compared with what an older agent has written.
    assert_eq!(fnv1a(b"foobar"), 0x8594_4171_f739_67e8, "as the function's authors publish it");
    assert_eq!(base, "7c9b97fca7317172");
}
