//! kube-rs over the API server in one process: an independent judge of what it serves.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use futures::{StreamExt as _, TryStreamExt as _};
use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::authentication::v1::SelfSubjectReview;
use k8s_openapi::api::core::v1::{ConfigMap, Namespace, Pod};
use kapi::auth::{Identity, StaticTokens};
use kapi::{ApiServer, ServerOptions};
use kstore::MemoryStore;
use kube::api::{
    Api, DeleteParams, ListParams, Patch, PatchParams, PostParams, WatchEvent, WatchParams,
};
use kube::{Client, discovery};
use serde_json::json;

fn client(identity: Identity) -> Client {
    let api = ApiServer::new(MemoryStore::new());
    Client::new(api.service_as(identity), "default")
}

fn config_map(name: &str) -> ConfigMap {
    serde_json::from_value(json!({"metadata": {"name": name}, "data": {"k": "v"}})).unwrap()
}

#[tokio::test]
async fn the_whole_life_of_an_object() {
    let api: Api<ConfigMap> = Api::default_namespaced(client(Identity::admin()));
    let created = api.create(&PostParams::default(), &config_map("a")).await.unwrap();
    assert_eq!(created.metadata.namespace.as_deref(), Some("default"));
    let mut changed = api.get("a").await.unwrap();
    changed.data.as_mut().unwrap().insert("x".into(), "y".into());
    let changed = api.replace("a", &PostParams::default(), &changed).await.unwrap();
    let error = api.replace("a", &PostParams::default(), &created).await.unwrap_err();
    let kube::Error::Api(status) = error else { panic!("{error}") };
    assert_eq!((status.code, status.reason.as_str()), (409, "Conflict"), "A3");
    let patch = Patch::Merge(json!({"metadata": {"labels": {"app": "web"}}}));
    api.patch("a", &PatchParams::default(), &patch).await.unwrap();
    let list = api.list(&ListParams::default().labels("app=web")).await.unwrap();
    assert_eq!(list.items.len(), 1);
    assert_eq!(list.items[0].data, changed.data);
    api.delete("a", &DeleteParams::default()).await.unwrap();
    assert!(api.get_opt("a").await.unwrap().is_none());
}

#[tokio::test]
async fn watches_stream_and_resume() {
    let api: Api<ConfigMap> = Api::default_namespaced(client(Identity::admin()));
    let first = api.create(&PostParams::default(), &config_map("a")).await.unwrap();
    let version = first.metadata.resource_version.unwrap();
    let params = WatchParams::default().timeout(5);
    let mut stream = api.watch(&params, &version).await.unwrap().boxed();
    api.create(&PostParams::default(), &config_map("b")).await.unwrap();
    api.delete("b", &DeleteParams::default()).await.unwrap();
    let Some(WatchEvent::Added(added)) = stream.try_next().await.unwrap() else { panic!() };
    assert_eq!(added.metadata.name.as_deref(), Some("b"));
    let Some(WatchEvent::Deleted(gone)) = stream.try_next().await.unwrap() else { panic!() };
    assert_eq!(gone.metadata.uid, added.metadata.uid);
    assert_ne!(gone.metadata.resource_version, added.metadata.resource_version, "A7");
}

#[tokio::test]
async fn pages_metadata_and_bad_input() {
    let client = client(Identity::admin());
    let api: Api<ConfigMap> = Api::default_namespaced(client.clone());
    for at in 0..5 {
        api.create(&PostParams::default(), &config_map(&format!("c{at}"))).await.unwrap();
    }
    let page = api.list(&ListParams::default().limit(2)).await.unwrap();
    assert_eq!(page.metadata.remaining_item_count, Some(3));
    let token = page.metadata.continue_.unwrap();
    let next = api.list(&ListParams::default().limit(2).continue_token(&token)).await.unwrap();
    assert_eq!(next.items[0].metadata.name.as_deref(), Some("c2"));
    let meta = api.list_metadata(&ListParams::default()).await.unwrap();
    assert_eq!(meta.items.len(), 5);
    let error = api.list(&ListParams::default().labels("a in b")).await.unwrap_err();
    let kube::Error::Api(status) = error else { panic!("{error}") };
    assert_eq!(status.code, 400);
    let error = api.create(&PostParams::default(), &config_map("Not_A_Name")).await.unwrap_err();
    let kube::Error::Api(status) = error else { panic!("{error}") };
    assert_eq!((status.code, status.reason.as_str()), (422, "Invalid"), "A9");
    assert_eq!(status.details.unwrap().causes[0].field, "metadata.name");
    let pods: Api<Pod> = Api::default_namespaced(client);
    let error = pods.get("nobody").await.unwrap_err();
    let kube::Error::Api(status) = error else { panic!("{error}") };
    assert_eq!(status.message, "pods \"nobody\" not found");
}

#[tokio::test]
async fn discovery_names_every_kind() {
    let client = client(Identity::admin());
    let found = discovery::Discovery::new(client.clone()).run().await.unwrap();
    let groups: Vec<&str> = found.groups().map(|group| group.name()).collect();
    assert!(groups.contains(&"apps") && groups.contains(&""), "{groups:?}");
    let aggregated = discovery::Discovery::new(client.clone()).run_aggregated().await.unwrap();
    assert_eq!(aggregated.groups().count(), found.groups().count());
    assert_eq!(client.apiserver_version().await.unwrap().minor, "37");
}

#[tokio::test]
async fn callers_are_who_they_say_and_no_more() {
    let api = ApiServer::new(MemoryStore::new());
    let scheduler = Client::new(api.service_as(Identity::component("scheduler")), "default");
    let reviews: Api<SelfSubjectReview> = Api::all(scheduler.clone());
    let question = SelfSubjectReview::default();
    let review = reviews.create(&PostParams::default(), &question).await.unwrap();
    let user = review.status.unwrap().user_info.unwrap();
    assert_eq!(user.username.as_deref(), Some("system:kube-scheduler"));
    let deployments: Api<Deployment> = Api::default_namespaced(scheduler);
    let error = deployments.list(&ListParams::default()).await.unwrap_err();
    let kube::Error::Api(status) = error else { panic!("{error}") };
    assert_eq!(status.code, 403);
    // X1: whoever does not say who they are sees health and version, nothing else.
    let nobody = Client::new(api.service(), "default");
    assert_eq!(nobody.apiserver_version().await.unwrap().major, "1");
    let namespaces: Api<Namespace> = Api::all(nobody);
    let error = namespaces.list(&ListParams::default()).await.unwrap_err();
    let kube::Error::Api(status) = error else { panic!("{error}") };
    assert_eq!(status.code, 403);
}

#[tokio::test]
async fn a_bearer_token_is_known_or_refused() {
    let tokens = StaticTokens::new().token("0123456789abcdef", Identity::admin()).unwrap();
    let options = ServerOptions::default().authenticator(tokens);
    let api = ApiServer::with(MemoryStore::new(), options);
    let status = async |authorization: Option<&str>| {
        let mut request = http::Request::get("/api/v1/namespaces");
        if let Some(value) = authorization {
            request = request.header("authorization", value);
        }
        let request = request.body(String::new()).unwrap();
        tower::ServiceExt::oneshot(api.service(), request).await.unwrap().status().as_u16()
    };
    assert_eq!(status(Some("Bearer 0123456789abcdef")).await, 200);
    assert_eq!(status(Some("Bearer somebody-elses-token")).await, 401);
    assert_eq!(status(None).await, 403);
}

#[tokio::test]
async fn impersonation_is_whole_or_refused() {
    let api = ApiServer::new(MemoryStore::new());
    let status = async |name: &str, value: &str| {
        let request = http::Request::get("/api/v1/namespaces").header("impersonate-user", "jane");
        let request = request.header(name, value).body(String::new()).unwrap();
        let service = api.service_as(Identity::admin());
        tower::ServiceExt::oneshot(service, request).await.unwrap().status().as_u16()
    };
    assert_eq!(status("impersonate-group", "system:masters").await, 200);
    assert_eq!(status("impersonate-group", "nobodies").await, 403);
    assert_eq!(status("impersonate-uid", "7").await, 400);
    assert_eq!(status("impersonate-extra-scopes", "view").await, 400);
}
