//! The probers against real servers on loopback.

use std::net::Ipv4Addr;

use async_trait::async_trait;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;

use super::*;
use crate::Result;
use crate::runtime::{ExecOptions, ExecOutput, Streaming};

const LOOPBACK: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);

/// Answers a command by its first word.
#[derive(Debug)]
struct ScriptedExec;

#[async_trait]
impl Exec for ScriptedExec {
    async fn exec_sync(
        &self,
        id: &ContainerId,
        command: &[String],
        options: ExecOptions,
    ) -> Result<ExecOutput> {
        match command[0].as_str() {
            "good" => Ok(ExecOutput::default().stdout("fine")),
            "bad" => Ok(ExecOutput::default().exit_code(3).stderr("x".repeat(20_000))),
            "slow" => Err(crate::Error::TimedOut {
                what: "slow".into(),
                after: options.timeout.unwrap_or_default(),
            }),
            _ => Err(crate::Error::NotFound { kind: "container", id: id.to_string() }),
        }
    }

    fn streaming(&self) -> Option<Box<dyn Streaming>> {
        None
    }
}

async fn ask(action: Action, timeout: Duration) -> Outcome {
    let container = ContainerId::from("c");
    let spec = ProbeSpec::new(action).timeout(timeout);
    probe(&spec, Target::new(LOOPBACK, &container, &ScriptedExec)).await
}

/// Long enough that a loaded machine answers.
const PATIENT: Duration = Duration::from_secs(30);
const IMPATIENT: Duration = Duration::from_millis(20);

/// Serves each connection one response, chosen by the request's text.
async fn serve(respond: impl Fn(&str) -> String + Send + 'static) -> u16 {
    let listener = TcpListener::bind((LOOPBACK, 0)).await.unwrap();
    let port = listener.local_addr().unwrap().port();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let mut request = vec![0; 4096];
            let count = stream.read(&mut request).await.unwrap_or_default();
            let response = respond(&String::from_utf8_lossy(&request[..count]));
            let _ = stream.write_all(response.as_bytes()).await;
        }
    });
    port
}

fn answer(status: &str, headers: &str, body: &str) -> String {
    format!("HTTP/1.1 {status}\r\nContent-Length: {}\r\n{headers}\r\n{body}", body.len())
}

fn get(port: u16, path: &str) -> Action {
    Action::HttpGet(HttpGet::default().port(port).path(path))
}

#[tokio::test]
async fn http_judges_by_status() {
    let port = serve(|request| match request.split(' ').nth(1) {
        Some("/ok") => answer("200 OK", "", "hello"),
        Some("/down") => answer("503 Service Unavailable", "", "no"),
        Some("/moved") => answer("302 Found", "Location: /ok\r\n", ""),
        Some("/away") => answer("302 Found", "Location: http://example.org/\r\n", "bye"),
        Some("/loop") => answer("302 Found", "Location: /loop\r\n", ""),
        Some("/big") => answer("200 OK", "", &"x".repeat(50_000)),
        _ => String::new(),
    })
    .await;
    let failed = "HTTP probe failed with statuscode: 503";
    let away = "Probe terminated redirects, Response body: bye";
    for (path, verdict, message) in [
        ("/ok", Verdict::Success, "hello"),
        ("ok", Verdict::Success, "hello"),
        ("/moved", Verdict::Success, "hello"),
        ("/down", Verdict::Failure, failed),
        ("/away", Verdict::Warning, away),
    ] {
        assert_eq!(ask(get(port, path), PATIENT).await, Outcome::new(verdict, message), "{path}");
    }
    let looped = ask(get(port, "/loop"), PATIENT).await;
    assert!(looped.message.ends_with("stopped after 10 redirects"), "{looped:?}");
    assert_eq!(ask(get(port, "/big"), PATIENT).await.message.len(), MAX_MESSAGE_BYTES);
    let cut = ask(get(port, "/nothing"), PATIENT).await;
    assert_eq!((cut.verdict, cut.message.ends_with("EOF")), (Verdict::Failure, true), "{cut:?}");
}

#[tokio::test]
async fn http_sends_the_headers_it_was_given() {
    let port = serve(|request| answer("200 OK", "", &request.to_ascii_lowercase())).await;
    let plain = ask(get(port, "/"), PATIENT).await.message;
    assert!(plain.contains("user-agent: kube-probe/1.37\r\n"), "{plain}");
    assert!(plain.contains(&format!("host: 127.0.0.1:{port}\r\n")), "{plain}");
    let headers = [("Host", "web.example.org"), ("User-Agent", "me"), ("X-Twice", "1")];
    let action = HttpGet::default().port(port).path("/").headers(headers);
    let given = ask(Action::HttpGet(action), PATIENT).await.message;
    assert!(given.contains("host: web.example.org\r\n") && given.contains("user-agent: me\r\n"));
    assert!(given.contains("x-twice: 1\r\n"), "{given}");
    let bad = HttpGet::default().port(port).headers([("no\nname", "x")]);
    assert_eq!(ask(Action::HttpGet(bad), PATIENT).await.verdict, Verdict::Failure);
}

#[tokio::test]
async fn a_server_that_does_not_answer_times_out() {
    let listener = TcpListener::bind((LOOPBACK, 0)).await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let http = ask(get(port, "/"), IMPATIENT).await;
    assert_eq!(http.verdict, Verdict::Failure);
    assert!(http.message.contains("context deadline exceeded"), "{http:?}");
}

#[tokio::test]
async fn tcp_asks_for_a_connection() {
    let listener = TcpListener::bind((LOOPBACK, 0)).await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let action = Action::TcpSocket { host: None, port };
    assert_eq!(ask(action.clone(), PATIENT).await.verdict, Verdict::Success);
    drop(listener);
    let refused = ask(action, PATIENT).await;
    let expect = format!("dial tcp 127.0.0.1:{port}: connect: connection refused");
    assert_eq!(refused, Outcome::new(Verdict::Failure, expect));
}

#[tokio::test]
async fn exec_judges_by_exit_code() {
    for (command, verdict) in [
        ("good", Verdict::Success),
        ("bad", Verdict::Failure),
        ("slow", Verdict::Failure),
        ("gone", Verdict::Unknown),
    ] {
        let outcome = ask(Action::Exec { command: vec![command.into()] }, PATIENT).await;
        assert_eq!(outcome.verdict, verdict, "{command}");
        assert!(outcome.message.len() <= MAX_MESSAGE_BYTES);
    }
}

#[cfg(feature = "https-probe")]
#[tokio::test]
async fn https_trusts_any_certificate() {
    use std::sync::Arc;
    let made = rcgen::generate_simple_self_signed(["somebody.example".to_owned()]).unwrap();
    let key = rustls::pki_types::PrivateKeyDer::Pkcs8(made.signing_key.serialize_der().into());
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![made.cert.der().clone()], key)
        .unwrap();
    let acceptor = tokio_rustls::TlsAcceptor::from(Arc::new(config));
    let listener = TcpListener::bind((LOOPBACK, 0)).await.unwrap();
    let port = listener.local_addr().unwrap().port();
    tokio::spawn(async move {
        let (stream, _) = listener.accept().await.unwrap();
        let mut stream = acceptor.accept(stream).await.unwrap();
        let mut request = vec![0; 4096];
        assert!(stream.read(&mut request).await.unwrap() > 0);
        stream.write_all(answer("200 OK", "", "secret").as_bytes()).await.unwrap();
        stream.shutdown().await.unwrap();
    });
    let action = HttpGet::default().scheme(Scheme::Https).port(port).path("/");
    let outcome = ask(Action::HttpGet(action), PATIENT).await;
    assert_eq!(outcome, Outcome::new(Verdict::Success, "secret"));
}

#[cfg(feature = "grpc-probe")]
#[tokio::test]
async fn grpc_asks_for_a_services_health() {
    use http_body_util::{BodyExt as _, Full};
    use hyper::service::service_fn;
    use hyper_util::rt::{TokioExecutor, TokioIo};
    use prost::Message as _;

    let listener = TcpListener::bind((LOOPBACK, 0)).await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let service = service_fn(|request: ::http::Request<hyper::body::Incoming>| async move {
        assert_eq!(request.uri().path(), "/grpc.health.v1.Health/Check");
        assert_eq!(request.headers()["content-type"], "application/grpc");
        let body = request.into_body().collect().await?.to_bytes();
        let asked = grpc::HealthCheckRequest::decode(&body[5..]).unwrap();
        let (code, status) = match asked.service.as_str() {
            "" => ("0", 1),
            "sick" => ("0", 2),
            "none" => ("12", 0),
            _ => ("5", 0),
        };
        let mut trailers = ::http::HeaderMap::new();
        trailers.insert("grpc-status", ::http::HeaderValue::from_static(code));
        let message = grpc::frame(&grpc::HealthCheckResponse { status });
        let body = Full::new(message).with_trailers(std::future::ready(Some(Ok(trailers))));
        Ok::<_, hyper::Error>(::http::Response::new(body))
    });
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let serving = hyper::server::conn::http2::Builder::new(TokioExecutor::new())
                .serve_connection(TokioIo::new(stream), service);
            tokio::spawn(serving);
        }
    });
    for (service, verdict, message) in [
        ("", Verdict::Success, "service healthy"),
        ("sick", Verdict::Failure, "service unhealthy (responded with \"NOT_SERVING\")"),
        ("none", Verdict::Failure, "does not implement the grpc health protocol"),
        ("lost", Verdict::Failure, "rpc error: code = 5"),
    ] {
        let action = Action::Grpc { port, service: service.to_owned() };
        let outcome = ask(action, PATIENT).await;
        assert_eq!(outcome.verdict, verdict, "{service}: {outcome:?}");
        assert!(outcome.message.contains(message), "{service}: {outcome:?}");
    }
}
