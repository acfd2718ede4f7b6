//! The remote client against a tower service that stands for a server.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures::StreamExt;
use http::{Request, Response};
use http_body_util::{BodyExt, StreamBody};
use k8s_openapi::api::core::v1::{ConfigMap, Pod};
use parking_lot::Mutex;
use serde_json::{Value, json};

use super::*;
use crate::client::{Api, Propagation, WatchEvent};
use crate::informer::{InformerOptions, SharedInformer};
use crate::name::Resource;
use crate::random::Random;
use crate::selector::LabelSelector;
use crate::status::Reason;
use crate::stop::StopToken;

/// What the server was asked: method, path with query, media types, body.
#[derive(Debug, Clone, Default)]
struct Asked {
    line: String,
    accept: String,
    content_type: String,
    body: Value,
}

type Frame = Result<http_body::Frame<Bytes>, Infallible>;

fn whole(code: u16, body: impl Into<Bytes>) -> Response<HttpReply> {
    let body = http_body_util::Full::new(body.into()).boxed_unsync();
    Response::builder().status(code).body(body).unwrap()
}

type HttpReply = http_body_util::combinators::UnsyncBoxBody<Bytes, Infallible>;

/// A client of a server that answers by `answer`, and what it is asked.
fn server(
    answer: impl Fn(&Asked) -> Response<HttpReply> + Send + Sync + 'static,
) -> (Arc<KubeClient>, Arc<Mutex<Vec<Asked>>>) {
    let (answer, log) = (Arc::new(answer), Arc::new(Mutex::new(Vec::new())));
    let asked = Arc::clone(&log);
    let service = tower::service_fn(move |request: Request<HttpBody>| {
        let (answer, log) = (Arc::clone(&answer), Arc::clone(&log));
        async move {
            let (parts, body) = request.into_parts();
            let header = |name| {
                let value = parts.headers.get(name).map(|value| value.to_str().unwrap());
                value.unwrap_or_default().to_owned()
            };
            let body = body.collect_bytes().await.unwrap();
            let asked = Asked {
                line: format!("{} {}", parts.method, parts.uri),
                accept: header("accept"),
                content_type: header("content-type"),
                body: serde_json::from_slice(&body).unwrap_or_default(),
            };
            let response = answer(&asked);
            log.lock().push(asked);
            Ok::<_, Infallible>(response)
        }
    });
    (Arc::new(KubeClient::new(kube::Client::new(service, "default"))), asked)
}

fn pod_json(name: &str, version: u64) -> Value {
    json!({
        "apiVersion": "v1", "kind": "Pod",
        "metadata": {"name": name, "namespace": "ns", "resourceVersion": version.to_string()},
    })
}

fn pod(name: &str) -> Pod {
    let mut pod = Pod::default();
    pod.metadata.name = Some(name.into());
    pod
}

#[tokio::test]
async fn writes_carry_path_query_media_type_and_body() {
    let (client, asked) = server(|_| whole(200, pod_json("a", 7).to_string()));
    let api = Api::<Pod>::namespaced(client, "ns");
    let mut stale = pod("a");
    stale.metadata.resource_version = Some("6".into());
    assert_eq!(api.update(stale).await.unwrap().metadata.resource_version.as_deref(), Some("7"));
    let options = WriteOptions::default().dry_run().field_manager("me & you");
    api.create_with(pod("a"), &options).await.unwrap();
    let merge = Patch::Merge(Bytes::from_static(b"{\"x\":1}"));
    api.patch_status("a", merge).await.unwrap();
    let asked = asked.lock();
    assert_eq!(asked[0].line, "PUT /api/v1/namespaces/ns/pods/a");
    assert_eq!(asked[0].body["metadata"]["resourceVersion"], "6");
    assert_eq!(asked[0].body["kind"], "Pod");
    let line = "POST /api/v1/namespaces/ns/pods?dryRun=All&fieldManager=me%20%26%20you";
    assert_eq!((asked[1].line.as_str(), asked[1].content_type.as_str()), (line, JSON_TYPE));
    assert_eq!(asked[2].line, "PATCH /api/v1/namespaces/ns/pods/a/status");
    assert_eq!(asked[2].content_type, "application/merge-patch+json");
}

const JSON_TYPE: &str = "application/json";

#[tokio::test]
async fn a_delete_tells_what_stays_from_what_is_gone() {
    let (client, asked) = server(|asked| {
        let mut pod = pod_json("a", 9);
        pod["metadata"]["deletionTimestamp"] = "2026-01-01T00:00:00Z".into();
        match asked.line.as_str() {
            line if line.ends_with("/waits") => pod["metadata"]["finalizers"] = json!(["x"]),
            line if line.ends_with("/grace") => {
                pod["metadata"]["deletionGracePeriodSeconds"] = 30.into();
            }
            line if line.ends_with("/forced") => {
                pod["metadata"]["deletionGracePeriodSeconds"] = 0.into();
            }
            _ => return whole(200, r#"{"kind":"Status","status":"Success","code":200}"#),
        }
        whole(200, pod.to_string())
    });
    let api = Api::<Pod>::namespaced(client, "ns");
    let options = DeleteOptions::default().uid("u").propagation(Propagation::Foreground);
    let options = options.resource_version(4).grace_period_seconds(5);
    let check = async |name, stays| {
        let deleted = api.delete(name, &options).await.unwrap();
        assert_eq!(matches!(deleted, Deleted::Pending(_)), stays, "{name}");
    };
    check("waits", true).await;
    check("grace", true).await;
    check("forced", false).await;
    check("plain", false).await;
    let body = &asked.lock()[0].body;
    assert_eq!(body["preconditions"], json!({"uid": "u", "resourceVersion": "4"}));
    assert_eq!(
        (&body["propagationPolicy"], &body["gracePeriodSeconds"]),
        (&"Foreground".into(), &5.into())
    );
}

#[tokio::test]
async fn lists_give_items_the_kind_that_the_wire_leaves_out() {
    let (client, asked) = server(|_| {
        let mut item = pod_json("a", 3);
        item.as_object_mut().unwrap().remove("kind");
        let meta = json!({"resourceVersion": "12", "continue": "tok", "remainingItemCount": 5});
        let list =
            json!({"kind": "PodList", "apiVersion": "v1", "metadata": meta, "items": [item]});
        whole(200, list.to_string())
    });
    let resource = Resource::of::<Pod>();
    let labels: LabelSelector = "app in (a,b)".parse().unwrap();
    let options = ListOptions::default().labels(labels).resource_version(0).limit(500);
    let list = client.list(Path::collection(&resource, None), &options).await.unwrap();
    assert_eq!((list.resource_version, list.remaining), (12, Some(5)));
    assert_eq!(list.continue_token.as_deref(), Some("tok"));
    assert_eq!(list.items[0].to_string(), "Pod ns/a");
    assert_eq!(list.items[0].resource_version(), 3);
    let nothing = ListOptions::default().labels(LabelSelector::nothing()).metadata_only();
    client.list(Path::collection(&resource, None), &nothing).await.unwrap();
    let asked = asked.lock();
    let line = "GET /api/v1/pods?labelSelector=app%20in%20%28a%2Cb%29&resourceVersion=0&limit=500";
    assert_eq!(asked[0].line, line);
    assert!(asked[1].line.contains("labelSelector=nothing%2C%21nothing"), "{}", asked[1].line);
    assert!(asked[1].accept.contains("as=PartialObjectMetadataList"));
}

#[tokio::test]
async fn errors_keep_status_and_retry_after_c10() {
    let (client, _) = server(|asked| match asked.line.as_str() {
        line if line.ends_with("/busy") => {
            let mut response = whole(429, "Too many requests, please try again later.");
            response.headers_mut().insert("retry-after", http::HeaderValue::from_static("7"));
            response
        }
        line if line.ends_with("/taken") => {
            whole(409, Status::conflict("", "pods", "taken", "why").to_json())
        }
        _ => whole(410, Status::expired("too old").to_json()),
    });
    let api = Api::<Pod>::namespaced(client, "ns");
    let busy = api.get("busy").await.unwrap_err();
    let details = busy.status().unwrap().details.clone().unwrap();
    assert!(busy.is(Reason::TooManyRequests) && details.retry_after_seconds == 7);
    let taken = api.get("taken").await.unwrap_err();
    assert!(taken.is_conflict() && taken.to_string().ends_with("\"taken\": why"));
    assert!(api.get("old").await.unwrap_err().is_expired());
}

use crate::status::Status;

fn event(event_type: &str, object: &Value) -> String {
    format!("{}\n", json!({"type": event_type, "object": object}))
}

/// A body of these frames, all there at once; it stays open if told to.
fn frames(frames: Vec<String>, open: bool) -> Response<HttpReply> {
    let there = frames.into_iter().map(|frame| Ok(http_body::Frame::data(Bytes::from(frame))));
    let there = futures::stream::iter(there.collect::<Vec<Frame>>());
    let stream = match open {
        true => there.chain(futures::stream::pending()).left_stream(),
        false => there.right_stream(),
    };
    Response::new(StreamBody::new(stream).boxed_unsync())
}

#[tokio::test]
async fn a_watch_comes_in_batches_of_what_is_there_and_ends_with_its_error() {
    let (client, asked) = server(|_| {
        let mut text = event("ADDED", &pod_json("a", 1));
        text += &event("MODIFIED", &pod_json("a", 2));
        text += &event("DELETED", &pod_json("a", 3));
        let annotations = json!({"k8s.io/initial-events-end": "true"});
        let meta = json!({"resourceVersion": "9", "annotations": annotations});
        text += &event("BOOKMARK", &json!({"kind": "Pod", "apiVersion": "v1", "metadata": meta}));
        let gone = String::from_utf8(Status::expired("too old").to_json()).unwrap();
        text += &event("ERROR", &serde_json::from_str(&gone).unwrap());
        // Cut anywhere, also inside of lines.
        let cut = text.as_bytes().chunks(37).map(|c| String::from_utf8(c.to_vec()).unwrap());
        frames(cut.collect(), false)
    });
    let resource = Resource::of::<Pod>();
    let options = WatchOptions::default().initial_events();
    let watch = client.watch(Path::collection(&resource, Some("ns")), &options).await.unwrap();
    let batches: Vec<_> = watch.collect().await;
    let events =
        batches[..batches.len() - 1].iter().flat_map(|batch| batch.as_ref().unwrap().iter());
    let events: Vec<_> = events
        .map(|event| match event {
            WatchEvent::Added(object) => format!("+{object}"),
            WatchEvent::Modified(object) => format!("~{object}"),
            WatchEvent::Deleted(object) => format!("-{object}@{}", object.resource_version()),
            WatchEvent::Bookmark { resource_version, initial_events_end } => {
                format!("={resource_version} {initial_events_end}")
            }
        })
        .collect();
    assert_eq!(events, ["+Pod ns/a", "~Pod ns/a", "-Pod ns/a@3", "=9 true"]);
    assert!(batches.len() <= 3, "{} batches", batches.len());
    assert!(batches.last().unwrap().as_ref().unwrap_err().is_expired());
    let line = asked.lock()[0].line.clone();
    assert!(line.contains("watch=true") && line.contains("sendInitialEvents=true"), "{line}");
    assert!(line.contains("resourceVersionMatch=NotOlderThan"), "{line}");
}

#[tokio::test(start_paused = true)]
async fn a_watch_on_a_dead_connection_is_given_up() {
    let (client, _) = server(|_| frames(vec![event("ADDED", &pod_json("a", 1))], true));
    let resource = Resource::of::<Pod>();
    let options = WatchOptions::default().after(0);
    let mut watch = client.watch(Path::collection(&resource, None), &options).await.unwrap();
    assert_eq!(watch.next().await.unwrap().unwrap().len(), 1);
    let start = tokio::time::Instant::now();
    assert!(matches!(watch.next().await, Some(Err(Error::Transport(_)))));
    assert_eq!(start.elapsed(), Duration::from_secs(320));
    assert!(watch.next().await.is_none());
}

#[test]
fn an_event_without_end_is_refused() {
    let mut lines = Lines::new(Resource::of::<Pod>(), Representation::Full, 100);
    assert!(lines.read(&[b'x'; 100]).is_ok());
    assert!(lines.read(b"x").is_err());
}

#[tokio::test]
async fn discovery_reads_every_group_that_answers() {
    let (client, _) = server(|asked| {
        let body = match asked.line.as_str() {
            "GET /api" => json!({"versions": ["v1"]}),
            "GET /apis" => json!({"groups": [
                {"name": "apps", "versions": [{"version": "v1"}]},
                {"name": "down.example", "versions": [{"version": "v1"}]},
            ]}),
            "GET /api/v1" => json!({"resources": [
                {"name": "pods", "kind": "Pod", "namespaced": true, "verbs": ["get", "list"]},
                {"name": "pods/log", "kind": "Pod", "namespaced": true, "verbs": ["get"]},
            ]}),
            "GET /apis/apps/v1" => json!({"resources": [
                {"name": "deployments", "kind": "Deployment", "namespaced": true, "verbs": []},
            ]}),
            _ => return whole(503, "service unavailable"),
        };
        whole(200, body.to_string())
    });
    let found = client.discover().await.unwrap();
    let names: Vec<_> = found.iter().map(|found| found.resource.group_resource()).collect();
    assert_eq!(names, ["pods", "pods/log", "deployments.apps"]);
    assert_eq!(found[0].verbs, ["get", "list"]);
}

#[tokio::test]
async fn an_informer_follows_a_foreign_server_c10() {
    let (client, asked) = server(|asked| {
        let map = |name: &str, version: u64| {
            json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata":
                {"name": name, "namespace": "ns", "resourceVersion": version.to_string()}})
        };
        if asked.line.contains("watch=true") {
            return frames(vec![event("ADDED", &map("b", 6))], true);
        }
        let list = json!({"metadata": {"resourceVersion": "5"}, "items": [map("a", 3)]});
        whole(200, list.to_string())
    });
    let options = InformerOptions::default();
    let informer = SharedInformer::<ConfigMap>::new(client, options, Random::seeded(1));
    let (stop, seen) = (StopToken::new(), Arc::new(tokio::sync::Notify::new()));
    let arrived = Arc::clone(&seen);
    let _registration = informer.on_change(move |change| {
        if change.latest().metadata.name.as_deref() == Some("b") {
            arrived.notify_one();
        }
    });
    let running = tokio::spawn({
        let (informer, stop) = (informer.clone(), stop.clone());
        async move { informer.run(stop).await }
    });
    seen.notified().await;
    assert_eq!(informer.lister().len(), 2);
    assert!(asked.lock()[1].line.contains("resourceVersion=5"));
    stop.stop();
    running.await.unwrap();
}
