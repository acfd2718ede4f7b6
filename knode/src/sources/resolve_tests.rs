//! What is read and what is remembered, against a scripted API server.

use std::sync::Arc;

use kcore::client::{MockClient, MockPath};
use kcore::informer::Indexer;
use kcore::object::Object;
use kcore::status::{Reason, Status};
use serde_json::json;

use super::*;

/// What the API server says now.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Says {
    Hello,
    NotFound,
    Nothing,
    Busy,
    Forbidden,
}

fn answer(says: Says, path: &MockPath) -> kcore::Result<Object> {
    assert_eq!(path.namespace.as_deref(), Some("ns"));
    match says {
        Says::Hello => {
            let immutable = path.name == "frozen";
            let metadata = json!({"namespace": "ns", "name": path.name});
            let (kind, data) = match path.resource.plural.as_ref() {
                "configmaps" => ("ConfigMap", json!({"k": "v"})),
                "secrets" => ("Secret", json!({"k": "dg=="})),
                other => panic!("{other} is not read"),
            };
            let object = json!({
                "apiVersion": "v1", "kind": kind, "metadata": metadata, "data": data,
                "immutable": immutable,
            });
            Object::from_json(object.to_string().as_bytes(), None)
        }
        Says::NotFound => Err(Status::not_found("", "configmaps", &path.name).into()),
        Says::Nothing => Err(kcore::Error::Transport("connection refused".into())),
        Says::Busy => Err(Status::too_many_requests("slow down", 1).into()),
        Says::Forbidden => Err(Status::failure(403, Reason::Forbidden, "no relationship").into()),
    }
}

struct Server {
    says: Arc<Mutex<Says>>,
    reads: Arc<Mutex<Vec<String>>>,
}

fn serve() -> (Server, Sources) {
    let server = Server { says: Arc::new(Mutex::new(Says::Hello)), reads: Arc::default() };
    let (says, reads) = (server.says.clone(), server.reads.clone());
    let mut client = MockClient::new();
    client.expect_get().returning(move |path, _| {
        reads.lock().push(path.name.clone());
        answer(*says.lock(), &path)
    });
    let indexer = Arc::new(Indexer::default());
    for (namespace, name) in [("default", "kubernetes"), ("default", "x"), ("ns", "web")] {
        let service = json!({
            "apiVersion": "v1", "kind": "Service",
            "metadata": {"namespace": namespace, "name": name, "resourceVersion": "1"},
        });
        indexer.put(Object::from_json(service.to_string().as_bytes(), None).unwrap());
    }
    (server, Sources::new(Arc::new(client), Lister::new(indexer), Clock::system()))
}

fn pod(uid: &str, map: &str) -> Pod {
    serde_json::from_value(json!({
        "metadata": {"namespace": "ns", "name": "p", "uid": uid},
        "spec": {
            "containers": [{"name": "c", "envFrom": [{"configMapRef": {"name": map}}]}],
            "imagePullSecrets": [{"name": "s"}],
        },
    }))
    .unwrap()
}

#[tokio::test]
async fn what_is_there_is_found_with_the_services_of_the_namespace() {
    let (_server, sources) = serve();
    let seen = sources.resolve(&pod("u", "m")).await;
    assert_eq!(
        format!("{:?} {:?}", seen.config_maps, seen.secrets),
        "{\"m\": Found} {\"s\": Found}"
    );
    let names: Vec<_> = seen.services.iter().map(|s| s.metadata.name.clone().unwrap()).collect();
    assert_eq!(names, ["web", "kubernetes"]);
}

#[tokio::test]
async fn without_an_api_server_what_was_last_seen_is_used_n2() {
    let (server, sources) = serve();
    let states = |seen: &PodSources| format!("{:?} {:?}", seen.config_maps["m"], seen.secrets["s"]);
    *server.says.lock() = Says::Nothing;
    let never = sources.resolve(&pod("u", "m")).await;
    assert!(states(&never).contains("failed to sync secret cache: timed out"), "{never:?}");
    *server.says.lock() = Says::Hello;
    assert_eq!(states(&sources.resolve(&pod("u", "m")).await), "Found Found");
    for silent in [Says::Nothing, Says::Busy, Says::Nothing] {
        *server.says.lock() = silent;
        assert_eq!(states(&sources.resolve(&pod("u", "m")).await), "Found Found");
    }
    *server.says.lock() = Says::NotFound;
    assert_eq!(states(&sources.resolve(&pod("u", "m")).await), "Missing Missing");
    *server.says.lock() = Says::Nothing;
    assert_eq!(states(&sources.resolve(&pod("u", "m")).await), "Missing Missing");
    sources.forget("u");
    let gone = states(&sources.resolve(&pod("u", "m")).await);
    assert!(gone.contains("failed to sync configmap cache"), "{gone}");
}

#[tokio::test]
async fn a_refusal_is_said_as_it_is() {
    let (server, sources) = serve();
    sources.resolve(&pod("u", "m")).await;
    *server.says.lock() = Says::Forbidden;
    let seen = sources.resolve(&pod("u", "m")).await;
    assert_eq!(format!("{:?}", seen.secrets["s"]), "Unavailable(\"no relationship\")");
    *server.says.lock() = Says::Nothing;
    let seen = sources.resolve(&pod("u", "m")).await;
    assert!(matches!(seen.secrets["s"], Source::Found(_)), "a refusal was no answer: {seen:?}");
}

#[tokio::test]
async fn an_immutable_object_is_read_once() {
    let (server, sources) = serve();
    for _ in 0..3 {
        sources.resolve(&pod("u", "frozen")).await;
    }
    let reads = server.reads.lock();
    assert_eq!(reads.iter().filter(|name| *name == "frozen").count(), 1);
    assert_eq!(reads.iter().filter(|name| *name == "s").count(), 3);
}

#[tokio::test]
async fn the_cache_is_bounded_and_forgets_the_oldest() {
    let (server, sources) = serve();
    for number in 0..=MAX_CACHED_PODS {
        sources.resolve(&pod(&format!("u{number}"), "m")).await;
    }
    assert_eq!(sources.cache.lock().pods.len(), MAX_CACHED_PODS);
    *server.says.lock() = Says::Nothing;
    let first = sources.resolve(&pod("u0", "m")).await;
    assert!(matches!(first.config_maps["m"], Source::Unavailable(_)));
    let last = sources.resolve(&pod(&format!("u{MAX_CACHED_PODS}"), "m")).await;
    assert!(matches!(last.config_maps["m"], Source::Found(_)));
}
