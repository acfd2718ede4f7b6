//! The node's HTTPS API from outside: real sockets, certificates and log files.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use http::{Request, Response};
use http_body_util::{BodyExt as _, Empty};
use hyper::body::Incoming;
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use k8s_openapi::api::authentication::v1::{TokenReview, TokenReviewStatus, UserInfo};
use k8s_openapi::api::authorization::v1::{SubjectAccessReview, SubjectAccessReviewStatus};
use k8s_openapi::api::core::v1::Pod;
use kcore::client::{Body, MockClient};
use kcore::clock::Clock;
use kcore::object::Object;
use kcore::serve::MAX_HEADER_BYTES;
use kcore::tls::ClientTls;
use knode::server::auth::{Anonymous, Auth};
use knode::server::{
    Certificate, KubeletService, Listener, LogSource, Metrics, NodeView, ServerTls,
};
use knode::{Error, Result};
use rcgen::{CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair};
use serde_json::{Value, json};
use tokio::sync::oneshot;

/// Long enough that a loaded machine answers.
const PATIENT: Duration = Duration::from_secs(60);

/// A node with the pod `ns/p`: `main` runs, `slow` waits, and `main` ran before.
#[derive(Debug)]
struct Node {
    dir: PathBuf,
    /// Told when whoever reads a log that never ends has gone.
    gone: parking_lot::Mutex<Option<oneshot::Sender<()>>>,
}

#[async_trait]
impl NodeView for Node {
    fn pods(&self) -> Vec<Arc<Pod>> {
        let pod = json!({
            "metadata": {"namespace": "ns", "name": "p", "uid": "u"},
            "spec": {"containers": [{"name": "main"}, {"name": "slow"}]},
            "status": {"containerStatuses": [
                {"name": "main", "containerID": "r://2", "state": {"running": {}},
                 "lastState": {"terminated": {"exitCode": 0, "containerID": "r://1"}},
                 "image": "", "imageID": "", "ready": true, "restartCount": 1},
                {"name": "slow", "state": {"waiting": {"reason": "ContainerCreating"}},
                 "image": "", "imageID": "", "ready": false, "restartCount": 0},
            ]},
        });
        vec![Arc::new(serde_json::from_value(pod).unwrap())]
    }

    async fn running_pods(&self) -> Result<Vec<Arc<Pod>>> {
        Ok(Vec::new())
    }

    async fn log(&self, pod: &Pod, container: &str, container_id: &str) -> Result<LogSource> {
        assert_eq!((pod.metadata.name.as_deref(), container), (Some("p"), "main"));
        let number = container_id.strip_prefix("r://").unwrap();
        let path = self.dir.join(format!("{number}.log"));
        if !path.exists() {
            return Err(Error::NotFound { kind: "log", id: container_id.to_owned() });
        }
        let gone = self.gone.lock().take();
        let ended = async move {
            // Dropped with the reader, which tells the test.
            let _gone = gone;
            std::future::pending().await
        };
        Ok(LogSource::new(path, ended))
    }

    fn sync_loop(&self) -> Result<(), String> {
        Ok(())
    }
}

struct Authority {
    params: CertificateParams,
    key: KeyPair,
    pem: String,
}

impl Authority {
    fn new() -> Self {
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
        let key = KeyPair::generate().unwrap();
        let pem = params.self_signed(&key).unwrap().pem();
        Self { params, key, pem }
    }

    fn issue(&self, name: &str, usage: ExtendedKeyUsagePurpose) -> Certificate {
        let mut params = CertificateParams::new(vec!["localhost".into()]).unwrap();
        params.distinguished_name = rcgen::DistinguishedName::new();
        params.distinguished_name.push(DnType::CommonName, name);
        params.extended_key_usages = vec![usage];
        let key = KeyPair::generate().unwrap();
        let issuer = Issuer::from_params(&self.params, &self.key);
        let certificate = params.signed_by(&key, &issuer).unwrap();
        Certificate::new(certificate.pem(), key.serialize_pem())
    }
}

/// Knows the token `good`; lets everybody but `nobody` do everything.
fn api_server() -> MockClient {
    let mut client = MockClient::new();
    client.expect_create().returning(|_, body, _| {
        let Body::Typed(body) = body else { panic!("a typed client sends typed values") };
        match body.into_any().downcast::<TokenReview>() {
            Ok(mut review) => {
                let good = review.spec.token == "good";
                let user = UserInfo { username: Some("robot".into()), ..UserInfo::default() };
                review.status = Some(TokenReviewStatus {
                    authenticated: Some(good),
                    user: good.then_some(user),
                    ..TokenReviewStatus::default()
                });
                Object::from_typed(*review)
            }
            Err(body) => {
                let mut review = *body.downcast::<SubjectAccessReview>().unwrap();
                let allowed = review.spec.user.as_deref() != Some("nobody");
                review.status = Some(SubjectAccessReviewStatus { allowed, ..Default::default() });
                Object::from_typed(review)
            }
        }
    });
    client
}

struct World {
    address: SocketAddr,
    authority: Authority,
    dir: tempfile::TempDir,
    gone: oneshot::Receiver<()>,
    tls: ServerTls,
    _stop: oneshot::Sender<()>,
}

async fn world() -> World {
    let dir = tempfile::tempdir().unwrap();
    let line = |text: &str| format!("2026-01-01T00:00:00Z stdout F {text}\n");
    std::fs::write(dir.path().join("2.log"), line("one") + &line("two")).unwrap();
    let authority = Authority::new();
    let server = authority.issue("node", ExtendedKeyUsagePurpose::ServerAuth);
    let tls = ServerTls::new(&server, Some(&authority.pem)).unwrap();
    let listener = Listener::bind((Ipv4Addr::LOCALHOST, 0).into(), tls.clone()).await.unwrap();
    let address = listener.address();
    let (tell, gone) = oneshot::channel();
    let node = Node { dir: dir.path().into(), gone: parking_lot::Mutex::new(Some(tell)) };
    let auth = Auth::new(Arc::new(api_server()), "n1", Clock::system())
        .anonymous(Anonymous::Paths(vec!["/healthz".into()]));
    let service = KubeletService::new(node, auth, Metrics::new());
    let (stop, stopped) = oneshot::channel::<()>();
    tokio::spawn(async move {
        let stopped = async {
            let _ = stopped.await;
        };
        listener.serve(service, stopped).await;
    });
    World { address, authority, dir, gone, tls, _stop: stop }
}

impl World {
    async fn connect(
        &self,
        certificate: Option<&Certificate>,
    ) -> std::io::Result<http1::SendRequest<Empty<Bytes>>> {
        let mut tls = ClientTls::trusting(self.authority.pem.clone());
        if let Some(certificate) = certificate {
            tls = tls.certificate(certificate.clone());
        }
        let connector = tls.connector().unwrap();
        let stream = tokio::net::TcpStream::connect(self.address).await?;
        let connected = connector.connect("localhost", stream).await;
        let stream = connected.map_err(std::io::Error::other)?;
        let (sender, connection) =
            http1::handshake(TokioIo::new(stream)).await.map_err(std::io::Error::other)?;
        tokio::spawn(connection);
        Ok(sender)
    }

    async fn send(&self, request: Request<Empty<Bytes>>) -> Response<Incoming> {
        let mut sender = self.connect(None).await.unwrap();
        tokio::time::timeout(PATIENT, sender.send_request(request)).await.unwrap().unwrap()
    }

    /// What a known token gets.
    async fn get(&self, path: &str) -> (u16, String) {
        let request =
            Request::get(path).header("host", "node").header("authorization", "Bearer good");
        read(self.send(request.body(Empty::new()).unwrap()).await).await
    }
}

async fn read(response: Response<Incoming>) -> (u16, String) {
    let status = response.status().as_u16();
    let body = response.into_body().collect().await.unwrap().to_bytes();
    (status, String::from_utf8(body.to_vec()).unwrap())
}

fn plain(path: &str) -> Request<Empty<Bytes>> {
    Request::get(path).header("host", "node").body(Empty::new()).unwrap()
}

#[tokio::test]
async fn every_path_answers_whoever_may_ask() {
    let world = world().await;
    for path in ["/healthz", "/healthz/ping", "/healthz/log", "/healthz/syncloop"] {
        assert_eq!(world.get(path).await, (200, "ok".into()), "{path}");
    }
    let (status, pods) = world.get("/pods").await;
    let pods: Value = serde_json::from_str(&pods).unwrap();
    assert_eq!((status, &pods["kind"]), (200, &json!("PodList")));
    assert_eq!(pods["items"][0]["metadata"]["name"], "p");
    let (status, running) = world.get("/runningpods/").await;
    assert_eq!((status, running.contains("\"items\":[]")), (200, true), "{running}");
    let (status, metrics) = world.get("/metrics").await;
    assert_eq!(status, 200);
    assert!(metrics.contains("kubelet_running_pods 0"), "{metrics}");
    assert!(metrics.contains("path=\"pods\",code=\"200\""), "{metrics}");
    assert_eq!(world.get("/metrics/probes").await.0, 200);
    for path in ["/", "/nope", "/metrics/cadvisor", "/containerLogs/ns/p", "/exec/ns/p/main"] {
        assert_eq!(world.get(path).await.0, 404, "{path}");
    }
    let post = Request::post("/pods").header("host", "node").header("authorization", "Bearer good");
    let refused = world.send(post.body(Empty::new()).unwrap()).await;
    assert_eq!(
        (refused.status().as_u16(), &refused.headers()["allow"]),
        (405, &"GET".parse().unwrap())
    );
}

#[tokio::test]
async fn who_is_not_known_gets_401_and_who_may_not_gets_403() {
    let world = world().await;
    let anonymous = read(world.send(plain("/pods")).await).await;
    assert_eq!(anonymous, (401, "Unauthorized".into()));
    let allowed = read(world.send(plain("/healthz")).await).await;
    assert_eq!(allowed, (200, "ok".into()));
    let usage = ExtendedKeyUsagePurpose::ClientAuth;
    let nobody = world.authority.issue("nobody", usage.clone());
    let mut sender = world.connect(Some(&nobody)).await.unwrap();
    let (status, text) = read(sender.send_request(plain("/pods")).await.unwrap()).await;
    let expect = "Forbidden (user=nobody, verb=get, resource=nodes, subresource(s)=[pods proxy])\n";
    assert_eq!((status, text.as_str()), (403, expect));
    let known = world.authority.issue("kube-apiserver", usage.clone());
    let mut sender = world.connect(Some(&known)).await.unwrap();
    assert_eq!(sender.send_request(plain("/pods")).await.unwrap().status().as_u16(), 200);
    // A certificate of another authority ends the connection.
    let stranger = Authority::new().issue("kube-apiserver", usage);
    let answered = match world.connect(Some(&stranger)).await {
        Ok(mut sender) => sender.send_request(plain("/pods")).await.is_ok(),
        Err(_) => false,
    };
    assert!(!answered);
}

#[tokio::test]
async fn logs_are_read_as_the_query_asks() {
    let world = world().await;
    let log = |query: &str| format!("/containerLogs/ns/p/main?{query}");
    assert_eq!(world.get(&log("")).await, (200, "one\ntwo\n".into()));
    assert_eq!(world.get(&log("tailLines=1")).await, (200, "two\n".into()));
    assert_eq!(world.get(&log("limitBytes=2")).await, (200, "on".into()));
    let stamped = world.get(&log("tailLines=1&timestamps=true")).await;
    assert_eq!(stamped, (200, "2026-01-01T00:00:00Z two\n".into()));
    assert_eq!(world.get(&log("stream=Stderr")).await, (200, String::new()));
    assert_eq!(world.get(&log("sinceTime=2026-01-02T00:00:00Z")).await, (200, String::new()));
    let previous = world.get(&log("previous=true")).await;
    assert_eq!(previous, (400, "log \"r://1\" not found".into()));
    assert_eq!(world.get(&log("tailLines=-1")).await.0, 422);
    for (path, expect) in [
        (
            "ns/p/slow",
            (400, "container \"slow\" in pod \"p\" is waiting to start: ContainerCreating"),
        ),
        ("ns/p/nope", (404, "container \"nope\" not found in pod \"p\"")),
        ("ns/q/main", (404, "pod \"q\" does not exist")),
    ] {
        let (status, text) = world.get(&format!("/containerLogs/{path}")).await;
        assert_eq!((status, text.as_str()), expect, "{path}");
    }
    let (_, text) = world.get("/containerLogs/ns/p/slow?previous=1").await;
    assert_eq!(text, "previous terminated container \"slow\" in pod \"p\" not found");
}

#[tokio::test]
async fn a_follower_sees_new_lines_and_its_reader_ends_when_it_goes_away() {
    let mut world = world().await;
    let path = "/containerLogs/ns/p/main?follow=true&tailLines=1";
    let request = Request::get(path).header("host", "node").header("authorization", "Bearer good");
    let mut response = world.send(request.body(Empty::new()).unwrap()).await;
    let mut next = async || {
        let frame = tokio::time::timeout(PATIENT, response.body_mut().frame()).await.unwrap();
        String::from_utf8(frame.unwrap().unwrap().into_data().unwrap().to_vec()).unwrap()
    };
    assert_eq!(next().await, "two\n");
    let log = std::fs::OpenOptions::new().append(true).open(world.dir.path().join("2.log"));
    let line = b"2026-01-01T00:00:01Z stderr F three\n";
    std::io::Write::write_all(&mut log.unwrap(), line).unwrap();
    assert_eq!(next().await, "three\n");
    world.gone.try_recv().unwrap_err();
    drop(response);
    // The sender is dropped with the reader: the channel closes without a word.
    let gone = tokio::time::timeout(PATIENT, world.gone).await;
    gone.expect("the reader goes on after its follower left").unwrap_err();
}

#[tokio::test]
async fn requests_that_are_too_long_are_refused() {
    let world = world().await;
    let long = "x".repeat(2 * MAX_HEADER_BYTES);
    let request = Request::get("/healthz").header("host", "node").header("long", long);
    let mut sender = world.connect(None).await.unwrap();
    // The server may hang up before it has read all of it.
    if let Ok(response) = sender.send_request(request.body(Empty::new()).unwrap()).await {
        assert_eq!(response.status().as_u16(), 431);
    }
    assert_eq!(world.get("/healthz").await.0, 200);
}

#[tokio::test]
async fn a_renewed_certificate_is_in_force_for_the_next_connection() {
    let world = world().await;
    let other = Authority::new();
    let renewed = other.issue("node", ExtendedKeyUsagePurpose::ServerAuth);
    world.tls.replace(&renewed, None).unwrap();
    assert!(world.connect(None).await.is_err(), "the old authority did not issue it");
    let broken = Certificate::new("nothing", renewed.key_pem.clone());
    let error = world.tls.replace(&broken, None).unwrap_err().to_string();
    assert_eq!(error, "the server's certificate cannot be used: no certificate in it");
    let old = world.authority.issue("node", ExtendedKeyUsagePurpose::ServerAuth);
    world.tls.replace(&old, None).unwrap();
    world.connect(None).await.unwrap();
}
