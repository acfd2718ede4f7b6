//! Bodies with wrong fields, and patches, as they come over HTTP.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use http::header::{CONTENT_TYPE, WARNING};
use http::{Method, Request, Response, StatusCode};
use http_body_util::{BodyExt as _, Full};
use kapi::ApiServer;
use kapi::auth::Identity;
use kapi::http::ResponseBody;
use kstore::MemoryStore;
use serde_json::{Value, json};
use tower::Service as _;

const DEPLOYMENTS: &str = "/apis/apps/v1/namespaces/default/deployments";
const STRATEGIC: &str = "application/strategic-merge-patch+json";

async fn ask(
    server: &ApiServer,
    method: Method,
    path: &str,
    content_type: &str,
    body: String,
) -> Response<ResponseBody> {
    let request = Request::builder()
        .method(method)
        .uri(path)
        .header(CONTENT_TYPE, content_type)
        .body(Full::new(bytes::Bytes::from(body)))
        .expect("a request");
    server.service_as(Identity::admin()).call(request).await.unwrap_or_else(|never| match never {})
}

async fn post(server: &ApiServer, query: &str, body: String) -> Response<ResponseBody> {
    ask(server, Method::POST, &format!("{DEPLOYMENTS}{query}"), "application/json", body).await
}

async fn patch(server: &ApiServer, query: &str, body: Value) -> Response<ResponseBody> {
    let path = format!("{DEPLOYMENTS}/web{query}");
    ask(server, Method::PATCH, &path, STRATEGIC, body.to_string()).await
}

async fn json_of(response: Response<ResponseBody>) -> (StatusCode, Value) {
    let code = response.status();
    let bytes = response.into_body().collect().await.expect("a body").to_bytes();
    (code, serde_json::from_slice(&bytes).expect("JSON"))
}

fn deployment() -> Value {
    json!({"metadata": {"name": "web"}, "spec": {"replicas": 1,
        "selector": {"matchLabels": {"app": "web"}},
        "template": {"metadata": {"labels": {"app": "web"}},
            "spec": {"containers": [{"name": "a", "image": "one"}]}}}})
}

async fn with_deployment() -> ApiServer {
    let server = ApiServer::new(MemoryStore::new());
    let (code, object) = json_of(post(&server, "", deployment().to_string()).await).await;
    assert_eq!(code, StatusCode::CREATED, "{object}");
    server
}

#[tokio::test]
async fn unknown_fields_are_refused_warned_of_or_dropped_as_asked() {
    let server = ApiServer::new(MemoryStore::new());
    let mut body = deployment();
    body["spec"]["replica"] = json!(2);
    let (code, status) =
        json_of(post(&server, "?fieldValidation=Strict", body.to_string()).await).await;
    assert_eq!(code, StatusCode::BAD_REQUEST, "A5");
    assert_eq!(
        status["message"],
        "Deployment in version \"v1\" cannot be handled as a Deployment: strict decoding error: \
         unknown field \"spec.replica\""
    );
    let dry = "?dryRun=All&fieldValidation=Warn";
    let warned = post(&server, dry, body.to_string()).await;
    assert_eq!(warned.status(), StatusCode::CREATED);
    assert_eq!(warned.headers()[WARNING], r#"299 - "unknown field \"spec.replica\"""#);
    let ignored = post(&server, "?dryRun=All&fieldValidation=Ignore", body.to_string()).await;
    assert_eq!((ignored.status(), ignored.headers().get(WARNING)), (StatusCode::CREATED, None));
}

#[tokio::test]
async fn wrong_types_are_told_with_their_path() {
    let server = ApiServer::new(MemoryStore::new());
    let mut body = deployment();
    body["spec"]["replicas"] = json!("two");
    for query in ["?fieldValidation=Ignore", "?fieldValidation=Strict", ""] {
        let (code, status) = json_of(post(&server, query, body.to_string()).await).await;
        assert_eq!(code, StatusCode::BAD_REQUEST);
        let message = status["message"].as_str().unwrap();
        let expect = "json: cannot unmarshal string into Go struct field \
                      DeploymentSpec.spec.replicas of type int32";
        assert!(message.ends_with(expect), "{query}: {message}");
    }
}

#[tokio::test]
async fn nesting_bombs_are_refused() {
    let server = ApiServer::new(MemoryStore::new());
    for open in ["[", "{\"a\":"] {
        let (code, _) = json_of(post(&server, "", open.repeat(400_000)).await).await;
        assert_eq!(code, StatusCode::BAD_REQUEST, "O1");
    }
}

#[tokio::test]
async fn quantities_may_be_numbers() {
    let server = ApiServer::new(MemoryStore::new());
    let mut body = deployment();
    body["spec"]["template"]["spec"]["containers"][0]["resources"] = json!({"limits": {"cpu": 2}});
    let (code, object) = json_of(post(&server, "", body.to_string()).await).await;
    assert_eq!(code, StatusCode::CREATED, "{object}");
    let container = &object["spec"]["template"]["spec"]["containers"][0];
    assert_eq!(container["resources"]["limits"]["cpu"], "2");
}

#[tokio::test]
async fn strategic_patches_merge_lists_by_key() {
    let server = with_deployment().await;
    let change = json!({"spec": {"template": {"spec": {"containers": [
        {"name": "b", "image": "two"}, {"name": "a", "imagePullPolicy": "Never"}]}}}});
    let (code, object) = json_of(patch(&server, "", change).await).await;
    assert_eq!(code, StatusCode::OK, "{object}");
    let containers = object["spec"]["template"]["spec"]["containers"].as_array().unwrap();
    let images: Vec<&str> = containers.iter().map(|c| c["image"].as_str().unwrap()).collect();
    assert_eq!(images, ["two", "one"]);
    assert_eq!(containers[1]["imagePullPolicy"], "Never");
    let nameless = json!({"spec": {"template": {"spec": {"containers": [{"image": "x"}]}}}});
    let (code, status) = json_of(patch(&server, "", nameless).await).await;
    assert_eq!(code, StatusCode::BAD_REQUEST);
    let message = status["message"].as_str().unwrap();
    assert!(message.contains("does not contain declared merge key: name"), "{message}");
}

#[tokio::test]
async fn patched_fields_are_checked_too() {
    let server = with_deployment().await;
    let change = json!({"spec": {"replica": 2}});
    let (code, status) =
        json_of(patch(&server, "?fieldValidation=Strict", change.clone()).await).await;
    assert_eq!(code, StatusCode::UNPROCESSABLE_ENTITY);
    let message = status["message"].as_str().unwrap();
    let expect = "strict decoding error: unknown field \"spec.replica\"";
    assert!(message.contains("patch: Invalid value") && message.ends_with(expect), "{message}");
    let warned = patch(&server, "", change).await;
    assert_eq!(warned.status(), StatusCode::OK);
    assert_eq!(warned.headers()[WARNING], r#"299 - "unknown field \"spec.replica\"""#);
    let wrong = json!({"spec": {"replicas": "two"}});
    let (code, _) = json_of(patch(&server, "", wrong).await).await;
    assert_eq!(code, StatusCode::UNPROCESSABLE_ENTITY);
}

#[tokio::test]
async fn a_failed_json_patch_test_is_told_in_the_words_clients_know() {
    let server = with_deployment().await;
    let change = json!([{"op": "test", "path": "/spec/replicas", "value": 7}]).to_string();
    let path = format!("{DEPLOYMENTS}/web");
    let kind = "application/json-patch+json";
    let (code, status) = json_of(ask(&server, Method::PATCH, &path, kind, change).await).await;
    assert_eq!(code, StatusCode::UNPROCESSABLE_ENTITY);
    assert_eq!(status["message"], "the server rejected our request due to an error in our request");
}

#[tokio::test]
async fn openapi_is_found_by_its_index() {
    let server = ApiServer::new(MemoryStore::new());
    let get = async |path: &str| {
        json_of(ask(&server, Method::GET, path, "application/json", String::new()).await).await
    };
    let (_, index) = get("/openapi/v3").await;
    let url = index["paths"]["apis/apps/v1"]["serverRelativeURL"].as_str().unwrap();
    let (code, apps) = get(url).await;
    assert_eq!(code, StatusCode::OK);
    assert!(apps["components"]["schemas"]["io.k8s.api.apps.v1.Deployment"].is_object());
    let (code, _) = get("/openapi/v3/apis/none/v1").await;
    assert_eq!(code, StatusCode::NOT_FOUND);
}

#[tokio::test]
async fn a_patch_cannot_take_an_objects_identity() {
    let server = with_deployment().await;
    let path = format!("{DEPLOYMENTS}/web");
    let cases = [
        (json!({"metadata": null}), StatusCode::UNPROCESSABLE_ENTITY),
        (json!({"metadata": {"name": "x"}}), StatusCode::UNPROCESSABLE_ENTITY),
        (json!({"metadata": {"uid": "x"}}), StatusCode::CONFLICT),
        (json!({"kind": "Pod"}), StatusCode::BAD_REQUEST),
    ];
    for kind in [STRATEGIC, "application/merge-patch+json"] {
        for (change, expect) in &cases {
            let reply = ask(&server, Method::PATCH, &path, kind, change.to_string()).await;
            let (code, reply) = json_of(reply).await;
            assert_eq!(code, *expect, "{kind} {change}: {reply}");
        }
    }
}
