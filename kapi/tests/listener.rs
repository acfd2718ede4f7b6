//! The API behind HTTPS: what is too long is refused, who asks is known by a certificate.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use bytes::Bytes;
use http::{Request, StatusCode};
use http_body_util::{BodyExt as _, Empty};
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use kapi::ApiServer;
use kapi::serve::{ClusterCa, Listener};
use kcore::clock::Clock;
use kcore::serve::MAX_HEADER_BYTES;
use kcore::tls::ClientTls;
use kstore::MemoryStore;
use tokio::net::TcpStream;

const HERE: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);

async fn ask(address: SocketAddr, tls: &ClientTls, header: &str) -> (StatusCode, String) {
    let stream = TcpStream::connect(address).await.unwrap();
    let stream = tls.connector().unwrap().connect("127.0.0.1", stream).await.unwrap();
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await.unwrap();
    tokio::spawn(connection);
    let request = Request::get("/api/v1/namespaces/default").header("host", "here");
    let request = request.header("x-long", header).body(Empty::<Bytes>::new()).unwrap();
    let response = sender.send_request(request).await.unwrap();
    let status = response.status();
    let body = response.into_body().collect().await.unwrap().to_bytes();
    (status, String::from_utf8(body.to_vec()).unwrap())
}

#[tokio::test]
async fn requests_are_bounded_and_known_by_their_certificates() {
    let now = Clock::system().now();
    let ca = ClusterCa::ephemeral(now).unwrap();
    let certificate = ca.server("kube-apiserver", &[], &[HERE], now).unwrap();
    let listener = Listener::bind((HERE, 0).into(), &ca, &certificate).await.unwrap();
    let address = listener.address();
    let service = ApiServer::new(MemoryStore::new()).service();
    let serving =
        tokio::spawn(async move { listener.serve(service, std::future::pending()).await });
    let anybody = ClientTls::trusting(ca.certificate_pem());
    let (status, body) = ask(address, &anybody, "").await;
    assert_eq!(status, StatusCode::FORBIDDEN, "X1: {body}");
    assert!(body.contains("system:anonymous"), "{body}");
    let admin = ca.client("kubernetes-admin", &["system:masters"], now).unwrap();
    let admin = anybody.certificate(admin);
    assert_eq!(ask(address, &admin, &"x".repeat(MAX_HEADER_BYTES / 2)).await.0, StatusCode::OK);
    let (status, _) = ask(address, &admin, &"x".repeat(MAX_HEADER_BYTES)).await;
    assert_eq!(status, StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE);
    // Who stops serving leaves no connection behind.
    serving.abort();
    serving.await.unwrap_err();
    TcpStream::connect(address).await.unwrap_err();
}
