//! An extender behind a real HTTP server, whose answers a test scripts.
#![allow(clippy::unwrap_used, reason = "helpers of tests")]

use std::net::SocketAddr;
use std::sync::Arc;

use bytes::Bytes;
use futures::future::BoxFuture;
use http::{Request, Response};
use http_body_util::combinators::BoxBody;
use http_body_util::{BodyExt, Full, StreamBody};
use hyper::body::{Frame, Incoming};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use parking_lot::Mutex;
use serde_json::Value;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpListener;
use tokio::task::JoinSet;
use tokio_rustls::TlsAcceptor;

/// What the extender answers.
#[derive(Debug, Clone)]
pub(crate) enum Answer {
    Json(Value),
    Code(u16),
    Text(&'static str),
    /// A body without an end.
    Endless,
    /// Nothing, for ever.
    Nothing,
}

type Script = dyn Fn(String, Value) -> BoxFuture<'static, Answer> + Send + Sync;
type Body = BoxBody<Bytes, std::convert::Infallible>;

/// A server that ends with this value.
pub(crate) struct Stub {
    pub(crate) address: SocketAddr,
    /// The verbs and questions so far.
    pub(crate) asked: Arc<Mutex<Vec<(String, Value)>>>,
    _tasks: JoinSet<()>,
}

impl Stub {
    /// Answers by the verb and the question.
    pub(crate) async fn start(
        answer: impl Fn(&str, &Value) -> Answer + Send + Sync + 'static,
    ) -> Self {
        let answer = Arc::new(answer);
        Self::with(None, move |verb, question| {
            let answer = answer(&verb, &question);
            Box::pin(async move { answer })
        })
        .await
    }

    /// The same with an answer that takes its time, maybe behind TLS.
    pub(crate) async fn with(
        tls: Option<TlsAcceptor>,
        script: impl Fn(String, Value) -> BoxFuture<'static, Answer> + Send + Sync + 'static,
    ) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (script, asked): (Arc<Script>, _) = (Arc::new(script), Arc::default());
        let (mut tasks, log) = (JoinSet::new(), Arc::clone(&asked));
        tasks.spawn(async move {
            let mut connections = JoinSet::new();
            while let Ok((stream, _)) = listener.accept().await {
                let (script, log) = (Arc::clone(&script), Arc::clone(&log));
                let tls = tls.clone();
                connections.spawn(async move {
                    match tls {
                        None => talk(stream, script, log).await,
                        Some(tls) => {
                            // Who does not believe the certificate hangs up.
                            if let Ok(stream) = tls.accept(stream).await {
                                talk(stream, script, log).await;
                            }
                        }
                    }
                });
            }
        });
        Self { address, asked, _tasks: tasks }
    }

    pub(crate) fn verbs(&self) -> Vec<String> {
        self.asked.lock().iter().map(|(verb, _)| verb.clone()).collect()
    }
}

async fn talk(
    stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
    script: Arc<Script>,
    log: Arc<Mutex<Vec<(String, Value)>>>,
) {
    let service = service_fn(move |request: Request<Incoming>| {
        let (script, log) = (Arc::clone(&script), Arc::clone(&log));
        async move {
            assert_eq!(request.headers()["content-type"], "application/json");
            let verb = request.uri().path().rsplit('/').next().unwrap().to_owned();
            let body = request.into_body().collect().await.unwrap().to_bytes();
            let question: Value = serde_json::from_slice(&body).unwrap();
            log.lock().push((verb.clone(), question.clone()));
            Ok::<_, std::convert::Infallible>(respond(script(verb, question).await).await)
        }
    });
    // A client that hangs up ends the connection.
    let _ = http1::Builder::new().serve_connection(TokioIo::new(stream), service).await;
}

async fn respond(answer: Answer) -> Response<Body> {
    let full = |text: String| Response::new(BodyExt::boxed(Full::new(Bytes::from(text))));
    match answer {
        Answer::Json(value) => full(value.to_string()),
        Answer::Text(text) => full(text.to_owned()),
        Answer::Code(code) => {
            let mut response = full("it went wrong".to_owned());
            *response.status_mut() = http::StatusCode::from_u16(code).unwrap();
            response
        }
        Answer::Endless => {
            let chunk = Bytes::from(vec![b' '; 1 << 20]);
            let frames = futures::stream::repeat_with(move || Ok(Frame::data(chunk.clone())));
            Response::new(BodyExt::boxed(StreamBody::new(frames)))
        }
        Answer::Nothing => std::future::pending().await,
    }
}
