//! A listener from outside: real sockets and certificates.

use std::convert::Infallible;
use std::net::Ipv4Addr;
use std::sync::Arc;
use std::time::Duration;

use http::header::{CONNECTION, UPGRADE};
use http::{HeaderMap, Request, Response, StatusCode};
use http_body_util::{BodyExt as _, Empty, Full};
use hyper::body::{Bytes, Incoming};
use hyper::client::conn::{http1, http2};
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::sync::{Notify, oneshot};
use tokio::task::JoinHandle;
use tokio_rustls::client::TlsStream;
use tower::service_fn;

use super::*;
use crate::tls::tests::Authority;
use crate::tls::{Certificate, ClientTls, ServerTls};

/// Long enough that a loaded machine answers.
const PATIENT: Duration = Duration::from_secs(60);

/// The length of a client's certificate.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Seen(usize);

struct World {
    address: std::net::SocketAddr,
    client: ClientTls,
    certificate: Certificate,
    /// Tells that `/slow` was asked, and lets it answer.
    asked: Arc<Notify>,
    answer: Arc<Notify>,
    stop: Option<oneshot::Sender<()>>,
    served: JoinHandle<()>,
}

async fn world(limits: Limits) -> World {
    let authority = Authority::new();
    let certificate = authority.issue("localhost");
    let tls = ServerTls::new(&certificate, Some(&authority.pem)).unwrap();
    let listener = Listener::bind((Ipv4Addr::LOCALHOST, 0).into(), tls, limits).await.unwrap();
    let address = listener.address();
    let (stop, stopped) = oneshot::channel::<()>();
    let (asked, answer) = (Arc::new(Notify::new()), Arc::new(Notify::new()));
    let slow = (Arc::clone(&asked), Arc::clone(&answer));
    let service = service_fn(move |request: Request<Incoming>| {
        let (asked, answer) = slow.clone();
        async move { Ok::<_, Infallible>(respond(request, &asked, &answer).await) }
    });
    let served = tokio::spawn(async move {
        let identify = |certificate: &[u8]| Some(Seen(certificate.len()));
        let stopped = async { drop(stopped.await) };
        listener.serve(service, identify, stopped).await;
    });
    let client = ClientTls::trusting(authority.pem).server_name("localhost");
    World { address, client, certificate, asked, answer, stop: Some(stop), served }
}

async fn respond(
    mut request: Request<Incoming>,
    asked: &Notify,
    answer: &Notify,
) -> Response<Full<Bytes>> {
    match request.uri().path() {
        "/slow" => {
            asked.notify_one();
            answer.notified().await;
            Response::new(Full::from("at last"))
        }
        "/echo" => {
            let upgraded = hyper::upgrade::on(&mut request);
            tokio::spawn(async move {
                let mut stream = TokioIo::new(upgraded.await.unwrap());
                let mut word = [0; 5];
                stream.read_exact(&mut word).await.unwrap();
                stream.write_all(&word).await.unwrap();
            });
            let mut response = Response::new(Full::default());
            *response.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
            response.headers_mut().insert(UPGRADE, "echo".parse().unwrap());
            response.headers_mut().insert(CONNECTION, "upgrade".parse().unwrap());
            response
        }
        _ => {
            let seen = request.extensions().get::<Seen>().map_or(0, |seen| seen.0);
            Response::new(Full::from(seen.to_string()))
        }
    }
}

impl World {
    async fn dial(&self) -> std::io::Result<TlsStream<TcpStream>> {
        let stream = TcpStream::connect(self.address).await?;
        let connector = self.client.connector().unwrap();
        connector.connect("localhost", stream).await.map_err(std::io::Error::other)
    }

    async fn http1(&self) -> http1::SendRequest<Empty<Bytes>> {
        let stream = TokioIo::new(self.dial().await.unwrap());
        let (sender, connection) = http1::handshake(stream).await.unwrap();
        tokio::spawn(connection.with_upgrades());
        sender
    }

    async fn http2(&self) -> http2::SendRequest<Empty<Bytes>> {
        let stream = TokioIo::new(self.dial().await.unwrap());
        let (sender, connection) = http2::handshake(TokioExecutor::new(), stream).await.unwrap();
        tokio::spawn(connection);
        sender
    }
}

fn get(path: &str, headers: HeaderMap) -> Request<Empty<Bytes>> {
    let mut request = Request::get(path).body(Empty::new()).unwrap();
    *request.headers_mut() = headers;
    request.headers_mut().insert("host", "localhost".parse().unwrap());
    request
}

fn plain(path: &str) -> Request<Empty<Bytes>> {
    get(path, HeaderMap::new())
}

async fn text(response: Response<Incoming>) -> String {
    let body = response.into_body().collect().await.unwrap().to_bytes();
    String::from_utf8(body.to_vec()).unwrap()
}

#[tokio::test]
async fn both_protocols_are_served_and_clients_are_known_by_their_certificates() {
    let mut world = world(Limits::default()).await;
    let nobody = world.http1().await.send_request(plain("/")).await.unwrap();
    assert_eq!(text(nobody).await, "0");
    world.client = world.client.clone().certificate(world.certificate.clone());
    let somebody = world.http1().await.send_request(plain("/")).await.unwrap();
    assert_ne!(text(somebody).await, "0");
    let request = Request::get("https://localhost/").body(Empty::new()).unwrap();
    let second = world.http2().await.send_request(request).await.unwrap();
    assert_ne!(text(second).await, "0");
}

#[tokio::test]
async fn requests_that_are_too_long_are_answered_with_431() {
    let limits = Limits::default().header_bytes(16 * 1024).headers(20);
    let world = world(limits).await;
    let long = |bytes: usize| HeaderMap::from_iter([(UPGRADE, "x".repeat(bytes).parse().unwrap())]);
    let many = |count: usize| {
        let name = |at: usize| http::HeaderName::try_from(format!("x-{at}")).unwrap();
        HeaderMap::from_iter((0..count).map(|at| (name(at), "1".parse().unwrap())))
    };
    for (headers, expect) in
        [(long(15_000), 200), (long(17_000), 431), (many(15), 200), (many(30), 431)]
    {
        let answer = world.http1().await.send_request(get("/", headers)).await.unwrap();
        assert_eq!(answer.status().as_u16(), expect);
    }
    for (bytes, expect) in [(15_000, 200), (17_000, 431)] {
        let request = Request::get("https://localhost/").header("long", "x".repeat(bytes));
        let request = request.body(Empty::new()).unwrap();
        let answer = world.http2().await.send_request(request).await.unwrap();
        assert_eq!(answer.status().as_u16(), expect, "HTTP/2");
    }
}

#[tokio::test]
async fn connections_can_be_upgraded() {
    let world = world(Limits::default()).await;
    let asked = HeaderMap::from_iter([
        (UPGRADE, "echo".parse().unwrap()),
        (CONNECTION, "upgrade".parse().unwrap()),
    ]);
    let answer = world.http1().await.send_request(get("/echo", asked)).await.unwrap();
    assert_eq!(answer.status(), StatusCode::SWITCHING_PROTOCOLS);
    let mut stream = TokioIo::new(hyper::upgrade::on(answer).await.unwrap());
    stream.write_all(b"hello").await.unwrap();
    let mut word = [0; 5];
    stream.read_exact(&mut word).await.unwrap();
    assert_eq!(&word, b"hello");
}

#[tokio::test]
async fn what_is_under_way_ends_before_the_listener_does() {
    let mut world = world(Limits::default().drain(PATIENT)).await;
    let mut sender = world.http1().await;
    let slow = tokio::spawn(async move { sender.send_request(plain("/slow")).await });
    world.asked.notified().await;
    drop(world.stop.take());
    // Nobody new is let in, once the socket is closed.
    world.answer.notify_one();
    assert_eq!(text(slow.await.unwrap().unwrap()).await, "at last");
    tokio::time::timeout(PATIENT, world.served).await.unwrap().unwrap();
    TcpStream::connect(world.address).await.unwrap_err();
}

#[tokio::test]
async fn what_takes_too_long_is_closed_when_the_listener_ends() {
    let mut world = world(Limits::default().drain(Duration::from_millis(1))).await;
    let mut sender = world.http1().await;
    let slow = tokio::spawn(async move { sender.send_request(plain("/slow")).await });
    world.asked.notified().await;
    drop(world.stop.take());
    tokio::time::timeout(PATIENT, world.served).await.unwrap().unwrap();
    slow.await.unwrap().unwrap_err();
}

#[tokio::test]
async fn connections_beyond_the_limit_wait_for_a_place() {
    let world = world(Limits::default().connections(1)).await;
    let mut first = world.http1().await;
    first.send_request(plain("/")).await.unwrap();
    let mut second = Box::pin(async {
        let mut sender = world.http1().await;
        text(sender.send_request(plain("/")).await.unwrap()).await
    });
    // It is told nothing as long as the first one is there: each request goes by it.
    for _ in 0..50 {
        crate::select! {
            _ = &mut second => panic!("a second connection is served"),
            answer = first.send_request(plain("/")) => drop(answer.unwrap()),
        }
        first.ready().await.unwrap();
    }
    drop(first);
    assert_eq!(tokio::time::timeout(PATIENT, second).await.unwrap(), "0");
}

#[tokio::test]
async fn whoever_does_not_shake_hands_is_sent_away() {
    let world = world(Limits::default().handshake(Duration::from_millis(10))).await;
    let mut silent = TcpStream::connect(world.address).await.unwrap();
    let mut nothing = Vec::new();
    let end = tokio::time::timeout(PATIENT, silent.read_to_end(&mut nothing)).await;
    end.expect("the listener hangs up").unwrap_or_default();
}
