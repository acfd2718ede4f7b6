//! Managed fields and server-side apply, through kube-rs and through the local client (A6).
#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use std::sync::Arc;
use std::time::Duration;

use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::autoscaling::v1::HorizontalPodAutoscaler;
use k8s_openapi::api::core::v1::{Binding, ConfigMap, Pod};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kapi::auth::Identity;
use kapi::{ApiServer, ServerOptions};
use kcore::client::{Client, DeleteOptions, DynClient, GetOptions, WriteOptions};
use kcore::clock::Clock;
use kstore::MemoryStore;
use kube::api::{Api, ListParams, Patch, PatchParams, PostParams};
use serde_json::{Value, json};

fn server() -> ApiServer {
    let start = "2026-01-01T00:00:00Z".parse().unwrap();
    ApiServer::with(MemoryStore::new(), ServerOptions::default().clock(Clock::starting_at(start)))
}

fn client(server: &ApiServer) -> kube::Client {
    kube::Client::new(server.service_as(Identity::admin()), "default")
}

/// The managers of an object: name, operation, subresource.
fn managers(meta: &ObjectMeta) -> Vec<String> {
    meta.managed_fields
        .iter()
        .flatten()
        .map(|entry| {
            let part = |text: &Option<String>| text.clone().unwrap_or_default();
            assert!(entry.time.is_some() && entry.fields_type.as_deref() == Some("FieldsV1"));
            format!(
                "{} {} {}",
                part(&entry.manager),
                part(&entry.operation),
                part(&entry.subresource)
            )
            .trim_end()
            .to_owned()
        })
        .collect()
}

/// The fields of one manager.
fn fields(meta: &ObjectMeta, manager: &str) -> Value {
    let mut entries = meta.managed_fields.iter().flatten();
    let found = entries.find(|entry| entry.manager.as_deref() == Some(manager));
    found.map(|entry| entry.fields_v1.clone().unwrap().0).unwrap_or_default()
}

fn deployment(replicas: Option<i32>, image: &str) -> Value {
    let mut object = json!({"apiVersion": "apps/v1", "kind": "Deployment",
        "metadata": {"name": "web"}, "spec": {
            "selector": {"matchLabels": {"app": "web"}},
            "template": {"metadata": {"labels": {"app": "web"}},
                "spec": {"containers": [{"name": "c", "image": image}]}}}});
    if let Some(replicas) = replicas {
        object["spec"]["replicas"] = json!(replicas);
    }
    object
}

fn config_map(data: Value) -> Value {
    json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "m"}, "data": data})
}

fn message(error: kube::Error) -> (u16, String) {
    let kube::Error::Api(status) = error else { panic!("{error}") };
    (status.code, status.message.clone())
}

#[tokio::test]
async fn applies_create_share_and_conflict() {
    let api: Api<Deployment> = Api::default_namespaced(client(&server()));
    let ours = PatchParams::apply("ours");
    let created = api.patch("web", &ours, &Patch::Apply(deployment(Some(2), "a:1"))).await.unwrap();
    assert_eq!(managers(&created.metadata), ["ours Apply"]);
    assert_eq!(
        fields(&created.metadata, "ours"),
        json!({"f:spec": {"f:replicas": {}, "f:selector": {}, "f:template": {
            "f:metadata": {"f:labels": {"f:app": {}}},
            "f:spec": {"f:containers": {"k:{\"name\":\"c\"}":
                {".": {}, "f:name": {}, "f:image": {}}}}}}})
    );
    // Another one scales, by an update of its own.
    let scaler = PatchParams { field_manager: Some("scaler".into()), ..PatchParams::default() };
    let patch = Patch::Merge(json!({"spec": {"replicas": 5}}));
    let scaled = api.patch("web", &scaler, &patch).await.unwrap();
    assert_eq!(managers(&scaled.metadata), ["ours Apply", "scaler Update"]);
    let error =
        api.patch("web", &ours, &Patch::Apply(deployment(Some(2), "a:1"))).await.unwrap_err();
    let kube::Error::Api(status) = error else { panic!("{error}") };
    assert_eq!((status.code, status.reason.as_str()), (409, "Conflict"), "A6");
    assert_eq!(
        status.message,
        "Apply failed with 1 conflict: conflict with \"scaler\" using apps/v1: .spec.replicas"
    );
    let cause = &status.details.as_ref().unwrap().causes[0];
    assert_eq!(cause.reason, "FieldManagerConflict");
    assert_eq!(cause.message, "conflict with \"scaler\" using apps/v1");
    assert_eq!(cause.field, ".spec.replicas");
    // Without the field there is nothing to fight over, and it stays the other's.
    let applied = api.patch("web", &ours, &Patch::Apply(deployment(None, "a:2"))).await.unwrap();
    assert_eq!(applied.spec.replicas, Some(5));
    assert_eq!(applied.metadata.generation, Some(3));
    let forced = api
        .patch("web", &ours.clone().force(), &Patch::Apply(deployment(Some(1), "a:2")))
        .await
        .unwrap();
    assert_eq!(forced.spec.replicas, Some(1));
    assert_eq!(managers(&forced.metadata), ["ours Apply"]);
    // What is applied again changes nothing (A4).
    let again = api
        .patch("web", &ours.clone().force(), &Patch::Apply(deployment(Some(1), "a:2")))
        .await
        .unwrap();
    assert_eq!(again.metadata.resource_version, forced.metadata.resource_version);
}

#[tokio::test]
async fn what_an_applier_gives_up_is_removed() {
    let server = server();
    let api: Api<ConfigMap> = Api::default_namespaced(client(&server));
    let ours = PatchParams::apply("ours");
    let apply = async |data: Value| {
        api.patch("m", &ours, &Patch::Apply(config_map(data))).await.unwrap().data
    };
    apply(json!({"a": "1", "b": "1"})).await;
    let theirs = PatchParams { field_manager: Some("theirs".into()), ..PatchParams::default() };
    api.patch("m", &theirs, &Patch::Merge(json!({"data": {"c": "1"}}))).await.unwrap();
    let left = apply(json!({"a": "1"})).await.unwrap();
    assert_eq!(left.keys().collect::<Vec<_>>(), ["a", "c"]);
}

#[tokio::test]
async fn an_apply_can_be_refused() {
    let api: Api<ConfigMap> = Api::default_namespaced(client(&server()));
    let ours = PatchParams::apply("ours");
    let mut other_version = config_map(json!({}));
    other_version["apiVersion"] = json!("v2");
    let mut managed = config_map(json!({}));
    managed["metadata"]["managedFields"] = json!([{}]);
    let mut unknown = config_map(json!({}));
    unknown["date"] = json!({});
    for (object, code, words) in [
        (
            other_version,
            400,
            "Incorrect version specified in apply patch. Specified patch version: \
            v2, expected: v1",
        ),
        (managed, 400, "metadata.managedFields must be nil"),
        (
            unknown,
            500,
            "failed to create typed patch object (/m; v1, Kind=ConfigMap): .date: field \
            not declared in schema",
        ),
    ] {
        let error = api.patch("m", &ours, &Patch::Apply(object)).await.unwrap_err();
        assert_eq!(message(error), (code, words.to_owned()));
    }
    let nameless = PatchParams::default();
    let request = kube::api::Request::new("/api/v1/namespaces/default/configmaps");
    let mut request = request.patch("m", &nameless, &Patch::Merge(config_map(json!({})))).unwrap();
    let apply = "application/apply-patch+yaml".parse().unwrap();
    request.headers_mut().insert(http::header::CONTENT_TYPE, apply);
    let client = client(&server());
    let error = client.request::<ConfigMap>(request).await.unwrap_err();
    let (code, words) = message(error);
    assert_eq!(code, 422);
    assert!(
        words.ends_with("fieldManager: Required value: is required for apply patch"),
        "{words}"
    );
    // Whoever may patch may not create for that.
    assert!(api.list(&ListParams::default()).await.unwrap().items.is_empty());
}

#[tokio::test]
async fn status_and_the_rest_have_managers_of_their_own() {
    let server = server();
    let api: Api<Deployment> = Api::default_namespaced(client(&server));
    let created = api
        .create(&PostParams::default(), &serde_json::from_value(deployment(None, "a")).unwrap())
        .await
        .unwrap();
    let names = managers(&created.metadata);
    assert!(names[0].ends_with(" Update") && names.len() == 1, "{names:?}");
    let status = json!({"apiVersion": "apps/v1", "kind": "Deployment",
        "metadata": {"name": "web", "labels": {"not": "written"}},
        "spec": {"replicas": 9}, "status": {"observedGeneration": 1, "replicas": 3}});
    let controller = PatchParams::apply("controller");
    let changed = api.patch_status("web", &controller, &Patch::Apply(status)).await.unwrap();
    assert_eq!(managers(&changed.metadata)[0], "controller Apply status");
    assert_eq!(
        fields(&changed.metadata, "controller"),
        json!({"f:status": {"f:observedGeneration": {}, "f:replicas": {}}})
    );
    assert_eq!(changed.spec.replicas, Some(1));
    assert_eq!(changed.metadata.generation, Some(1));
    assert!(changed.metadata.labels.is_none());
    // An apply to the object leaves the status, and whose it is, alone.
    let mut object = deployment(None, "b");
    object["status"] = json!({"replicas": 7});
    let params = PatchParams::apply("ours").force();
    let changed = api.patch("web", &params, &Patch::Apply(object)).await.unwrap();
    assert_eq!(changed.status.as_ref().unwrap().replicas, Some(3));
    assert!(managers(&changed.metadata).contains(&"controller Apply status".to_owned()));
    assert_eq!(fields(&changed.metadata, "ours")["f:status"], Value::Null);
}

#[tokio::test]
async fn client_side_apply_hands_over_to_server_side_apply() {
    let server = server();
    let api: Api<ConfigMap> = Api::default_namespaced(client(&server));
    let mut object = config_map(json!({"a": "1", "b": "1"}));
    let last = format!("{object}\n");
    object["metadata"]["annotations"] =
        json!({"kubectl.kubernetes.io/last-applied-configuration": last});
    let by = |manager: &str| PostParams {
        field_manager: Some(manager.to_owned()),
        ..PostParams::default()
    };
    let object: ConfigMap = serde_json::from_value(object).unwrap();
    api.create(&by("kubectl-client-side-apply"), &object).await.unwrap();
    let edit = PatchParams { field_manager: Some("edit".into()), ..PatchParams::default() };
    api.patch("m", &edit, &Patch::Merge(json!({"data": {"b": "2"}}))).await.unwrap();
    // What kubectl wrote itself it may change; what somebody else did it may not.
    let kubectl = PatchParams::apply("kubectl");
    let both = Patch::Apply(config_map(json!({"a": "3", "b": "3"})));
    let (code, words) = message(api.patch("m", &kubectl, &both).await.unwrap_err());
    assert_eq!(code, 409);
    assert!(words.ends_with("conflict with \"edit\" using v1: .data.b"), "{words}");
    let one = Patch::Apply(config_map(json!({"a": "3"})));
    let applied = api.patch("m", &kubectl, &one).await.unwrap();
    assert_eq!(applied.data.as_ref().unwrap()["a"], "3");
    // The annotation follows, so that client-side apply can take over again.
    let annotations = applied.metadata.annotations.as_ref().unwrap();
    let last = &annotations["kubectl.kubernetes.io/last-applied-configuration"];
    assert_eq!(serde_json::from_str::<Value>(last).unwrap()["data"], json!({"a": "3"}));
    // Any other manager has no such right.
    let other = PatchParams::apply("other");
    let words = message(
        api.patch("m", &other, &Patch::Apply(config_map(json!({"b": "9"})))).await.unwrap_err(),
    );
    assert_eq!(words.0, 409);
}

#[tokio::test]
async fn tracking_can_be_ended_and_begins_with_an_apply() {
    let server = server();
    let api: Api<ConfigMap> = Api::default_namespaced(client(&server));
    let object: ConfigMap = serde_json::from_value(config_map(json!({"a": "1"}))).unwrap();
    let created = api.create(&PostParams::default(), &object).await.unwrap();
    // An empty list is what clients send that know nothing of managers.
    let mut unaware = created.clone();
    unaware.metadata.managed_fields = Some(Vec::new());
    let kept = api.replace("m", &PostParams::default(), &unaware).await.unwrap();
    assert_eq!(kept.metadata.managed_fields, created.metadata.managed_fields);
    assert_eq!(kept.metadata.resource_version, created.metadata.resource_version, "A4");
    let reset = Patch::Merge(json!({"metadata": {"managedFields": [{}]}}));
    let bare = api.patch("m", &PatchParams::default(), &reset).await.unwrap();
    assert_eq!(bare.metadata.managed_fields, None);
    let patch = Patch::Merge(json!({"data": {"b": "1"}}));
    let changed = api.patch("m", &PatchParams::default(), &patch).await.unwrap();
    assert_eq!(changed.metadata.managed_fields, None, "nobody begins to track by an update");
    let apply = Patch::Apply(config_map(json!({"c": "1"})));
    let applied = api.patch("m", &PatchParams::apply("ours"), &apply).await.unwrap();
    assert_eq!(managers(&applied.metadata), ["ours Apply", "before-first-apply Update"]);
}

#[tokio::test]
async fn another_version_is_tracked_as_it_is_stored() {
    let server = server();
    let api: Api<HorizontalPodAutoscaler> = Api::default_namespaced(client(&server));
    let object = |cpu: i32| {
        json!({"apiVersion": "autoscaling/v1", "kind": "HorizontalPodAutoscaler",
            "metadata": {"name": "h"}, "spec": {"maxReplicas": 3,
                "scaleTargetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": "web"},
                "targetCPUUtilizationPercentage": cpu}})
    };
    let params = PatchParams::apply("ours");
    let created = api.patch("h", &params, &Patch::Apply(object(50))).await.unwrap();
    let entry = &created.metadata.managed_fields.as_ref().unwrap()[0];
    assert_eq!(entry.api_version.as_deref(), Some("autoscaling/v2"));
    assert_eq!(created.spec.target_cpu_utilization_percentage, Some(50));
    let changed = api.patch("h", &params, &Patch::Apply(object(60))).await.unwrap();
    assert_eq!(changed.spec.target_cpu_utilization_percentage, Some(60));
    assert_eq!(managers(&changed.metadata), ["ours Apply"]);
}

#[tokio::test]
async fn replicas_can_be_applied_through_the_scale() {
    let server = server();
    let api: Api<Deployment> = Api::default_namespaced(client(&server));
    let owner = PatchParams::apply("owner");
    api.patch("web", &owner, &Patch::Apply(deployment(Some(2), "a"))).await.unwrap();
    let scale = |replicas: i32| {
        Patch::Apply(json!({"apiVersion": "autoscaling/v1", "kind": "Scale",
            "metadata": {"name": "web"}, "spec": {"replicas": replicas}}))
    };
    let ours = PatchParams::apply("scaler");
    let (code, words) = message(api.patch_scale("web", &ours, &scale(3)).await.unwrap_err());
    assert_eq!(code, 409);
    assert_eq!(words, "Apply failed with 1 conflict: conflict with \"owner\": .spec.replicas");
    // What both want, both have; what is forced, the one who forces has alone.
    api.patch_scale("web", &ours, &scale(2)).await.unwrap();
    let both = api.get("web").await.unwrap();
    assert_eq!(managers(&both.metadata), ["owner Apply", "scaler Apply scale"]);
    let forced = api.patch_scale("web", &ours.clone().force(), &scale(3)).await.unwrap();
    assert_eq!(forced.spec.unwrap().replicas, Some(3));
    let changed = api.get("web").await.unwrap();
    assert_eq!(changed.spec.replicas, Some(3));
    assert_eq!(fields(&changed.metadata, "scaler"), json!({"f:spec": {"f:replicas": {}}}));
    assert_eq!(fields(&changed.metadata, "owner")["f:spec"]["f:replicas"], Value::Null);
    assert!(fields(&changed.metadata, "owner")["f:spec"]["f:template"].is_object());
    // What is applied again changes nothing (A4).
    api.patch_scale("web", &ours, &scale(3)).await.unwrap();
    let again = api.get("web").await.unwrap();
    assert_eq!(again.metadata.resource_version, changed.metadata.resource_version);
    let other = Patch::Apply(json!({"apiVersion": "apps/v1", "kind": "Deployment"}));
    let words = message(api.patch_scale("web", &ours, &other).await.unwrap_err());
    assert_eq!(words.0, 400, "{}", words.1);
    let missing = api.patch_scale("none", &ours, &scale(3)).await.unwrap_err();
    assert_eq!(message(missing).0, 404);
    let below = api.patch_scale("web", &ours, &scale(-1)).await.unwrap_err();
    assert_eq!(message(below).0, 422);
}

#[tokio::test]
async fn local_clients_write_under_their_own_names() {
    let server = server();
    let admin: DynClient = Arc::new(server.client(Identity::admin()));
    let scheduler: DynClient = Arc::new(server.client(Identity::component("scheduler")));
    let pods =
        |client: &DynClient| kcore::client::Api::<Pod>::namespaced(Arc::clone(client), "default");
    let pod: Pod = serde_json::from_value(json!({"metadata": {"name": "p"},
        "spec": {"containers": [{"name": "c", "image": "i"}]}}))
    .unwrap();
    let resource = kcore::name::Resource::of::<Pod>();
    let path = kcore::client::Path::object(&resource, Some("default"), "p");
    // Typed views leave the managers out; the object has them.
    let meta = async || {
        let object = Client::get(&*admin, path, &GetOptions::default()).await.unwrap();
        let view = object.view::<Pod>().unwrap();
        assert_eq!(view.metadata.managed_fields, None);
        ObjectMeta {
            managed_fields: object.managed_fields().unwrap(),
            generation: view.metadata.generation,
            ..ObjectMeta::default()
        }
    };
    let created = pods(&admin).create(pod).await.unwrap();
    assert_eq!(created.metadata.managed_fields, None);
    let created = meta().await;
    assert_eq!(managers(&created), ["kubernetes-admin Update"]);
    assert_eq!(fields(&created, "kubernetes-admin")["f:status"], Value::Null);
    let binding: Binding = serde_json::from_value(json!({"metadata": {"name": "p"},
        "target": {"kind": "Node", "name": "n1"}}))
    .unwrap();
    pods(&scheduler).post("p", "binding", binding).await.unwrap();
    let bound = meta().await;
    // As upstream: who binds a Pod manages nothing of it, and nobody else loses anything.
    assert_eq!(bound.managed_fields, created.managed_fields);
    let patch = kcore::client::Patch::Merge(r#"{"metadata":{"labels":{"a":"b"}}}"#.into());
    let options = WriteOptions::default().field_manager("named");
    Client::patch(&*admin, path, patch, &options).await.unwrap();
    let patched = meta().await;
    assert_eq!(
        fields(&patched, "named"),
        json!({"f:metadata": {"f:labels": {".": {}, "f:a": {}}}})
    );
    assert_eq!(patched.generation, bound.generation);
}

/// Every way in which a process changes an object that it has read itself.
#[tokio::test]
async fn views_without_managers_lose_nobody_a_field() {
    let server = server();
    let admin: DynClient = Arc::new(server.client(Identity::admin()));
    let other: DynClient = Arc::new(server.client(Identity::user("other", ["system:masters"])));
    let pods =
        |client: &DynClient| kcore::client::Api::<Pod>::namespaced(Arc::clone(client), "default");
    let pod: Pod = serde_json::from_value(json!({"metadata": {"name": "p",
        "finalizers": ["example.com/f"], "labels": {"a": "b"}},
        "spec": {"containers": [{"name": "c", "image": "i"}]}}))
    .unwrap();
    let resource = kcore::name::Resource::of::<Pod>();
    let path = kcore::client::Path::object(&resource, Some("default"), "p");
    let meta = async || {
        let object = Client::get(&*admin, path, &GetOptions::default()).await.unwrap();
        let managed_fields = object.managed_fields().unwrap();
        ObjectMeta { managed_fields, ..ObjectMeta::default() }
    };
    let created = pods(&admin).create(pod).await.unwrap();
    let before = fields(&meta().await, "kubernetes-admin");
    // Nothing changed: nothing is written (A4).
    let same = pods(&other).update((*created).clone()).await.unwrap();
    assert_eq!(same.metadata.resource_version, created.metadata.resource_version, "A4");
    let mut changed = (*created).clone();
    changed.metadata.labels.get_or_insert_default().insert("x".into(), "y".into());
    let changed = pods(&other).update(changed).await.unwrap();
    let labels = json!({"f:metadata": {"f:labels": {"f:x": {}}}});
    assert_eq!(fields(&meta().await, "other"), labels);
    let mut status = (*changed).clone();
    status.status.get_or_insert_default().phase = Some("Running".into());
    pods(&other).update_subresource("status", status).await.unwrap();
    let known = managers(&meta().await);
    assert_eq!(known, ["kubernetes-admin Update", "other Update", "other Update status"]);
    pods(&other).delete("p", &DeleteOptions::default()).await.unwrap();
    let marked = meta().await;
    assert_eq!(managers(&marked), known);
    assert_eq!(fields(&marked, "kubernetes-admin"), before);
    let over_http = Api::<Pod>::default_namespaced(client(&server)).get("p").await.unwrap();
    assert_eq!(over_http.metadata.managed_fields, marked.managed_fields);
    assert!(over_http.metadata.deletion_timestamp.is_some());
}

#[tokio::test]
async fn patches_that_race_are_tried_again() {
    let server = server();
    let api: Api<ConfigMap> = Api::default_namespaced(client(&server));
    let object: ConfigMap = serde_json::from_value(config_map(json!({}))).unwrap();
    let created = api.create(&PostParams::default(), &object).await.unwrap();
    let patches = (0..20).map(|at| {
        let api = api.clone();
        async move {
            let data = config_map(json!({format!("k{at}"): "v"}));
            let params = PatchParams::apply(&format!("m{at}"));
            match at % 2 {
                0 => api.patch("m", &params, &Patch::Apply(data)).await,
                _ => api.patch("m", &PatchParams::default(), &Patch::Merge(data)).await,
            }
        }
    });
    let all = futures::future::join_all(patches);
    let all = tokio::time::timeout(Duration::from_secs(60), all).await.unwrap();
    assert!(all.iter().all(Result::is_ok), "{all:?}");
    assert_eq!(api.get("m").await.unwrap().data.unwrap().len(), 20);
    // One that names the version it is for is not.
    let stale = json!({"metadata": {"resourceVersion": created.metadata.resource_version},
        "data": {"x": "y"}});
    let error = api.patch("m", &PatchParams::default(), &Patch::Merge(stale)).await.unwrap_err();
    assert_eq!(message(error).0, 409, "A3");
}
