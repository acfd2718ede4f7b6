//! The program that the examples' pods run: an HTTP server that says who it is.
//!
//! It listens on `POD_IP`, port 8080. `GET /` answers with the pod's name, `VERSION` and the
//! process number; `GET /ready` with 200 or 503, as `POST /ready` and `POST /unready` last said.
//! Asked to end, it answers what it was asked and ends.

use std::net::IpAddr;
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use anyhow::Context as _;
use http_body_util::Full;
use hyper::body::{Bytes, Incoming};
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use hyper_util::server::graceful::GracefulShutdown;
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};

/// The argument that makes an example become this program.
pub const ARGUMENT: &str = "hello";
/// The port it listens on.
pub const PORT: u16 = 8080;

/// Becomes the program, if the command line says so, and returns how it ended.
#[must_use]
pub fn main_if_asked() -> Option<ExitCode> {
    if std::env::args().nth(1).as_deref() != Some(ARGUMENT) {
        return None;
    }
    Some(match serve() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("hello: {error:#}");
            ExitCode::FAILURE
        }
    })
}

#[tokio::main(flavor = "current_thread")]
async fn serve() -> anyhow::Result<()> {
    let mut asked = signal(SignalKind::terminate())?;
    let ip: IpAddr = std::env::var("POD_IP").context("POD_IP is not set")?.parse()?;
    let listener = TcpListener::bind((ip, PORT)).await.context("the port is taken")?;
    println!("listening on {ip}:{PORT}");
    let ready = Arc::new(AtomicBool::new(true));
    let graceful = GracefulShutdown::new();
    loop {
        let stream = kcore::select! {
            _ = asked.recv() => break,
            accepted = listener.accept() => accepted?.0,
        };
        let ready = Arc::clone(&ready);
        let service = service_fn(move |request| {
            let answer = answer(&request, &ready);
            async move { Ok::<_, std::convert::Infallible>(answer) }
        });
        let connection = hyper::server::conn::http1::Builder::new()
            .serve_connection(TokioIo::new(stream), service);
        tokio::spawn(graceful.watch(connection));
    }
    drop(listener);
    graceful.shutdown().await;
    println!("done");
    Ok(())
}

fn answer(request: &Request<Incoming>, ready: &AtomicBool) -> Response<Full<Bytes>> {
    let (code, text) = match (request.method(), request.uri().path()) {
        (&Method::GET, "/") => (StatusCode::OK, greeting()),
        (&Method::GET, "/ready") if ready.load(Ordering::Relaxed) => {
            (StatusCode::OK, "ready\n".to_owned())
        }
        (&Method::GET, "/ready") => (StatusCode::SERVICE_UNAVAILABLE, "not ready\n".to_owned()),
        (&Method::POST, path @ ("/ready" | "/unready")) => {
            ready.store(path == "/ready", Ordering::Relaxed);
            (StatusCode::OK, "as you say\n".to_owned())
        }
        _ => (StatusCode::NOT_FOUND, "no such page\n".to_owned()),
    };
    let mut response = Response::new(Full::new(Bytes::from(text)));
    *response.status_mut() = code;
    response
}

/// The pod's name, its version and its process, one word each.
fn greeting() -> String {
    let text = |name: &str| std::env::var(name).unwrap_or_else(|_| "-".to_owned());
    format!("{} {} {}\n", text("POD_NAME"), text("VERSION"), std::process::id())
}
