//! `log`: options, the choice of the container, and what becomes of a node's reply.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use std::sync::Arc;

use async_trait::async_trait;
use http::{Request, Response};
use http_body_util::{BodyExt as _, Full};
use k8s_openapi::api::core::v1::{Node, Pod};
use kapi::auth::Identity;
use kapi::nodes::{AddressType, ConnectError, NodeAddress, NodeBody, NodeConnector};
use kapi::{ApiServer, ServerOptions};
use kcore::client::{Api, Client, DynClient, GetOptions, Path};
use kcore::name::Resource;
use kstore::MemoryStore;
use parking_lot::Mutex;
use serde_json::{Value, json};
use tower::ServiceExt as _;

/// Replies with a fixed code and the request's own target.
#[derive(Debug, Clone)]
struct Echo {
    code: u16,
    seen: Arc<Mutex<Vec<NodeAddress>>>,
}

#[async_trait]
impl NodeConnector for Echo {
    async fn send(
        &self,
        node: &NodeAddress,
        request: Request<NodeBody>,
    ) -> Result<Response<NodeBody>, ConnectError> {
        self.seen.lock().push(node.clone());
        let text = request.uri().to_string();
        let body = Full::from(text).map_err(|never| match never {}).boxed_unsync();
        Ok(Response::builder().status(self.code).body(body).unwrap())
    }
}

async fn cluster(options: ServerOptions) -> ApiServer {
    let api = ApiServer::with(MemoryStore::new(), options);
    let client: DynClient = Arc::new(api.client(Identity::admin()));
    let nodes: Api<Node> = Api::all(Arc::clone(&client));
    let pods: Api<Pod> = Api::namespaced(client, "default");
    let node = json!({"metadata": {"name": "n1"}, "status": {
        "addresses": [{"type": "InternalIP", "address": "10.0.0.1"},
            {"type": "Hostname", "address": "host-1"}],
        "daemonEndpoints": {"kubeletEndpoint": {"Port": 10251}}}});
    nodes.create(serde_json::from_value(node).unwrap()).await.unwrap();
    let container = |name: &str| json!({"name": name, "image": "i"});
    for (name, node, containers, inits) in [
        ("one", "n1", vec!["a"], vec![]),
        ("many", "n1", vec!["a", "b"], vec![]),
        ("inits", "n1", vec!["a", "b"], vec!["i", "j"]),
        ("unbound", "", vec!["a"], vec![]),
        ("lost", "n9", vec!["a"], vec![]),
    ] {
        let containers: Vec<Value> = containers.into_iter().map(container).collect();
        let inits: Vec<Value> = inits.into_iter().map(container).collect();
        let mut pod = json!({"metadata": {"name": name},
            "spec": {"containers": containers, "initContainers": inits}});
        if !node.is_empty() {
            pod["spec"]["nodeName"] = json!(node);
        }
        pods.create(serde_json::from_value(pod).unwrap()).await.unwrap();
    }
    api
}

async fn get(api: &ApiServer, path: &str) -> (u16, String) {
    let path = format!("/api/v1/namespaces/default/pods/{path}");
    let request = Request::get(path).body(String::new()).unwrap();
    let response = api.service_as(Identity::admin()).oneshot(request).await.unwrap();
    let code = response.status().as_u16();
    let body = response.into_body().collect().await.unwrap().to_bytes();
    (code, String::from_utf8(body.to_vec()).unwrap())
}

/// The message of a status, or the text itself.
fn message(text: &str) -> String {
    let value: Value = serde_json::from_str(text).unwrap_or_default();
    value["message"].as_str().unwrap_or(text).to_owned()
}

fn echo(code: u16) -> Echo {
    Echo { code, seen: Arc::default() }
}

#[tokio::test]
async fn options_reach_the_node_and_bad_ones_are_named() {
    let connector = echo(200);
    let api = cluster(ServerOptions::default().nodes(connector.clone())).await;
    for (query, code, expected) in [
        ("one/log", 200, "/containerLogs/default/one/a"),
        ("one/log?follow=false&timestamps=0&previous", 200, "/one/a?previous=true"),
        ("one/log?follow=true&tailLines=5&timestamps=1", 200, "?follow=true&timestamps=true&tailL"),
        (
            "one/log?sinceTime=2026-01-02T03%3A04%3A05%2B01:00",
            200,
            "sinceTime=2026-01-02T02:04:05Z",
        ),
        (
            "one/log?limitBytes=9&sinceSeconds=3&stream=Stderr",
            200,
            "?limitBytes=9&sinceSeconds=3&stream=Stderr",
        ),
        (
            "one/log?tailLines=-1",
            422,
            "PodLogOptions \"one\" is invalid: tailLines: Invalid value: \
            -1: must be greater than or equal to 0",
        ),
        ("one/log?limitBytes=0", 422, "limitBytes: Invalid value: 0: must be greater than 0"),
        ("one/log?sinceSeconds=0", 422, "sinceSeconds: Invalid value: 0: must be greater than 0"),
        (
            "one/log?sinceSeconds=1&sinceTime=2026-01-02T03:04:05Z",
            422,
            "at most one of `sinceTime` or `sinceSeconds` may be specified",
        ),
        (
            "one/log?stream=Both",
            422,
            "stream: Unsupported value: \"Both\": supported values: \
            \"All\", \"Stderr\", \"Stdout\"",
        ),
        ("one/log?stream=Stdout&tailLines=1", 422, "mutually exclusive for now"),
        ("one/log?tailLines=x", 400, "tailLines"),
        ("one/log?sinceTime=noon", 400, "parsing time \"noon\""),
    ] {
        let (found, text) = get(&api, query).await;
        let text = message(&text);
        assert_eq!(found, code, "{query}: {text}");
        assert!(text.contains(expected), "{query}: {text}");
    }
    let seen = connector.seen.lock().last().cloned().unwrap();
    assert_eq!((seen.authority().as_str(), seen.skip_verification), ("host-1:10251", false));
}

#[tokio::test]
async fn the_container_is_chosen_as_upstream_says() {
    let api = cluster(ServerOptions::default().nodes(echo(200))).await;
    for (path, code, expected) in [
        ("many/log?container=b", 200, "/containerLogs/default/many/b"),
        ("inits/log?container=j", 200, "/containerLogs/default/inits/j"),
        ("many/log", 400, "a container name must be specified for pod many, choose one of: [a b]"),
        (
            "inits/log",
            400,
            "a container name must be specified for pod inits, choose one of: \
            [a b] or one of the init containers: [i j]",
        ),
        ("many/log?container=x", 400, "container x is not valid for pod many"),
        ("none/log", 404, "pods \"none\" not found"),
        ("lost/log", 404, "nodes \"n9\" not found"),
        ("unbound/log", 204, ""),
    ] {
        let (found, text) = get(&api, path).await;
        assert_eq!((found, message(&text).as_str()), (code, expected), "{path}");
    }
}

#[tokio::test]
async fn a_nodes_refusal_becomes_a_status() {
    for (code, expected, words) in [
        (400, 400, "/containerLogs/default/one/a"),
        (500, 500, "Internal error occurred: /containerLogs/default/one/a"),
        (404, 404, "the server could not find the requested resource ( pods/log one)"),
        (302, 500, "Internal error occurred: redirects forbidden"),
        (
            502,
            502,
            "an error on the server (\"/containerLogs/default/one/a\") has prevented the \
            request from succeeding ( pods/log one)",
        ),
    ] {
        let api = cluster(ServerOptions::default().nodes(echo(code))).await;
        let (found, text) = get(&api, "one/log").await;
        assert_eq!((found, message(&text).as_str()), (expected, words), "{code}");
    }
}

#[tokio::test]
async fn without_a_connector_or_the_right_the_refusal_is_clear() {
    let api = cluster(ServerOptions::default()).await;
    let (code, text) = get(&api, "one/log").await;
    assert_eq!(code, 501, "{text}");
    let nobody = api.service_as(Identity::user("jane", [] as [String; 0]));
    let request = Request::get("/api/v1/namespaces/default/pods/one/log");
    let response = nobody.oneshot(request.body(String::new()).unwrap()).await.unwrap();
    assert_eq!(response.status(), 403);
    let body = response.into_body().collect().await.unwrap().to_bytes();
    let text = message(std::str::from_utf8(&body).unwrap());
    let words = "User \"jane\" cannot get resource \"pods/log\" in API group \"\" in the namespace";
    assert!(text.contains(words), "{text}");
    let client = api.client(Identity::admin());
    let pods = Resource::of::<Pod>();
    let path = Path::object(&pods, Some("default"), "one");
    for sub in ["log", "binding", "eviction"] {
        let error = client.get(path.subresource(sub), &GetOptions::default()).await.unwrap_err();
        assert_eq!(error.status().map(|status| status.code), Some(405), "{sub}");
    }
}

#[tokio::test]
async fn the_preferred_address_can_be_chosen() {
    let connector = echo(200);
    let options = ServerOptions::default().nodes(connector.clone());
    let api = cluster(options.node_addresses([AddressType::InternalIp])).await;
    get(&api, "one/log?insecureSkipTLSVerifyBackend=true").await;
    let seen = connector.seen.lock().last().cloned().unwrap();
    assert_eq!((seen.authority().as_str(), seen.skip_verification), ("10.0.0.1:10251", true));
    let (code, text) = {
        let api = cluster(
            ServerOptions::default().nodes(connector).node_addresses([AddressType::ExternalIp]),
        )
        .await;
        get(&api, "one/log").await
    };
    assert_eq!(code, 500);
    assert!(message(&text).contains("no preferred addresses found"), "{text}");
}
