//! Tables say what the objects say.

use std::sync::Arc;

use serde_json::{Value, json};

use super::*;

fn table(service: Value, slices: &[Value]) -> ServiceTable {
    let node = Node { name: "n1".into(), ips: vec!["127.0.0.1".parse().unwrap()] };
    let slices: Vec<_> =
        slices.iter().map(|json| Arc::new(serde_json::from_value(json.clone()).unwrap())).collect();
    build(&node, &[Arc::new(serde_json::from_value(service).unwrap())], &slices)
}

fn service(spec: Value) -> Value {
    json!({"metadata": {"namespace": "d", "name": "web"}, "spec": spec})
}

fn slice(name: &str, port: u16, endpoints: Value) -> Value {
    json!({"metadata": {"namespace": "d", "name": name,
            "labels": {"kubernetes.io/service-name": "web"}},
        "addressType": "IPv4", "ports": [{"port": port, "protocol": "TCP"}],
        "endpoints": endpoints})
}

fn simple() -> Value {
    service(json!({"clusterIP": "10.0.0.1", "ports": [{"port": 80, "nodePort": 30080}]}))
}

#[test]
fn a_service_and_its_slices_become_addresses() {
    let table = table(
        simple(),
        &[
            slice("a", 8080, json!([{"addresses": ["10.1.0.1"], "nodeName": "n1"}])),
            slice(
                "b",
                8080,
                json!([
                {"addresses": ["10.1.0.2"], "conditions": {"ready": false}},
                {"addresses": ["10.1.0.1"], "nodeName": "n1"}]),
            ),
        ],
    );
    assert_eq!(
        table.to_string(),
        "d/web 10.0.0.1:80 TCP -> 10.1.0.1:8080\nd/web 127.0.0.1:30080 TCP -> 10.1.0.1:8080\n"
    );
}

#[test]
fn headless_external_and_foreign_services_are_not_routed() {
    for spec in [
        json!({"clusterIP": "None", "ports": [{"port": 80}]}),
        json!({"type": "ExternalName", "externalName": "example.com"}),
    ] {
        assert!(table(service(spec), &[]).services.is_empty());
    }
    let mut foreign = simple();
    foreign["metadata"]["labels"] = json!({"service.kubernetes.io/service-proxy-name": "x"});
    assert!(table(foreign, &[]).services.is_empty());
}

#[test]
fn traffic_policies_keep_to_the_node() {
    let spec = json!({"clusterIP": "10.0.0.1", "externalTrafficPolicy": "Local",
        "ports": [{"port": 80, "nodePort": 30080}]});
    let endpoints = json!([
        {"addresses": ["10.1.0.1"], "nodeName": "n1"},
        {"addresses": ["10.1.0.2"], "nodeName": "n2"}]);
    let table = table(service(spec), &[slice("a", 8080, endpoints)]);
    let port = table.services.values().next().unwrap();
    assert_eq!(port.usable(Scope::Internal).len(), 2);
    assert_eq!(port.usable(Scope::External).len(), 1);
}

#[test]
fn leaving_endpoints_serve_only_while_nothing_else_is_there() {
    // N6, N8.
    let leaving = json!([{"addresses": ["10.1.0.1"],
        "conditions": {"ready": false, "serving": true, "terminating": true}}]);
    let both = table(
        simple(),
        &[slice("a", 1, leaving.clone()), slice("b", 1, json!([{"addresses": ["10.1.0.2"]}]))],
    );
    let usable = |table: &ServiceTable| -> Vec<String> {
        let port = table.services.values().next().unwrap();
        port.usable(Scope::Internal).iter().map(|e| e.address.ip().to_string()).collect()
    };
    assert_eq!(usable(&both), ["10.1.0.2"]);
    assert_eq!(usable(&table(simple(), &[slice("a", 1, leaving)])), ["10.1.0.1"]);
}

#[test]
fn changes_name_what_differs() {
    let one = table(simple(), &[slice("a", 1, json!([{"addresses": ["10.1.0.1"]}]))]);
    let two = table(simple(), &[slice("a", 1, json!([{"addresses": ["10.1.0.2"]}]))]);
    assert!(ChangeSet::between(&one, &one).is_empty());
    let changes = ChangeSet::between(&one, &two);
    assert_eq!((changes.updated.len(), changes.removed.len()), (1, 0));
    let gone: Vec<String> =
        changes.removed_endpoints.iter().map(|(_, _, address)| address.to_string()).collect();
    assert_eq!(gone, ["10.1.0.1:1"]);
    let none = ServiceTable { node_ips: one.node_ips.clone(), ..ServiceTable::default() };
    assert_eq!(ChangeSet::between(&one, &none).removed.len(), 1);
}
