//! Logs from a node's agent behind HTTPS: certificates, streaming, departure, silence.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use bytes::Bytes;
use futures::{AsyncBufReadExt as _, StreamExt as _, TryStreamExt as _};
use http::{Request, Response};
use http_body::Frame;
use http_body_util::StreamBody;
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use k8s_openapi::api::core::v1::{Node, Pod};
use kapi::auth::Identity;
use kapi::serve::{Certificate, ClusterCa, HttpsNodes};
use kapi::{ApiServer, ServerOptions};
use kcore::clock::Clock;
use kstore::MemoryStore;
use kube::api::{Api, LogParams, PostParams};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::WebPkiClientVerifier;
use serde_json::json;
use tokio::net::TcpListener;
use tokio::sync::{mpsc, watch};
use tokio_rustls::TlsAcceptor;

/// Far more than anything here takes; reached only by a defect.
const BOUND: Duration = Duration::from_secs(30);

/// Lines for whoever follows a log; the senders' end is noticed when he leaves.
type Line = mpsc::Sender<String>;

/// A node's agent as far as logs go: what it was asked, and a way to write lines.
struct Agent {
    port: u16,
    asked: mpsc::Receiver<(String, Line)>,
    /// Requests under way.
    open: watch::Receiver<usize>,
    /// Connections so far.
    connections: Arc<AtomicUsize>,
    /// Ends all connections that are there.
    hang_up: watch::Sender<usize>,
}

/// Counts requests under way by being there.
struct Open(Arc<watch::Sender<usize>>);

impl Drop for Open {
    fn drop(&mut self) {
        self.0.send_modify(|open| *open -= 1);
    }
}

fn tls(ca: &ClusterCa, certificate: &Certificate) -> TlsAcceptor {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let mut roots = rustls::RootCertStore::empty();
    roots.add(CertificateDer::from_pem_slice(ca.certificate_pem().as_bytes()).unwrap()).unwrap();
    let clients =
        WebPkiClientVerifier::builder_with_provider(Arc::new(roots), Arc::clone(&provider));
    let chain = CertificateDer::from_pem_slice(certificate.certificate_pem.as_bytes()).unwrap();
    let key = PrivateKeyDer::from_pem_slice(certificate.key_pem.as_bytes()).unwrap();
    let config = rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_client_cert_verifier(clients.build().unwrap())
        .with_single_cert(vec![chain], key)
        .unwrap();
    TlsAcceptor::from(Arc::new(config))
}

async fn agent(ca: &ClusterCa, certificate: &Certificate) -> Agent {
    let acceptor = tls(ca, certificate);
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let (ask, asked) = mpsc::channel(8);
    let (count, open) = watch::channel(0);
    let count = Arc::new(count);
    let connections = Arc::new(AtomicUsize::new(0));
    let accepted = Arc::clone(&connections);
    let (hang_up, hung_up) = watch::channel(0);
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            accepted.fetch_add(1, Ordering::SeqCst);
            let (acceptor, ask, count) = (acceptor.clone(), ask.clone(), Arc::clone(&count));
            let mut hung_up = hung_up.clone();
            hung_up.mark_unchanged();
            tokio::spawn(async move {
                let Ok(stream) = acceptor.accept(stream).await else { return };
                let service = service_fn(move |request: Request<Incoming>| {
                    let (ask, count) = (ask.clone(), Arc::clone(&count));
                    async move {
                        count.send_modify(|open| *open += 1);
                        let open = Open(count);
                        let (line, lines) = mpsc::channel(1);
                        ask.send((request.uri().to_string(), line)).await.unwrap();
                        let body = futures::stream::unfold(
                            (lines, open),
                            |(mut lines, open)| async move {
                                let frame = Frame::data(Bytes::from(lines.recv().await?));
                                Some((Ok::<_, std::io::Error>(frame), (lines, open)))
                            },
                        );
                        Ok::<_, std::io::Error>(Response::new(StreamBody::new(body)))
                    }
                });
                let http = hyper::server::conn::http1::Builder::new();
                kcore::select! {
                    _ = http.serve_connection(TokioIo::new(stream), service) => {}
                    _ = hung_up.changed() => {}
                }
            });
        }
    });
    Agent { port, asked, open, connections, hang_up }
}

/// A cluster of one node, whose agent listens on `port`, and one Pod on it.
async fn cluster(ca: &ClusterCa, port: u16) -> kube::Client {
    let now = Clock::system().now();
    let nodes = HttpsNodes::new(ca, now).unwrap();
    let api = ApiServer::with(MemoryStore::new(), ServerOptions::default().nodes(nodes));
    let client = kube::Client::new(api.service_as(Identity::admin()), "default");
    let node = json!({"metadata": {"name": "n1"}, "status": {
        "addresses": [{"type": "InternalIP", "address": "127.0.0.1"}],
        "daemonEndpoints": {"kubeletEndpoint": {"Port": port}}}});
    let nodes: Api<Node> = Api::all(client.clone());
    let params = PostParams::default();
    nodes.create(&params, &serde_json::from_value(node).unwrap()).await.unwrap();
    let pod = json!({"metadata": {"name": "web"}, "spec": {"nodeName": "n1",
        "containers": [{"name": "c", "image": "i"}]}});
    let pods: Api<Pod> = Api::default_namespaced(client.clone());
    pods.create(&params, &serde_json::from_value(pod).unwrap()).await.unwrap();
    client
}

fn authority() -> (ClusterCa, Certificate) {
    let now = Clock::system().now();
    let ca = ClusterCa::ephemeral(now).unwrap();
    let address = IpAddr::V4(Ipv4Addr::LOCALHOST);
    let certificate = ca.node_server("n1", &[], &[address], now).unwrap();
    (ca, certificate)
}

#[tokio::test]
async fn a_followed_log_streams_and_ends_with_its_reader() {
    let (ca, certificate) = authority();
    let mut agent = agent(&ca, &certificate).await;
    let pods: Api<Pod> = Api::default_namespaced(cluster(&ca, agent.port).await);
    let params = LogParams { follow: true, tail_lines: Some(3), ..LogParams::default() };
    let stream = pods.log_stream("web", &params).await.unwrap();
    let (asked, line) = agent.asked.recv().await.unwrap();
    assert_eq!(asked, "/containerLogs/default/web/c?follow=true&tailLines=3");
    let mut lines = stream.lines();
    for text in ["first\n", "second\n"] {
        line.send(text.to_owned()).await.unwrap();
        let seen = tokio::time::timeout(BOUND, lines.try_next()).await.unwrap().unwrap().unwrap();
        assert_eq!(seen, text.trim_end(), "each line comes as it is written");
    }
    assert_eq!(*agent.open.borrow(), 1);
    drop(lines);
    let gone = agent.open.wait_for(|open| *open == 0);
    tokio::time::timeout(BOUND, gone).await.expect("the node hears of the departure").unwrap();
    assert!(line.is_closed());
}

#[tokio::test]
async fn a_slow_reader_holds_the_node_up() {
    let (ca, certificate) = authority();
    let mut agent = agent(&ca, &certificate).await;
    let pods: Api<Pod> = Api::default_namespaced(cluster(&ca, agent.port).await);
    let mut stream = Box::pin(pods.log_stream("web", &LogParams::default()).await.unwrap().lines());
    let (_, line) = agent.asked.recv().await.unwrap();
    let text = format!("{}\n", "x".repeat(1 << 20));
    // Somewhere between writer and reader the buffers are full.
    let mut sent = 0_usize;
    while tokio::time::timeout(Duration::from_millis(500), line.send(text.clone())).await.is_ok() {
        sent += 1;
        assert!(sent < 100, "a hundred mebibytes are buffered nowhere");
    }
    drop(line);
    let mut seen = 0;
    while let Some(line) = stream.next().await {
        assert_eq!(line.unwrap().len(), 1 << 20);
        seen += 1;
    }
    assert_eq!(seen, sent, "nothing is lost");
}

impl Agent {
    /// Reads the log of the Pod to its end, or leaves after the first line.
    async fn serve_one(&mut self, pods: &Api<Pod>, whole: bool) {
        let mut lines =
            Box::pin(pods.log_stream("web", &LogParams::default()).await.unwrap().lines());
        let (_, line) = self.asked.recv().await.unwrap();
        line.send("one\n".to_owned()).await.unwrap();
        assert_eq!(lines.try_next().await.unwrap().unwrap(), "one");
        if whole {
            drop(line);
            assert_eq!(lines.try_next().await.unwrap(), None);
        } else {
            drop(lines);
            let gone = self.open.wait_for(|open| *open == 0);
            tokio::time::timeout(BOUND, gone).await.expect("the node hears of it").unwrap();
        }
    }

    fn connections(&self) -> usize {
        self.connections.load(Ordering::SeqCst)
    }
}

#[tokio::test]
async fn a_connection_whose_reply_was_read_is_used_again_and_no_other() {
    let (ca, certificate) = authority();
    let mut agent = agent(&ca, &certificate).await;
    let pods: Api<Pod> = Api::default_namespaced(cluster(&ca, agent.port).await);
    for _ in 0..5 {
        agent.serve_one(&pods, true).await;
    }
    assert_eq!(agent.connections(), 1);
    // What is left of a reply that nobody read would be taken for the next one.
    agent.serve_one(&pods, false).await;
    agent.serve_one(&pods, true).await;
    assert_eq!(agent.connections(), 2);
    // Somebody who gives up before there is an answer takes the connection with him.
    let params = LogParams::default();
    let mut asking = Box::pin(pods.logs("web", &params));
    let line = kcore::select! {
        _ = &mut asking => panic!("there is no answer yet"),
        asked = agent.asked.recv() => asked.unwrap().1,
    };
    drop(asking);
    tokio::time::timeout(BOUND, line.closed()).await.expect("the node hears of it");
    agent.serve_one(&pods, true).await;
    assert_eq!(agent.connections(), 3);
}

#[tokio::test]
async fn a_connection_that_nobody_needs_is_closed_after_a_while() {
    let (ca, certificate) = authority();
    let mut agent = agent(&ca, &certificate).await;
    let pods: Api<Pod> = Api::default_namespaced(cluster(&ca, agent.port).await);
    agent.serve_one(&pods, true).await;
    tokio::time::pause();
    tokio::time::advance(Duration::from_secs(91)).await;
    tokio::time::resume();
    agent.serve_one(&pods, true).await;
    assert_eq!(agent.connections(), 2);
}

#[tokio::test]
async fn a_connection_that_the_node_closed_is_replaced_unnoticed() {
    let (ca, certificate) = authority();
    let mut agent = agent(&ca, &certificate).await;
    let client = cluster(&ca, agent.port).await;
    let pods: Api<Pod> = Api::default_namespaced(client);
    agent.serve_one(&pods, true).await;
    agent.hang_up.send_modify(|times| *times += 1);
    agent.serve_one(&pods, true).await;
    assert_eq!(agent.connections(), 2);
}

async fn refusal(client: kube::Client, params: &LogParams) -> (u16, String) {
    let pods: Api<Pod> = Api::default_namespaced(client);
    let error = pods.logs("web", params).await.unwrap_err();
    let kube::Error::Api(status) = error else { panic!("{error}") };
    (status.code, status.message.clone())
}

#[tokio::test]
async fn a_node_is_known_by_its_certificate() {
    let (ca, _) = authority();
    let (_, strange) = authority();
    let mut agent = agent(&ca, &strange).await;
    let client = cluster(&ca, agent.port).await;
    let (code, message) = refusal(client.clone(), &LogParams::default()).await;
    assert_eq!(code, 500);
    assert!(message.contains("verify 127.0.0.1"), "{message}");
    // Who says so takes any certificate.
    let path = "/api/v1/namespaces/default/pods/web/log?insecureSkipTLSVerifyBackend=true";
    let request = Request::get(path).body(Vec::new()).unwrap();
    let reading = tokio::spawn(async move { client.request_text(request).await });
    let (_, line) = agent.asked.recv().await.unwrap();
    line.send("here\n".to_owned()).await.unwrap();
    drop(line);
    assert_eq!(reading.await.unwrap().unwrap(), "here\n");
}

#[tokio::test]
async fn a_node_that_refuses_or_stays_silent_is_a_status() {
    let (ca, _) = authority();
    // Nobody listens: the port was free a moment ago.
    let closed = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap().port();
    let (code, message) = refusal(cluster(&ca, closed).await, &LogParams::default()).await;
    assert_eq!(code, 500);
    let start = format!("Get \"https://127.0.0.1:{closed}/containerLogs/default/web/c\": dial ");
    assert!(message.starts_with(&start), "{message}");
    // Somebody listens and never shakes hands.
    let silent = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = silent.local_addr().unwrap().port();
    let client = cluster(&ca, port).await;
    tokio::time::pause();
    let (code, message) = refusal(client, &LogParams::default()).await;
    assert_eq!(code, 500);
    assert!(message.contains("no answer within 10 s"), "{message}");
    drop(silent);
}
