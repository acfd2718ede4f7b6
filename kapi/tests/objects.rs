//! Objects through the local client: contract sections 2 and 3.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use std::sync::Arc;
use std::task::Poll;

use futures::StreamExt as _;
use k8s_openapi::api::core::v1::ConfigMap;
use k8s_openapi::api::rbac::v1::{Role, RoleBinding};
use kapi::auth::Identity;
use kapi::{ApiServer, ServerOptions};
use kcore::client::{
    Api, DeleteOptions, Deleted, DynClient, ListOptions, Patch, WatchEvent, WatchOptions,
};
use kcore::clock::Clock;
use kcore::random::Random;
use kcore::status::Reason;
use kstore::MemoryStore;

fn server() -> ApiServer {
    let options = ServerOptions::default()
        .clock(Clock::starting_at("2026-01-01T00:00:00Z".parse().unwrap()))
        .random(Random::seeded(1));
    ApiServer::with(MemoryStore::new(), options)
}

fn config_maps(server: &ApiServer) -> Api<ConfigMap> {
    Api::namespaced(Arc::new(server.client(Identity::admin())), "default")
}

fn config_map(name: &str) -> ConfigMap {
    let mut object = ConfigMap::default();
    object.metadata.name = Some(name.into());
    object.data = Some([("k".to_owned(), "v".to_owned())].into());
    object
}

#[tokio::test(start_paused = true)]
async fn what_is_created_can_be_read_and_is_stamped() {
    let api = config_maps(&server());
    let created = api.create(config_map("a")).await.unwrap();
    let meta = &created.metadata;
    assert_eq!(meta.namespace.as_deref(), Some("default"));
    assert!(meta.uid.is_some() && meta.creation_timestamp.is_some());
    let version = meta.resource_version.as_deref().unwrap();
    assert!(!version.starts_with('0') && version.bytes().all(|b| b.is_ascii_digit()), "A1");
    let read = api.get("a").await.unwrap();
    assert!(Arc::ptr_eq(&created, &read), "a local read shares the view");
    let error = api.create(config_map("a")).await.unwrap_err();
    assert!(error.is_already_exists(), "A3: {error}");
}

/// A store in this process shows a write before it answers, and the writer applies it itself: no
/// other task has a turn in between.
#[tokio::test(start_paused = true)]
async fn a_write_to_a_store_in_this_process_waits_for_no_task() {
    let api = config_maps(&server());
    api.list(&ListOptions::default()).await.unwrap();
    let mut events = api.watch(&WatchOptions::default()).await.unwrap();
    for name in ["a", "b", "c"] {
        let write = std::pin::pin!(api.create(config_map(name)));
        let Poll::Ready(created) = futures::poll!(write) else { panic!("{name} waits") };
        assert_eq!(created.unwrap().metadata.name.as_deref(), Some(name));
        let read = std::pin::pin!(api.get(name));
        assert!(futures::poll!(read).is_ready(), "C4");
    }
    let mut seen = Vec::new();
    while seen.len() < 3 {
        let batch = events.next().await.unwrap().unwrap();
        seen.extend(batch.iter().map(|event| event.object().unwrap().meta().name.clone()));
    }
    assert_eq!(seen, ["a", "b", "c"], "watchers hear of it, too");
}

#[tokio::test(start_paused = true)]
async fn update_rejects_stale_versions_and_skips_what_changes_nothing() {
    let api = config_maps(&server());
    let first = api.create(config_map("a")).await.unwrap();
    let same = api.update((*first).clone()).await.unwrap();
    assert_eq!(same.metadata.resource_version, first.metadata.resource_version, "A4");
    let mut second = (*first).clone();
    second.data.as_mut().unwrap().insert("k".into(), "w".into());
    let second = api.update(second).await.unwrap();
    assert_ne!(second.metadata.resource_version, first.metadata.resource_version);
    let mut stale = (*first).clone();
    stale.data = None;
    assert!(api.update(stale).await.unwrap_err().is_conflict(), "A3");
    let patched = api.patch("a", Patch::Merge(r#"{"data":{"x":"y","k":null}}"#.into())).await;
    assert_eq!(patched.unwrap().data.as_ref().unwrap().len(), 1);
}

#[tokio::test(start_paused = true)]
async fn pages_of_a_list_show_one_revision() {
    let api = config_maps(&server());
    for at in 0..7 {
        api.create(config_map(&format!("c{at}"))).await.unwrap();
    }
    let first = api.list(&ListOptions::default().limit(3)).await.unwrap();
    assert_eq!(first.items.len(), 3);
    api.create(config_map("c9")).await.unwrap();
    api.delete("c5", &DeleteOptions::default()).await.unwrap();
    let mut names: Vec<String> = Vec::new();
    let mut page = first.clone();
    loop {
        names.extend(page.items.iter().map(|object| object.metadata.name.clone().unwrap()));
        assert_eq!(page.resource_version, first.resource_version, "S5");
        let Some(token) = page.continue_token else { break };
        let options = ListOptions::default().limit(3).continue_token(token);
        page = api.list(&options).await.unwrap();
    }
    assert_eq!(names, ["c0", "c1", "c2", "c3", "c4", "c5", "c6"]);
}

#[tokio::test(start_paused = true)]
async fn watch_follows_its_selector() {
    // A7.
    let api = config_maps(&server());
    let options = WatchOptions::default().labels("app=web".parse().unwrap()).initial_events();
    let mut stream = api.watch(&options).await.unwrap();
    let mut next = async || {
        let batch = stream.next().await.unwrap().unwrap();
        assert_eq!(batch.len(), 1, "{batch:?}");
        batch[0].clone()
    };
    assert!(matches!(next().await, WatchEvent::Bookmark { initial_events_end: true, .. }));
    api.create(config_map("a")).await.unwrap();
    let label = |value: &str| {
        let patch = format!(r#"{{"metadata":{{"labels":{{"app":"{value}"}}}}}}"#);
        Patch::Merge(patch.into())
    };
    api.patch("a", label("web")).await.unwrap();
    assert!(matches!(next().await, WatchEvent::Added(_)));
    api.patch("a", Patch::Merge(r#"{"data":{"x":"y"}}"#.into())).await.unwrap();
    assert!(matches!(next().await, WatchEvent::Modified(_)));
    let left = api.patch("a", label("db")).await.unwrap();
    let WatchEvent::Deleted(last) = next().await else { panic!("not deleted") };
    assert_eq!(last.meta().labels["app"], "web", "the last state that matched");
    assert_eq!(Some(last.resource_version().to_string()), left.metadata.resource_version);
    api.patch("a", label("web")).await.unwrap();
    assert!(matches!(next().await, WatchEvent::Added(_)));
    api.delete("a", &DeleteOptions::default()).await.unwrap();
    assert!(matches!(next().await, WatchEvent::Deleted(_)));
}

#[tokio::test(start_paused = true)]
async fn a_watch_resumes_where_it_ended() {
    let api = config_maps(&server());
    let first = api.create(config_map("a")).await.unwrap();
    api.create(config_map("b")).await.unwrap();
    let after = first.metadata.resource_version.as_ref().unwrap().parse().unwrap();
    let mut stream = api.watch(&WatchOptions::default().after(after)).await.unwrap();
    let batch = stream.next().await.unwrap().unwrap();
    assert_eq!(batch[0].object().unwrap().meta().name, "b");
    let future = WatchOptions::default().after(10_000);
    let error = api.watch(&future).await.unwrap_err();
    assert!(error.is(Reason::Timeout), "A2: {error}");
}

#[tokio::test(start_paused = true)]
async fn finalizers_hold_a_deletion_up() {
    // D1.
    let api = config_maps(&server());
    let mut object = config_map("a");
    object.metadata.finalizers = Some(vec!["example.com/hold".into()]);
    api.create(object).await.unwrap();
    let outcome = api.delete("a", &DeleteOptions::default()).await.unwrap();
    assert!(matches!(outcome, Deleted::Pending(_)));
    let held = api.get("a").await.unwrap();
    assert!(held.metadata.deletion_timestamp.is_some());
    let more = r#"{"metadata":{"finalizers":["example.com/hold","example.com/new"]}}"#;
    let error = api.patch("a", Patch::Merge(more.into())).await.unwrap_err();
    assert!(error.is(Reason::Invalid), "{error}");
    api.patch("a", Patch::Merge(r#"{"metadata":{"finalizers":null}}"#.into())).await.unwrap();
    assert!(api.get("a").await.unwrap_err().is_not_found());
}

#[tokio::test(start_paused = true)]
async fn preconditions_guard_a_deletion() {
    let api = config_maps(&server());
    let object = api.create(config_map("a")).await.unwrap();
    let wrong = DeleteOptions::default().uid("someone-else");
    assert!(api.delete("a", &wrong).await.unwrap_err().is_conflict(), "A3");
    let right = DeleteOptions::default().uid(object.metadata.uid.clone().unwrap());
    assert!(matches!(api.delete("a", &right).await.unwrap(), Deleted::Gone(_)));
    assert!(api.delete("a", &right).await.unwrap_err().is_not_found());
}

#[tokio::test(start_paused = true)]
async fn nobody_does_what_no_role_allows() {
    let server = server();
    let api: Api<ConfigMap> =
        Api::namespaced(Arc::new(server.client(Identity::component("scheduler"))), "default");
    let error = api.create(config_map("a")).await.unwrap_err();
    assert!(error.is(Reason::Forbidden));
    assert_eq!(
        error.to_string(),
        "configmaps is forbidden: User \"system:kube-scheduler\" cannot create resource \
         \"configmaps\" in API group \"\" in the namespace \"default\""
    );
}

#[tokio::test(start_paused = true)]
async fn a_generated_name_is_free() {
    let api = config_maps(&server());
    for _ in 0..20 {
        let mut object = config_map("");
        object.metadata.name = None;
        object.metadata.generate_name = Some("web-".into());
        let created = api.create(object).await.unwrap();
        assert_eq!(created.metadata.name.as_ref().unwrap().len(), 9);
    }
    assert_eq!(api.list(&ListOptions::default()).await.unwrap().items.len(), 20);
}

#[tokio::test(start_paused = true)]
async fn a_right_holds_as_long_as_its_role_and_binding() {
    let server = server();
    let admin: DynClient = Arc::new(server.client(Identity::admin()));
    let roles: Api<Role> = Api::namespaced(Arc::clone(&admin), "default");
    let bindings: Api<RoleBinding> = Api::namespaced(Arc::clone(&admin), "default");
    config_maps(&server).create(config_map("a")).await.unwrap();
    // One client throughout: what it remembers must not outlive the rules.
    let reader: Api<ConfigMap> = Api::namespaced(
        Arc::new(server.client(Identity::user("jane", [] as [String; 0]))),
        "default",
    );
    let may = async || match reader.get("a").await {
        Ok(_) => true,
        Err(error) => {
            assert!(error.is(Reason::Forbidden), "{error}");
            false
        }
    };
    assert!(!may().await);
    let role = |verb: &str| -> Role {
        serde_json::from_value(serde_json::json!({"metadata": {"name": "r"}, "rules": [
            {"apiGroups": [""], "resources": ["configmaps"], "verbs": [verb]}]}))
        .unwrap()
    };
    let binding: RoleBinding = serde_json::from_value(serde_json::json!({
        "metadata": {"name": "b"}, "subjects": [{"kind": "User", "name": "jane"}],
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": "r"}}))
    .unwrap();
    roles.create(role("get")).await.unwrap();
    assert!(!may().await);
    bindings.create(binding.clone()).await.unwrap();
    assert!(may().await && may().await);
    roles.update(role("list")).await.unwrap();
    assert!(!may().await);
    roles.update(role("get")).await.unwrap();
    assert!(may().await);
    bindings.delete("b", &DeleteOptions::default()).await.unwrap();
    assert!(!may().await);
}
